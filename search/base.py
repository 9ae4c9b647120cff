"""What a search is given: a problem that makes and compares answers, and a budget.

A node of the search is a complete answer. `Problem` makes answers (`root`, `expand`), sets two of them side by side
(`compare`) and may learn from the comparison (`learn`); the search decides which, and when. It knows no prompts, no
memory and no model: what the problem wants to keep with a node travels in `data`, unread. Source: empirical_mcts §2,
§3.2, §5; the kinds of expansion and the objective signal are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Literal, Protocol

from runtime.budget import Budget as Limits
from runtime.budget import Spent
from runtime.errors import BudgetExhausted, InvalidInput
from runtime.types import JsonObject

if TYPE_CHECKING:
    from search.tree import Node, Tree

Status = Literal["ok", "gen_failed", "judge_failed", "duplicate"]
Kind = Literal["child", "fresh", "merge"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """How a new answer is to be made.

    `child`: from the evolved prompt of `parent`. `fresh`: a new start, no parent; `lessons` names the nodes, best
    first, whose lessons it should be given. `merge`: from the two answers `parent` (the better one) and `other`.
    """

    kind: Kind = "child"
    parent: int | None = None
    other: int | None = None
    lessons: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """One generated answer.

    `final` is its canonical form, None where the task has none or the answer holds none: answers with the same one are
    the same answer. `objective` is what code found out about it, 0 to 1 (a pass is 1.0, a failure 0.0), None if nothing
    did. `status` is `ok`, `gen_failed`, or `duplicate` when the problem knows that this answer was there before.
    """

    answer: str
    final: str | None = None
    objective: float | None = None
    data: JsonObject = field(default_factory=dict)
    status: Status = "ok"

    def __post_init__(self) -> None:
        if self.objective is not None and not 0.0 <= self.objective <= 1.0:
            raise InvalidInput(f"objective: got {self.objective!r}, expected a number from 0 (failed) to 1 (passed)")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a judge said of a new answer (`child`) beside another (`opponent`); scores are higher for better, usually 1
    to 10.

    `swapped` is True when the child was shown first, False when the opponent was, None when both orders were judged and
    the scores are their means. `data` stays with the comparison; `update` is merged into the data of the child (an
    evolved prompt, for example).
    """

    s_child: float
    s_opponent: float
    swapped: bool | None = None
    data: JsonObject = field(default_factory=dict)
    update: JsonObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isfinite(self.s_child) and isfinite(self.s_opponent)):
            raise InvalidInput(f"scores: got {self.s_child!r} and {self.s_opponent!r}, expected two finite numbers")


class Problem(Protocol):
    """Where answers and judgements come from. Every method may raise `BudgetExhausted`: the rollout is then undone."""

    async def root(self) -> Made:
        """The first answer. Raises what makes the question fail; a status other than `ok` is refused."""
        ...

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        """A new answer, or None when generation failed. `node` is the selected one: the parent, or for `fresh` the
        champion."""
        ...

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        """Judge `child` beside `opponent`; None when judging failed. `child` is not in `tree.nodes` yet: it is
        `tree.pending`."""
        ...

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        """Use what the judgements of this rollout taught; at least one is given. Most problems do nothing."""
        ...


def _nothing() -> Spent:
    return Spent()


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent: `rollouts` new answers beside the first one, and the limits of the run, if it has any.

    `spent` tells what is used up; it is asked before every answer and every judgement, so these keep the limits to within
    one call. What a rollout teaches (`Problem.learn`) is not held back, or the last rollout that a budget pays for would be
    lost with it; a problem whose learning costs calls keeps the limits there itself.
    """

    rollouts: int
    limits: Limits = field(default_factory=Limits)
    spent: Callable[[], Spent] = _nothing

    def __post_init__(self) -> None:
        if self.rollouts < 0:
            raise InvalidInput(f"rollouts: got {self.rollouts!r}, expected 0 or more", param="rollouts")
        self.limits.check()

    def check(self) -> None:
        """Raise `BudgetExhausted`, naming the limit, when one is reached."""
        used = self.spent()
        for name, limit, value in (
            ("tokens", self.limits.tokens, used.tokens),
            ("calls", self.limits.calls, used.calls),
            ("seconds", self.limits.seconds, used.seconds),
        ):
            if limit is not None and value >= limit:
                raise BudgetExhausted(f"budget: {value} of {limit} {name} are used up", limit=name)
