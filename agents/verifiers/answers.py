"""Final answers in mathematical text: where they stand, and in which form they compare.

The last `\\boxed{…}` with balanced braces and something in it counts. Without one, the last "answer is N" is a fallback
that is reported as such. Where an answer can be checked, or a suite is made for models too small to follow a format, the
last number of the reply counts too. Reading is linear in the length of the text, whatever a model that repeats itself
writes. Source: evaluation sheet §3.2 and §6.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MARKS = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{|\\.|[{}]", re.DOTALL)
STATED = re.compile(
    r"\banswer\s{0,4}(?:is|:|=)[\s*:$\\(]{0,8}([-+]?[0-9][0-9,]*(?:\.[0-9]+|/[0-9]+)?|[-+]?\.[0-9]+)", re.IGNORECASE
)
# A number that stands alone: not the end of another, not a part of a word.
NUMBER = re.compile(r"(?<![\w.])-?[0-9][0-9,]*(?:\.[0-9]+)?")
INTEGER = re.compile(r"([-+]?)0*([0-9]+)")
GROUPED = re.compile(r"[-+]?[0-9]{1,3}(?:\{?,\}?[0-9]{3})+(?:\.[0-9]+)?")
# What sets spaces or sizes in LaTeX and does not change the meaning.
SILENT = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[,;:! ]|[\s~$]|\\\$")


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer and how it was found."""

    text: str
    how: Literal["boxed", "stated", "bare"]


def extract(text: str) -> Extracted | None:
    """The final answer of a reply; None when it has none."""
    inside = boxed(text)
    if inside is not None:
        return Extracted(inside, "boxed")
    stated = STATED.findall(text)
    return Extracted(stated[-1].rstrip(","), "stated") if stated else None


def extract_number(text: str) -> Extracted | None:
    """As `extract`, and without either the last number of the reply."""
    found = extract(text)
    if found is not None:
        return found
    bare = NUMBER.findall(text)
    return Extracted(bare[-1].rstrip(","), "bare") if bare else None


def boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{…}` that is closed and not empty."""
    last_start, last = -1, None
    open_at: list[int | None] = []
    for mark in MARKS.finditer(text):
        token = mark.group()
        if token.startswith(("\\boxed", "\\fbox")):
            open_at.append(mark.end())
        elif token == "{":
            open_at.append(None)
        elif token == "}" and open_at:
            start = open_at.pop()
            if start is not None and start > last_start and (inside := text[start : mark.start()].strip()):
                last_start, last = start, inside
    return last


def normal(answer: str) -> str:
    """Without `$`, spaces, thousands separators and leading zeros.

    An integer becomes its plain digits; "70.0" stays another answer than "70", and the commas of "(1,2)" stay.
    """
    plain = SILENT.sub("", answer).rstrip(".").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    if GROUPED.fullmatch(plain):
        plain = plain.replace("{,}", "").replace(",", "")
    match = INTEGER.fullmatch(plain)
    if match is None:
        return plain
    sign = "-" if match[1] == "-" and match[2] != "0" else ""
    return sign + match[2]
