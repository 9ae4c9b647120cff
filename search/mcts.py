"""Tree search: select a node, make a new answer from it, judge it, bring the values up to date, look whether that is
enough.

The profile says by which rules. Draws of rollout t come from a generator of its own, seeded by the search and t, so a
search that is continued draws what it would have drawn. Source: empirical_mcts §3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import numpy as np

from search import widening
from search.base import Budget, Expansion, Problem
from search.events import TreeEvent
from search.loop import Plan, run
from search.profile import ROBUST, Profile
from search.selection import pick
from search.strength import champion
from search.tree import Tree


def mcts(
    problem: Problem, *, budget: Budget, rng: Random, profile: Profile = ROBUST, tree: Tree | None = None
) -> AsyncIterator[TreeEvent]:
    """Search, yielding each event after it was applied to `tree`, which is filled in place; a new one when None.

    A tree that has nodes is continued under its own profile, with rollouts up to `budget.rollouts` in all. With an
    equal `rng` and the same replies it goes on exactly as the search that was not interrupted. The last event is a
    `Stopped`; a rollout that a budget cut short is not in the tree. Raises `BudgetExhausted` when not even the first
    answer could be made, and what the problem raises.
    """
    seed = rng.getrandbits(63)
    return run(problem, Tree(profile) if tree is None else tree, budget, lambda tree: _plan(tree, seed))


def _plan(tree: Tree, seed: int) -> Plan | None:
    drawing = np.random.default_rng((seed, tree.iteration + 1))
    if len(tree.profile.expansions) > 1:
        chosen = widening.choose(tree, drawing)
    else:
        found = pick(tree, drawing)
        chosen = None if found is None else (found, Expansion("child", found.id))
    if chosen is None:
        return None
    (node, score), how = chosen
    wanted = {"parent": how.parent, "champion": champion(tree) if "champion" in tree.profile.opponents else None}
    opponents = dict.fromkeys(wanted[name] for name in tree.profile.opponents)
    return Plan(node, score, how, tuple(number for number in opponents if number is not None))
