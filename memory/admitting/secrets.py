"""Credentials and card numbers in a text, found with few false alarms. Pure.

Keys of known services by their form; a password only where it is given as one (a name, a sign, a value that looks like
it); card numbers by issuer, grouping and check digit. What is found is named by kind and place: the value itself goes
into no reason and no log. Source: ours; ISO/IEC 7812 for card numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["private key", "api key", "token", "password", "card number"]
MASK: Final = "•••"


@dataclass(frozen=True, slots=True)
class Secret:
    """What was found, and where in the text: `[start, end)`."""

    kind: Kind
    start: int
    end: int


# (?<![A-Za-z0-9]) and not \b: an underscore before a key is a separator here.
FORMS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("private key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    ("api key", re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])")),
    ("api key", re.compile(r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}(?![A-Za-z0-9_-])")),
    ("api key", re.compile(r"(?<![A-Za-z0-9])(?:sk|rk|pk)_(?:live|test)_[0-9a-zA-Z]{16,}")),
    (
        "api key",
        re.compile(r"(?<![A-Za-z0-9-])(?:sk|mk)-(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}"),
    ),
    ("api key", re.compile(r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    ("api key", re.compile(r"(?<![A-Za-z0-9])dop_v1_[0-9a-f]{64}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{50,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}")),
    ("token", re.compile(r"(?<![A-Za-z0-9])pypi-[A-Za-z0-9_-]{50,}")),
    ("token", re.compile(r"(?<![A-Za-z0-9:])[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("token", re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("token", re.compile(r"(?i)\bauthorization\s*:\s*(?:bearer|basic|token)\s+[A-Za-z0-9._~+/-]{16,}=*")),
)
IN_URL: Final = re.compile(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,100}:(?P<value>[^\s/@]{3,200})@[a-z0-9.-]")
NAMED: Final = re.compile(
    r"""(?ix)
    (?<![a-z0-9])
    (?P<name> pass(?:word|wd|phrase|code|wort) | kennwort | pwd | contraseña | mot\ de\ passe | senha
      | (?:api|access|secret|private|auth|encryption)[\ _-]?key | (?:access|auth|api|bearer|refresh|secret)[\ _-]?token
      | client[\ _-]?secret | secret | token )
    (?: \s+ (?:of|for|to|on|at|für|von|zum|de|du|del|do|da) \s+ [^\n.;:=]{1,40}? )?
    ["'\]]{0,2} \s* (?P<sign> = | : | => | :=
      | \b(?:is|was|ist|lautet|es|est|é)\b\s*(?:(?:now|set\ to|still|jetzt)\b\s*){0,2}:? ) \s*
    (?P<quote>["'`“„«]?) (?P<value>[^\s"'`“”„«»,;]{4,200})
    """
)
PIN: Final = re.compile(
    r"(?i)\b(?:pin|pin[ -]code|pin[ -]number)\s*(?:is|:|=|ist|lautet)\s*(?P<value>[0-9]{4,8})(?![0-9.,-]?[0-9])"
)
PLACEHOLDER: Final = re.compile(
    r"(?i)^(?:[<\[{(].*|(?-i:\$\{?[A-Z_][A-Z0-9_]*\}?)|%\w+%?|%[({].*|[*x•.#_-]+|[\w.]+[(\[].*"
    r"|(?:your|example|dummy|fake|sample)(?:[_-].*)?|(?:your|my|the|some|test)[_-]?(?:pass\w*|secret|token|(?:api[_-]?)?key)\w*"
    r"|change_?me.*|redacted.*|secret|password|token|none|null|true|false|required|optional|string|str|bytes|unknown)\W*$"
)
CARD: Final = re.compile(r"(?<![0-9A-Za-z.,/_-])[0-9](?:[0-9]|[ -](?=[0-9])){12,22}(?![0-9A-Za-z_/-]|[.,][0-9])")
GROUPS: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)})


def find(text: str) -> tuple[Secret, ...]:
    """Every secret in the text, in order, none inside another."""
    found = [Secret(kind, *match.span()) for kind, form in FORMS for match in form.finditer(text)]
    found += [
        Secret("password", *match.span("value"))
        for match in IN_URL.finditer(text)
        if not PLACEHOLDER.match(match["value"])
    ]
    found += [_named(match) for match in NAMED.finditer(text) if _is_value(match)]
    found += [Secret("password", *match.span("value")) for match in PIN.finditer(text)]
    found += [Secret("card number", *match.span()) for match in CARD.finditer(text) if _is_card(match.group())]
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda item: (item.start, -item.end)):
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return tuple(kept)


def masked(text: str) -> str:
    """The text with every secret replaced by `•••`."""
    out, at = [], 0
    for secret in find(text):
        out += [text[at : secret.start], MASK]
        at = secret.end
    return "".join([*out, text[at:]])


def _named(match: re.Match[str]) -> Secret:
    word = match["name"].casefold()
    kind: Kind = "api key" if "key" in word else "token" if "token" in word or "secret" in word else "password"
    return Secret(kind, *match.span("value"))


def _is_value(match: re.Match[str]) -> bool:
    value = match["value"].rstrip(".!?)")
    if PLACEHOLDER.match(value) or "://" in value:
        return False
    letters, digits = any(c.isalpha() for c in value), any(c.isdigit() for c in value)
    word = match["name"].casefold()
    password = word.startswith(("pass", "pwd", "kennwort", "contras", "mot", "senha"))
    if not password:
        # A token or a key is long and random; a short value is a word of prose or a number of the program.
        return letters and digits and len(value) >= 16
    signs = any(not c.isalnum() and c not in "-_./" for c in value)
    mixed = (letters and digits) or (letters and signs) or (digits and signs)
    if match["sign"] in {"=", ":", "=>", ":="}:
        return len(value) >= 6 and (mixed or bool(match["quote"]))
    return len(value) >= 6 and (letters and (digits or signs))


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    groups = tuple(len(part) for part in re.split(r"[ -]", text))
    if len(groups) > 1 and (groups not in GROUPS or len(set(re.findall(r"[ -]", text))) > 1):
        return False
    return _issued(digits) and len(set(digits)) > 1 and _luhn(digits)


def _issued(digits: str) -> bool:
    two, four, size = int(digits[:2]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return size in (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or four == 6011 or two == 65 or two == 35:
        return size == 16
    if two in (34, 37):
        return size == 15
    return two in (30, 36, 38) and size == 14


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
