"""Which node of the tree to work on next: one flat choice over all nodes that take children, not a walk from the root.

    ucb       Q(v) + c · sqrt(ln(N_par + 1) / (N + eps))
    puct      Q(v) + c · P(v) · sqrt(N_par + 1) / (1 + N), where P, the prior, is the local value: known before any child is
    thompson  one draw of all strengths from the posterior; see also `widening`, which adds new starts and merges

N is the visits of the node, N_par those of its parent; for a node without one it is the number of rollouts done. Ties
go to the smallest id. Source: empirical_mcts §3.3; puct after Silver et al. 2017, thompson after Thompson 1933, both in
this flat form ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.tree import Tree


class Pick(NamedTuple):
    """A chosen node and what the rule gave it."""

    id: int
    score: float


def selectable(tree: Tree) -> NDArray[np.bool_]:
    """True for each node that may take another child.

    `count`: fewer than k children; a duplicate raises the limit for the whole tree. `surpassed`: closed from k children
    on, if one of them is worth more than the node, and from 2k on in any case; a duplicate raises k for its parent, not
    2k, so a generator that repeats itself is left in the end.
    """
    standing, rules = tree.standing, tree.profile
    match rules.close:
        case "count":
            return np.asarray(standing.expandable & (standing.children < rules.k + standing.spare.sum()))
        case "surpassed":
            children, parents = standing.judged_edges
            best = np.full(len(tree), -np.inf)
            np.maximum.at(best, parents, standing.value[children])
            full = (standing.children >= rules.k + standing.spare) & (best > standing.value)
            return np.asarray(standing.expandable & ~full & (standing.children < 2 * rules.k))
        case "never":
            return standing.expandable


def ucb(tree: Tree) -> NDArray[np.float64]:
    """The score of every node."""
    rules, visits = tree.profile, tree.standing.visits
    return np.asarray(tree.standing.value + rules.c * np.sqrt(np.log1p(_parent_visits(tree)) / (visits + rules.eps)))


def puct(tree: Tree) -> NDArray[np.float64]:
    """The score of every node."""
    standing, rules = tree.standing, tree.profile
    pull = standing.q_local * np.sqrt(_parent_visits(tree) + 1.0) / (1.0 + standing.visits)
    return np.asarray(standing.value + rules.c * rules.z * pull)


def thompson(tree: Tree, rng: np.random.Generator) -> NDArray[np.float64]:
    """A draw of the strength of every node; nodes that were not judged have that of the prior."""
    drawn = tree.profile.prior_sd * rng.standard_normal(len(tree))
    drawn[tree.standing.ok_ids] = tree.posterior().draws(1, rng)[0]
    return drawn


def pick(tree: Tree, rng: np.random.Generator) -> Pick | None:
    """The node that the rule of the profile chooses, None when no node takes children."""
    able = selectable(tree)
    if not able.any():
        return None
    match tree.profile.selection:
        case "ucb":
            scores = ucb(tree)
        case "puct":
            scores = puct(tree)
        case "thompson":
            scores = thompson(tree, rng)
    best = int(np.argmax(np.where(able, scores, -np.inf)))
    return Pick(best, float(scores[best]))


def _parent_visits(tree: Tree) -> NDArray[np.float64]:
    parent = tree.standing.parent
    return np.where(parent < 0, tree.iteration, tree.standing.visits[parent]).astype(np.float64)
