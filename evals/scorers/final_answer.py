"""Final answers of mathematics: the last closed `\\boxed{}` counts, and nothing else.

"The answer is N" is a fallback that is reported apart, because a reply that does not follow the format is wrong in
published comparisons. Reading and comparing are those of the agents' verifiers. Source: evaluation sheet §3.2.
"""

from __future__ import annotations

import re
from typing import Final

from agents.verifiers.answers import Extracted, extract, extract_number, normal
from evals.base import Grader, Score

AIME_LAST: Final = 999
INTEGER: Final = re.compile(r"[0-9]{1,9}")


def integer(text: str, gold: int) -> Score:
    """An integer from 0 to 999, as in the AIME. "070" is 70; "70.0" and "1,000" are no such integer and wrong."""
    found = extract(text)
    if found is None:
        return Score(0.0, None, None, detail="no answer in the reply")
    answer = normal(found.text)
    inside = INTEGER.fullmatch(answer) is not None and int(answer) <= AIME_LAST
    right = inside and int(answer) == gold
    return _counted(found, answer, right=right, detail="" if inside else f"{answer[:40]!r} is no integer of the range")


async def expression(text: str, gold: str, grader: Grader) -> Score:
    """An expression: equal as text after normalisation, or by symbolic comparison within its time limit."""
    found = extract(text)
    if found is None:
        return Score(0.0, None, None, detail="no answer in the reply")
    return _counted(found, normal(found.text), right=await grader.equal(gold, found.text))


def number(text: str, gold: str) -> Score:
    """A whole number, found leniently: boxed, stated, or the last number of the reply. For models too small to follow a
    format, whose suites say so; all three count."""
    found = extract_number(text)
    if found is None:
        return Score(0.0, None, None, detail="no number in the reply")
    answer = normal(found.text)
    return Score(float(answer == gold), answer, found.how)


def _counted(found: Extracted, answer: str, *, right: bool, detail: str = "") -> Score:
    if found.how == "boxed":
        return Score(float(right), answer, "boxed", float(right), detail)
    return Score(0.0, None, None, float(right), f"not boxed, but stated: {answer[:40]}")
