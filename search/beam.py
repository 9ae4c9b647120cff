"""Beam search: layer by layer, the best nodes of a layer get children, the others none.

In each layer `WIDTH` nodes, those that the final rule ranks highest when their turn comes, get k children each; then
the next layer is worked on. A layer without an answer ends the search. Source: ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Final

from search.base import Budget, Expansion, Problem
from search.events import TreeEvent
from search.final import choose
from search.loop import Plan, run
from search.profile import ROBUST, Profile
from search.tree import Tree

WIDTH: Final = 2


def beam(
    problem: Problem,
    *,
    budget: Budget,
    rng: Random,
    profile: Profile = ROBUST,
    tree: Tree | None = None,
    width: int = WIDTH,
) -> AsyncIterator[TreeEvent]:
    """As `mcts`, with `width` nodes of each layer expanded. `rng` is not used."""
    return run(problem, Tree(profile) if tree is None else tree, budget, lambda tree: _plan(tree, width))


def _plan(tree: Tree, width: int) -> Plan | None:
    k = tree.profile.k
    ranking = choose(tree).ranking
    order, scores = [number for number, _ in ranking], dict(ranking)
    depth = 0
    while True:
        layer = [number for number in order if tree.nodes[number].depth == depth]
        begun = [number for number in layer if tree.nodes[number].children]
        unfinished = [number for number in begun if len(tree.nodes[number].children) < k]
        waiting = [number for number in layer if not tree.nodes[number].children] if len(begun) < width else []
        if unfinished or waiting:
            node = (unfinished or waiting)[0]
            return Plan(node, scores[node], Expansion("child", node), (node,))
        if not layer:
            return None
        depth += 1
