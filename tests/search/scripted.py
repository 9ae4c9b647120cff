"""Problems without a model: one whose answers and scores are written down, one that makes them up from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import anyio

from runtime.budget import Spent
from runtime.errors import BudgetExhausted
from search.base import Budget, Evaluation, Expansion, Made, Problem
from search.bradley_terry import sigmoid_of
from search.events import BackedUp, Comparison, Created, Scored, Selected, TreeEvent
from search.mcts import mcts
from search.profile import Profile
from search.tree import Node, Tree

Search = Callable[..., object]


@dataclass
class Written:
    """Answers in order (None: generation fails), and scores by child and opponent (absent: judging fails)."""

    answers: Sequence[Made | None]
    scores: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    asked: list[tuple[str, object]] = field(default_factory=list)

    async def root(self) -> Made:
        self.asked.append(("root", None))
        return Made("root", "root")

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        self.asked.append(("expand", how))
        return self.answers[len(tree) - 1]

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        self.asked.append(("compare", (child.id, opponent.id)))
        scores = self.scores.get((child.id, opponent.id))
        return None if scores is None else Evaluation(*scores, swapped=False)

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        self.asked.append(("learn", child.id))


@dataclass
class MadeUp:
    """Everything from the seed and the number of the node, so that a search that is continued is told the same.

    Each call costs one; the `limit`-th call more than allowed raises, as the meter of a run does.
    """

    seed: int
    generation_fails: float = 0.0
    judging_fails: float = 0.0
    repeats: float = 0.0
    objective: bool = False
    finals: int = 4
    limit: int | None = None
    calls: int = 0

    def _random(self, *what: object) -> Random:
        return Random(f"{self.seed} {what}")

    def _pay(self) -> None:
        if self.limit is not None and self.calls >= self.limit:
            raise BudgetExhausted(f"{self.limit} calls are used up", limit="calls")
        self.calls += 1

    def spent(self) -> Spent:
        return Spent(calls=self.calls)

    async def root(self) -> Made:
        self._pay()
        return self._made(self._random("root"), "answer 0")

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        self._pay()
        rng = self._random("expand", len(tree), how)
        if rng.random() < self.generation_fails:
            return None
        return self._made(rng, node.answer if rng.random() < self.repeats else f"answer {len(tree)}")

    def _made(self, rng: Random, answer: str) -> Made:
        final = f"final {rng.randrange(self.finals)}" if self.finals else None
        objective = rng.choice([None, 0.0, 0.25, 0.5]) if self.objective else None
        return Made(answer, final, objective, {"text": answer})

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        self._pay()
        rng = self._random("compare", child.id, opponent.id)
        if rng.random() < self.judging_fails:
            return None
        scores = rng.randrange(2, 21) / 2, rng.randrange(2, 21) / 2
        return Evaluation(*scores, rng.choice([True, False, None]), {"critique": "so"}, {"prompt": f"of {child.id}"})

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        assert evaluations, "there is nothing to learn from"
        self._pay()


def searched(
    problem: Problem,
    profile: Profile,
    rollouts: int,
    *,
    search: Search = mcts,
    seed: int = 0,
    tree: Tree | None = None,
    budget: Budget | None = None,
) -> tuple[Tree, list[TreeEvent]]:
    """Run a search to its end: the tree, and the events in order."""
    tree = Tree(profile) if tree is None else tree

    async def collect() -> list[TreeEvent]:
        limits = Budget(rollouts) if budget is None else budget
        events = search(problem, budget=limits, rng=Random(seed), profile=profile, tree=tree)
        return [event async for event in events]  # type: ignore[attr-defined]

    return tree, anyio.run(collect)


def without_search(
    profile: Profile, nodes: Sequence[tuple[int | None, float, float]], *, finals: Sequence[str] = ()
) -> Tree:
    """A tree written by hand: for each node its parent and the scores of it and of the parent, none for the first."""
    tree = Tree(profile)
    for number, (parent, s_child, s_parent) in enumerate(nodes):
        how = Expansion("fresh" if parent is None else "child", parent)
        if number:
            tree.apply(Selected(number, parent or 0, how, 0.0))
        depth = 0 if parent is None else tree.nodes[parent].depth + 1
        final = finals[number] if finals else None
        tree.apply(Created(number, number, parent, depth, f"answer {number}", final, None, "ok", how, {}))
        if parent is not None:
            said = Comparison(number, parent, s_child, s_parent, None, number)
            tree.apply(Scored(number, number, parent, said, sigmoid_of(s_child - s_parent), "ok"))
        tree.apply(BackedUp(number, number))
    return tree
