"""Two evaluations on the problems that both have asked: the paired difference, and what may be said of it.

The word "improves" is for a difference that is shown (evals/statistics.py), and for nothing else. Pure. Source: evaluation
sheet §3.6, §3.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from evals.cost import Prices, cost_of
from evals.records import Header, Record
from evals.statistics import LEAST_DIFFERING, Difference, McNemar, mcnemar, paired_bootstrap
from evals.summary import in_order, items
from runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what it is called, and its records."""

    name: str
    header: Header
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a` less `b`. The bootstrap is over the means of each problem's attempts, McNemar's test over the first pass of
    each. `same_data`: the records of the common problems were equal, prompts included."""

    a: Side
    b: Side
    problems: int
    accuracy_a: float
    accuracy_b: float
    difference: Difference
    single: McNemar
    same_data: bool

    @property
    def sentence(self) -> str:
        """What it honestly says."""
        return sentence(self.a.name, self.b.name, self.difference)

    def to_json(self, prices: Prices = Prices()) -> dict[str, JsonValue]:  # noqa: B008 - frozen
        """As it is shown."""
        found = self.difference
        return {
            "a": _side(self.a, self.accuracy_a, prices),
            "b": _side(self.b, self.accuracy_b, prices),
            "problems": self.problems,
            "difference": {
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "differing": found.differing,
            },
            "mcnemar": {"only_a": self.single.only_a, "only_b": self.single.only_b, "p": self.single.p},
            "same_data": self.same_data,
            "sentence": self.sentence,
        }


def compare(a: Side, b: Side) -> Comparison:
    """Compare on what both have asked. Raises `InvalidInput` when that is nothing."""
    mine, theirs = items(in_order(a.records)), items(in_order(b.records))
    common = [item for item in mine if item in theirs]
    if not common:
        raise InvalidInput(
            f"evaluations {a.header.id!r} and {b.header.id!r} have no problem in common ({a.header.plan.suite}, "
            f"{b.header.plan.suite}); compare two of the same data",
            param="b",
        )
    means_a, means_b = ([_mean(side[item]) for item in common] for side in (mine, theirs))
    firsts_a, firsts_b = ([side[item][0].correct for item in common] for side in (mine, theirs))
    return Comparison(
        a,
        b,
        len(common),
        sum(means_a) / len(common),
        sum(means_b) / len(common),
        paired_bootstrap(means_a, means_b),
        mcnemar(firsts_a, firsts_b),
        all(mine[item][0].data_sha256 == theirs[item][0].data_sha256 for item in common),
    )


def sentence(a: str, b: str, found: Difference) -> str:
    """The one sentence that the interval allows."""
    told = f"{points(found.mean)} points (95 % interval {points(found.low)} to {points(found.high)})"
    on = f"on {found.n} problem{'s' if found.n != 1 else ''}"
    if found.shows_gain:
        return f"{a} improves on {b}: {told} {on}."
    if found.shows_loss:
        return f"{a} does worse than {b}: {told} {on}."
    return f"No difference between {a} and {b} is shown: {told} {on}; {why_not(found)}."


def points(share: float) -> str:
    """A difference of accuracies in percentage points, with its sign: `+2.8`, `−22.2`."""
    return f"{100 * share:+.1f}".replace("-", "−")


def why_not(found: Difference) -> str:
    """Why a difference is not shown."""
    if found.low <= 0 <= found.high:
        return "the interval includes zero"
    if found.differing < LEAST_DIFFERING:
        return f"they differ on {found.differing}, which chance explains; expected at least {LEAST_DIFFERING}"
    return "the interval lies on the other side of zero"


def _mean(records: Sequence[Record]) -> float:
    return sum(record.score for record in records) / len(records)


def _side(side: Side, accuracy: float, prices: Prices) -> dict[str, JsonValue]:
    plan = side.header.plan
    return {
        "id": side.header.id,
        "name": side.name,
        "agent": plan.agent,
        "memory": plan.memory,
        "complete": len(side.records) == side.header.expected,
        "accuracy": accuracy,
        "cost": cost_of(side.records, prices).to_json(),
    }
