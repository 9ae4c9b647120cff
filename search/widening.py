"""Wider or deeper: a child of a node, a new start, or a merge of two answers.

Thompson sampling on what the next answer would be worth. One draw of all strengths from the posterior gives each answer
a value that is as likely as the judgements make it. In that draw, the drawn values of earlier new starts tell what a
new start is worth, and those of earlier children and merges how much one gains over what it was made from; with few of
them both stay near the prior, which expects nothing of either. Each kind then gets one draw of its next answer, and the
highest is made.

Why draws and not means: the aim is one very good answer, so a kind whose outcome is uncertain must be tried as often as
it may turn out best. Why kinds first, and not all nodes at once: the maximum over many children would be high by chance
alone, and would crowd out the one new start as the tree grows. So the node to go deeper from is the best of the draw,
and it competes as one. Partial objective scores shift the draw, softly: what passes more tests is more likely a good
base, not certainly. Source: ours; choosing between a new start and a refinement by posterior draws after AB-MCTS
2503.04412.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.base import Expansion, Kind
from search.selection import Pick, selectable, thompson
from search.strength import by_strength, champion, same_answer
from search.tree import Tree

PSEUDO: Final = 2.0
FRESH = -0.5
OBJECTIVE_WEIGHT: Final = 4.0
LESSONS: Final = 3


def choose(tree: Tree, rng: np.random.Generator) -> tuple[Pick, Expansion] | None:
    """What to make next, None when nothing can be; the score of the pick is the strength drawn for the new answer."""
    able = np.flatnonzero(selectable(tree))
    kinds = tree.profile.expansions
    if not len(able):
        return None
    drawn = thompson(tree, rng) + _known(tree)
    order = able[np.argsort(-drawn[able], kind="stable")]
    best = int(order[0])
    options: list[tuple[float, int, Expansion]] = []
    worth = _next(tree, drawn, "child", rng) + drawn[best]
    options.append((worth, best, Expansion("child", best)))
    if "fresh" in kinds:
        top = champion(tree)
        lessons = tuple(node.id for node in by_strength(tree)[:LESSONS])
        options.append((_next(tree, drawn, "fresh", rng), top, Expansion("fresh", None, None, lessons)))
    if "merge" in kinds and (other := _partner(tree, best, order)) is not None:
        worth = _next(tree, drawn, "merge", rng) + drawn[best]
        options.append((worth, best, Expansion("merge", best, other)))
    score, node, how = max(options, key=lambda option: option[0])
    return Pick(node, float(score)), how


def _known(tree: Tree) -> NDArray[np.float64]:
    """What code found out, in log-odds about the mean of the tree, so that it says nothing when it says the same of
    all."""
    objective = tree.standing.objective
    known = ~np.isnan(objective)
    if not known.any():
        return np.zeros(len(tree))
    return np.where(known, OBJECTIVE_WEIGHT * (objective - objective[known].mean()), 0.0)


def _partner(tree: Tree, best: int, order: NDArray[np.int64]) -> int | None:
    """The best of the draw that is another answer than `best`."""
    return next((int(i) for i in order[1:] if not same_answer(tree.nodes[best], tree.nodes[i])), None)


def _next(tree: Tree, drawn: NDArray[np.float64], kind: Kind, rng: np.random.Generator) -> float:
    """A draw of the next answer of that kind: of its strength for `fresh`, of its gain over the better source for the
    others."""
    seen = []
    for node in tree.ok():
        if node.how.kind == kind and node.parent is not None:
            sources = [node.parent] if node.how.other is None else [node.parent, node.how.other]
            seen.append(drawn[node.id] - max(drawn[i] for i in sources))
        elif kind == "fresh" and node.parent is None:
            seen.append(drawn[node.id])
    weight = PSEUDO + len(seen)
    prior = FRESH if kind == "fresh" else 0.0
    return float((PSEUDO * prior + sum(seen)) / weight + tree.profile.prior_sd * weight**-0.5 * rng.standard_normal())
