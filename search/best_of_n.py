"""The plain baseline: independent new answers, each judged beside the best so far.

With n − 1 rollouts it makes n answers at the price of a tree search with as many rollouts. Source: ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

from search.base import Budget, Expansion, Problem
from search.events import TreeEvent
from search.final import choose
from search.loop import Plan, run
from search.profile import ROBUST, Profile
from search.tree import Tree


def best_of_n(
    problem: Problem, *, budget: Budget, rng: Random, profile: Profile = ROBUST, tree: Tree | None = None
) -> AsyncIterator[TreeEvent]:
    """As `mcts`, without a choice: every answer is a new start. `rng` is not used."""
    return run(problem, Tree(profile) if tree is None else tree, budget, _plan)


def _plan(tree: Tree) -> Plan:
    best = choose(tree)
    return Plan(best.best, best.ranking[0][1], Expansion("fresh"), (best.best,))
