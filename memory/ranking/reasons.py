"""Why a memory was found, in words. Pure. Source: memos §3.2 (6); ours."""

from __future__ import annotations

from collections.abc import Mapping

from memory.ranking.candidates import Candidate
from memory.ranking.parts import Parts
from memory.ranking.question import Question

ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def why(question: Question, candidate: Candidate, parts: Parts, row: int, ranks: Mapping[str, int]) -> str:
    """What spoke for the candidate in `row`."""
    told: list[str] = []
    own = int(parts.has[row].sum())
    if own:
        told.append(f"{own} of {len(question.terms)} words")
    if parts.of["speaker"][row] > 0:
        told.append(f"named speaker {candidate.speaker}" if candidate.speaker else "speaks of who is named")
    if parts.of["date"][row] > 0:
        told.append("of the time that is named")
    if "dense" in ranks:
        told.append(f"{ordinal(ranks['dense'])} by meaning")
    if parts.nearby[row]:
        told.append("near a match in the same session")
    if "graph" in ranks:
        told.append("shares entities")
    if parts.of["priority"][row]:
        told.append(f"priority {candidate.priority:+d}")
    return "; ".join(told)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th … 11th … 21st."""
    ending = "th" if 10 <= number % 100 <= 20 else ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"
