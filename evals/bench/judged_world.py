"""Simulated questions whose answers have a known worth, and a judge that sees it through noise and prefers the first
place.

An answer comes from a prompt of some skill, and luck. A child's prompt inherits the skill of its parent's and changes
it a little, and its luck echoes that of its parent as far as the world says; a new start has the skill of the first
prompt, whatever lessons it was given; a merge has the mean skill of its sources and no other advantage. So a search
gains by finding skilled lines and by telling good answers from lucky judgements, and by nothing else.

`open` questions: the worth of an answer is a number, no two answers are the same. `closed` questions: an answer is
right or wrong, right with a probability that grows with skill, luck and ease; wrong answers are drawn from a few, some
of them common. The judge scores both answers from 1 to 10 in halves. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random
from typing import Literal

from runtime.budget import Spent
from search.base import Evaluation, Expansion, Made
from search.tree import Node, Tree

Kind = Literal["open", "closed"]
WRONG = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)


@dataclass(frozen=True, slots=True)
class World:
    """What the questions are like, in standard deviations of worth, and the judge, in its points.

    `drift`: of the change of skill from parent to child. `luck`: of an answer about its skill; `echo`, 0 to 1: its
    correlation with that of the parent. `slope`: points per unit of worth. `noise`: of each score, `mood`: of both
    scores of a call together. `bias`: what the answer shown first gets on top.
    """

    kind: Kind = "open"
    drift: float = 0.5
    luck: float = 0.8
    echo: float = 0.0
    slope: float = 1.0
    noise: float = 1.5
    bias: float = 0.7
    mood: float = 0.7


class Question:
    """One question as a `Problem`; the same seed gives the same first answer. `worth` and `spent` are for the one who
    measures."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = Random(f"question {seed}")
        self._ease = self._rng.gauss(-0.3, 1.0)
        self._skill: list[float] = []
        self._seen: list[float] = []
        self._luck: list[float] = []
        self.worth: list[float] = []
        self.calls = 0

    def spent(self) -> Spent:
        """The calls of the model so far: one for each answer and each judgement."""
        return Spent(calls=self.calls)

    async def root(self) -> Made:
        """See `Problem`."""
        return self._make(0.0, None)

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        """See `Problem`."""
        match how.kind:
            case "fresh":
                return self._make(0.0, None)
            case "child":
                return self._make(self._skill[node.id] + self._rng.gauss(0.0, self._world.drift), node.id)
            case "merge":
                assert how.other is not None, "a merge has two sources"
                return self._make((self._skill[node.id] + self._skill[how.other]) / 2, None)

    def _make(self, skill: float, like: int | None) -> Made:
        self.calls += 1
        number = len(self.worth)
        self._skill.append(skill)
        luck = self._rng.gauss(0.0, self._world.luck)
        if like is not None:
            luck = self._world.echo * self._luck[like] + (1.0 - self._world.echo**2) ** 0.5 * luck
        self._luck.append(luck)
        if self._world.kind == "open":
            self._seen.append(skill + luck)
            self.worth.append(self._seen[-1])
            return Made(f"answer {number}")
        right = self._rng.random() < 1.0 / (1.0 + exp(-(self._ease + 1.5 * (skill + luck))))
        final = "right" if right else f"wrong {self._rng.choices(range(len(WRONG)), WRONG)[0]}"
        self.worth.append(float(right))
        self._seen.append((1.0 if right else -1.0) + luck)
        return Made(f"answer {number}", final)

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        """See `Problem`."""
        self.calls += 1
        swapped = self._rng.random() < 0.5
        mood = self._rng.gauss(5.5, self._world.mood)
        s_child, s_opponent = (
            self._score(number, mood + (self._world.bias if first else 0.0))
            for number, first in ((child.id, swapped), (opponent.id, not swapped))
        )
        return Evaluation(s_child, s_opponent, swapped)

    def _score(self, number: int, usual: float) -> float:
        points = usual + self._world.slope * self._seen[number] + self._rng.gauss(0.0, self._world.noise)
        return min(10.0, max(1.0, round(2.0 * points) / 2.0))

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        """Nothing: what a prompt learns is in its skill."""
