"""Final answers in mathematical text: where they stand, and in which form they compare.

The last `\\boxed{…}` with balanced braces counts. Without one, the last "answer is N" is a fallback that is reported as
such. Source: evaluation sheet §3.2 and §6.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
STATED = re.compile(r"answer\s*(?:is|:|=)\s*\$?\s*(-?[\d,]*\.?\d+)", re.IGNORECASE)
INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer and how it was found."""

    text: str
    how: Literal["boxed", "stated"]


def extract(text: str) -> Extracted | None:
    """The final answer of a reply; None when it has none."""
    for match in reversed(list(BOXED.finditer(text))):
        inside = _balanced(text, match.end())
        if inside is not None and inside.strip():
            return Extracted(inside.strip(), "boxed")
    stated = STATED.findall(text)
    return Extracted(stated[-1], "stated") if stated else None


def normal(answer: str) -> str:
    """Without `$`, commas, spaces and leading zeros; an integer is exact, anything else keeps its form."""
    plain = answer.strip().strip("$").replace(",", "").replace("\\!", "").replace(" ", "").rstrip(".")
    if INTEGER.fullmatch(plain):
        return str(int(plain))
    return plain


def _balanced(text: str, start: int) -> str | None:
    depth = 1
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[start:position]
    return None
