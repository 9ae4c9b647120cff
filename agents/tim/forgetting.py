"""What a conclusion forgets: facts of the results that it sums up and that will be out of sight behind it.

A list that is pruned leaves only its conclusion, so every number, name and source that a later step needs must stand
there. `missing` compares by the surface of the text, without a model: names, dates, addresses, identifiers, quotes and
numbers. Notation does not count (`1,000` = `1 000` = `1000.0`, `3 May 2024` = `2024-05-03`, `1.2 million` = `1200000`,
`Curie` = `Marie Curie`). It cannot tell what matters, so it only gives cause to ask once more, and never rejects.
Names are words with a capital, so in a language that writes nouns so it asks too much. Source: TIM §5, §8; ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from agents.tim.guards import MARKER

CAP: Final = 20
_TITLE_WORDS: Final = 6
_MAX_DEPTH: Final = 50

Kind = Literal["number", "date", "source", "quote", "identifier", "name"]
_TELLING: Final[tuple[Kind, ...]] = ("number", "date", "source", "quote", "identifier", "name")

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    "|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\\b\\.?"
)
_ZEROS: Final = {"k": 3, "thousand": 3, "mn": 6, "million": 6, "bn": 9, "billion": 9, "trillion": 12}
_FACT: Final = re.compile(
    rf"""
    (?P<source>https?://[^\s<>"'“”()\[\]{{}}]+|[\w.+-]{{1,64}}@[\w-]+(?:\.[\w-]+)+)
  | (?:"(?=\S)(?P<straight>[^"\n]{{1,200}})(?<=\S)"
      |[“„](?P<curly>[^“”„\n]{{1,200}})[“”]
      |(?<!\w)['‘](?=\S)(?P<single>[^'‘’\n]{{1,200}})(?<=\S)['’](?!\w))
  | (?<![\w-])(?P<y1>\d{{4}})-(?P<m1>\d\d)-(?P<d1>\d\d)(?!\d)
  | (?<!\w)(?P<d2>\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<m2>{_MONTH})(?:,?\s+(?P<y2>\d{{4}})\b)?
  | \b(?P<m3>{_MONTH})\s+(?:(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s+(?P<y3>\d{{4}})\b)?|(?P<y4>\d{{4}})\b)
  | (?P<code>(?<!\w)(?:\d+(?:\.\d+){{2,}}|(?!\d+[eE]\d+\b)\d+[^\W\d]\w*\d\w*(?:-\w+)*))
  | (?P<number>(?:(?<![\w.,)\-−–])[-−])?(?:
      \d{{1,3}}(?:[,'’_ \u00a0\u202f]\d{{3}})+(?!\d)(?:\.\d+)?
      |\d{{1,3}}\.\d{{3}},\d+
      |\d+(?:[.,]\d+)?
      |(?<!\w)\.\d+)(?:[eE][+-]?\d{{1,3}}(?!\w))?)
    (?:\s?(?P<scale>k|thousand|mn|million|bn|billion|trillion)s?\b)?
  | (?P<word>(?<!\w)[^\W\d]\w*(?:[-.]\w+|['’][^\W\d_]{{2,}})*(?:\(\))?)
    """,
    re.VERBOSE,
)
_BEGINS: Final = re.compile(r"""(?:[.!?…]['"”’)\]]*\s+|\n\s*)(?:[-*•\#>|]+\s*|\d+[.)]\s+)*['"“„(]*\Z""")
_JOINS: Final = re.compile(r"[ \u00a0](?:(?:of|the|de|la|van|von|der|den|du|di|da|del)[ \u00a0])*")
_NUMBERING: Final = re.compile(r"^[ \t]*\d{1,3}[.)][ \t]+(?=\S)", re.MULTILINE)
_PARTS: Final = re.compile(r"[,\s'’_]+")
_EXACT: Final = Context(prec=500)

Date = tuple[int | None, int, int | None]


@dataclass(frozen=True, slots=True)
class Fact:
    """A piece of text that must not be lost. `values`: of a number, every way to read it. `date`: year, month, day."""

    kind: Kind
    text: str
    values: frozenset[Decimal] = frozenset()
    date: Date | None = None
    concluded: bool = False


class _Leaf(NamedTuple):
    """A text within a result. `concluded`: it is itself a conclusion. `title`: a phrase, not a sentence."""

    text: str
    concluded: bool
    title: bool


def missing(results: Sequence[str], conclusion: str, *, cap: int = CAP) -> tuple[str, ...]:
    """The facts of `results` that `conclusion` lacks, as they are written there, in order of first appearance.

    A result may be JSON: its strings and numbers are read, not its keys. When there are more than `cap`, the most
    telling stay: facts of conclusions among the results first, and numbers before dates, sources, quotes, identifiers
    and names.
    """
    there = _There(conclusion)
    lost: dict[tuple[Kind, object], Fact] = {}
    names: set[str] = set()
    for result in results:
        for leaf in _leaves(MARKER.sub(" ", result)):
            for fact in _facts(leaf):
                if there.has(fact) or (fact.kind == "name" and fact.text.casefold() in names):
                    continue
                if fact.kind == "name":
                    names.update({fact.text.casefold(), *fact.text.casefold().split()})
                key = (fact.kind, fact.values or fact.date or _plain(fact.text))
                if key not in lost or (fact.concluded and not lost[key].concluded):
                    lost[key] = fact
    ranked = sorted(lost.values(), key=lambda fact: (not fact.concluded, _TELLING.index(fact.kind)))
    chosen = {id(fact) for fact in ranked[:cap]}
    return tuple(fact.text for fact in lost.values() if id(fact) in chosen)


def question(missing: Sequence[str]) -> str:
    """What asks, once, for a complete conclusion. What is missing is quoted as data."""
    listed = ", ".join(json.dumps(text, ensure_ascii=False) for text in missing)
    return (
        "The details below this task are about to leave your view; later steps will see its conclusion only. "
        f"The results hold these, and your conclusion does not: {listed}. "
        "Write the conclusion once more: keep what it says and add each of them that later steps or the answer may need. "
        "Leave out those that do not matter."
    )


class _There:
    """The conclusion, read once for all comparisons."""

    def __init__(self, conclusion: str) -> None:
        facts = list(_facts(_Leaf(conclusion, concluded=False, title=True)))
        self._text = _plain(conclusion)
        self._said = {_plain(fact.text) for fact in facts}
        self._values = {value for fact in facts for value in fact.values}
        self._dates = [fact.date for fact in facts if fact.date is not None]
        self._names = [set(_plain(fact.text).split()) for fact in facts if fact.kind == "name"]
        self._rounded: dict[int, set[Decimal]] = {}
        for value in self._values:
            if len(value.as_tuple().digits) > 1:
                self._rounded.setdefault(_decimals(value), set()).add(value)

    def has(self, fact: Fact) -> bool:
        """Whether the conclusion says `fact`, in whatever notation."""
        if fact.values:
            return any(value in self._values or self._rounds(value) for value in fact.values) or self._parts(fact.text)
        if fact.date is not None:
            return any(_says(date, fact.date) for date in self._dates)
        text = _plain(fact.text)
        if text in self._said or re.search(rf"(?<!\w){re.escape(text)}(?!\w)", self._text):
            return True
        words = set(text.split())
        return fact.kind == "name" and any(text.split()[-1] in name and name <= words for name in self._names)

    def _rounds(self, value: Decimal) -> bool:
        """Whether a value with fewer decimals is this one, rounded; two digits must be left."""
        return any(
            value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT).normalize(_EXACT) in values
            for places, values in self._rounded.items()
            if places < _decimals(value)
        )

    def _parts(self, text: str) -> bool:
        """Numbers in a row (`100 200`) look like one with its thousands set apart."""
        parts = _PARTS.split(text)
        return len(parts) > 1 and all(_values(part, None) & self._values for part in parts if part)


def _leaves(result: str) -> Iterator[_Leaf]:
    try:
        value = json.loads(result, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list | str):
        yield from _within(value, 0, concluded=False)
    else:
        yield _Leaf(result, concluded=False, title=False)


def _within(value: JsonValue, depth: int, *, concluded: bool) -> Iterator[_Leaf]:
    if isinstance(value, str):
        title = len(value.split()) <= _TITLE_WORDS and not value.rstrip().endswith((".", "!", "?"))
        yield _Leaf(value, concluded, title)
    elif depth < _MAX_DEPTH and isinstance(value, list):
        for part in value:
            yield from _within(part, depth + 1, concluded=concluded)
    elif depth < _MAX_DEPTH and isinstance(value, dict):
        for key, part in value.items():
            yield from _within(part, depth + 1, concluded=concluded or key == "conclusion")


def _facts(leaf: _Leaf) -> Iterator[Fact]:
    leaf = leaf._replace(text=_NUMBERING.sub("- ", leaf.text))
    run: list[re.Match[str]] = []
    for match in _FACT.finditer(leaf.text):
        word = match["word"]
        if run and (
            word is None or not _capital(word) or not _JOINS.fullmatch(leaf.text, run[-1].end(), match.start())
        ):
            yield from _named(run, leaf)
            run = []
        if word is None:
            yield from _other(match, leaf)
        elif _identifies(word):
            yield Fact("identifier", word, concluded=leaf.concluded)
        elif _capital(word):
            run.append(match)
    yield from _named(run, leaf)


def _other(match: re.Match[str], leaf: _Leaf) -> Iterator[Fact]:
    """A fact that is not made of words; a quote of one word is read as if it were not quoted."""
    text, concluded = match.group().strip(), leaf.concluded
    part = match.groupdict()
    quote = part["straight"] or part["curly"] or part["single"]
    month = part["m1"] or part["m2"] or part["m3"]
    if quote is not None:
        if len(quote.split()) > 1:
            yield Fact("quote", quote.strip(), concluded=concluded)
        else:
            yield from _facts(_Leaf(quote, concluded, title=True))
    elif month is not None:
        year, day = part["y1"] or part["y2"] or part["y3"] or part["y4"], part["d1"] or part["d2"] or part["d3"]
        at = int(month) if month.isdigit() else _MONTHS.index(month[:3]) + 1
        yield Fact("date", text, date=(_whole(year), at, _whole(day)), concluded=concluded)
    elif part["source"] is not None:
        yield Fact("source", text.rstrip(".,;:!?/"), concluded=concluded)
    elif part["code"] is not None:
        yield Fact("identifier", text, concluded=concluded)
    else:
        yield Fact("number", text, values=_values(part["number"], part["scale"]), concluded=concluded)


def _named(run: Sequence[re.Match[str]], leaf: _Leaf) -> Iterator[Fact]:
    """The name that `run` spells; the first word of a sentence has its capital from there and does not count."""
    words = list(run)
    if words and not leaf.title:
        before = leaf.text[max(0, words[0].start() - 16) : words[0].start()]
        if _BEGINS.search(before if words[0].start() > 16 else f"\n{before}"):
            words = words[1:]
    if words:
        yield Fact("name", leaf.text[words[0].start() : words[-1].end()], concluded=leaf.concluded)


def _capital(word: str) -> bool:
    return word[0].isupper() and len(word) > 1 and not _identifies(word)


def _identifies(word: str) -> bool:
    """A word that nobody writes in prose: digits, underscores, calls, capitals inside, or a dotted path."""
    dotted = word.split(".")
    return (
        any(letter.isdigit() or letter == "_" for letter in word)
        or word.endswith("()")
        or re.search(r"[a-z][A-Z]", word) is not None
        or (len(dotted) > 1 and all(len(part) > 1 and part.islower() for part in dotted))
    )


def _values(text: str, scale: str | None) -> frozenset[Decimal]:
    """Every way to read a number: with a point or a comma for decimals, and with the word behind it or without."""
    bare = re.sub(r"['’_\s]", "", text).replace("−", "-")
    readings = {bare.replace(",", "")}
    if "," in bare:
        whole, _, rest = bare.rpartition(",")
        if "." not in bare and not re.fullmatch(r"-?\d{1,3}(?:,\d{3})*,\d{3}", bare):
            readings = {f"{whole}.{rest}"}
        elif "." in whole:
            readings = {f"{whole.replace('.', '')}.{rest}"}
    elif re.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}", bare):
        readings.add(bare.replace(".", ""))
    with localcontext(_EXACT):
        found = {Decimal(reading).normalize() for reading in readings}
        if scale is not None:
            found |= {value.scaleb(_ZEROS[scale]).normalize() for value in found}
    return frozenset(found)


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _says(said: Date, fact: Date) -> bool:
    return all(part is None or part == other for part, other in zip(fact, said, strict=True))


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _plain(text: str) -> str:
    """Text as it is compared: case, white space and the form of quotes and dashes do not count."""
    return " ".join(re.sub("[‐-–−]", "-", re.sub("[’‘]", "'", text)).casefold().split())
