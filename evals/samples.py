"""Evaluations sample by sample: how each problem went, and what became of it from one evaluation to another. Pure.

Several attempts at one problem are one number, their mean, as in the comparison itself (evals/compare.py). Source:
evaluation sheet §3.6, §3.9; design ui.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from evals.compare import Side
from evals.records import Record
from evals.summary import in_order, items

Verdict = Literal["fixed", "broken", "same"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Tally:
    """The attempts at one problem. `score` is their mean, `tokens` that of what one attempt cost; `answers` are the
    different ones, the most frequent first."""

    item: str
    set: str
    score: float
    scores: tuple[float, ...]
    answers: tuple[str, ...]
    missing: int
    failed: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Change:
    """One problem in two evaluations. It is `fixed` when `a` does better on it than `b`, `broken` when worse."""

    item: str
    set: str
    verdict: Verdict
    a: Tally
    b: Tally


def tallies(records: Sequence[Record]) -> list[Tally]:
    """Every problem that has a record, in the order in which they were asked first."""
    return [_tally(item, each) for item, each in items(in_order(records)).items()]


def changes(a: Side, b: Side) -> list[Change]:
    """The problems that both have asked: the fixed ones first, then the broken ones, then the rest."""
    theirs: Mapping[str, Tally] = {one.item: one for one in tallies(b.records)}
    found = [
        Change(one.item, one.set, _verdict(one.score, theirs[one.item].score), one, theirs[one.item])
        for one in tallies(a.records)
        if one.item in theirs
    ]
    return sorted(found, key=lambda change: VERDICTS.index(change.verdict))


def _verdict(a: float, b: float) -> Verdict:
    return "fixed" if a > b else "broken" if a < b else "same"


def _tally(item: str, records: Sequence[Record]) -> Tally:
    given = Counter(record.answer for record in records if record.answer is not None)
    return Tally(
        item,
        records[0].set,
        sum(record.score for record in records) / len(records),
        tuple(record.score for record in records),
        tuple(answer for answer, _ in given.most_common()),
        sum(record.answer is None for record in records),
        sum(record.failed for record in records),
        sum(record.usage.tokens for record in records) / len(records),
    )
