"""When a search has seen enough, before its budget is used up.

`verified`: an answer passed. `consensus`: the canonical answers agree so far that the first one would very likely stay
ahead of the second if the search went on for ever: with the mass as votes and a uniform prior, the probability that the
share of the first of the two is the larger. `champion`: the strongest answer is very likely stronger than every other;
that a new one may be stronger still can never be excluded. Source: ours; the votes after adaptive consistency
2305.11860.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from search.events import Reason
from search.final import DRAWS, weights
from search.strength import champion
from search.tree import Tree

GRID: Final = 2048


def enough(tree: Tree) -> Reason | None:
    """Why the search may end now, None when it should go on."""
    rules = tree.profile
    if rules.stop_on_pass and np.any(tree.standing.objective == 1.0):
        return "verified"
    if rules.stop_at is None or len(tree.standing.ok_ids) < rules.min_answers:
        return None
    if consensus(tree) >= rules.stop_at:
        return "consensus"
    if lead(tree) >= rules.stop_at:
        return "champion"
    return None


def consensus(tree: Tree) -> float:
    """The probability that the first canonical answer stays before the second; 0.0 where there are none."""
    voters = [node for node in tree.ok() if node.final is not None]
    share = weights(tree)
    votes: dict[str | None, float] = {}
    for node in voters:
        votes[node.final] = votes.get(node.final, 0.0) + len(voters) * share[node.id]
    first, second = sorted([*votes.values(), 0.0, 0.0], reverse=True)[:2]
    return beta_above_half(first + 1.0, second + 1.0) if voters else 0.0


def beta_above_half(a: float, b: float) -> float:
    """The probability that a Beta(a, b) variable exceeds one half; `a` and `b` at least 1. Exact to four digits."""
    x = (np.arange(GRID) + 0.5) / GRID
    log_density = (a - 1.0) * np.log(x) + (b - 1.0) * np.log1p(-x)
    density = np.exp(log_density - log_density.max())
    return float(density[x > 0.5].sum() / density.sum())


def lead(tree: Tree) -> float:
    """The probability that the champion is stronger than every other answer."""
    best = [node.id for node in tree.ok()].index(champion(tree))
    drawn = tree.posterior().draws(DRAWS, np.random.default_rng(0))
    others = np.delete(drawn, best, axis=1)
    return float((drawn[:, best, None] > others).all(axis=1).mean())
