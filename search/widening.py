"""Wider or deeper: a child of a node, a new start, or a merge of two answers.

Thompson sampling on what the next answer would be worth. One draw of all strengths from the posterior names the nodes
to go deeper from: the best of the draw, and for a merge the next best that says something else. A second draw tells
what they are worth; the first would flatter them, as the highest of many draws is high by luck. In that second draw
too, earlier new starts tell what a new start is worth, and earlier children and merges how much one gains over what it
was made from. Each kind then gets one draw of the mean of its next answer, and the highest is made.

Draws and not means, so that a kind of which little is known is tried as often as it may turn out best. Kinds first, and
not all nodes at once, because the maximum over many nodes would crowd out the one new start as the tree grows. With
little seen, a child or a merge is expected to be as good as its source, and a new start one standard deviation weaker:
it gives up what the prompts of a line have learned. Partial objective scores shift the draws, softly: what passes more
tests is more likely a good base, not certainly. Source: ours; choosing between a new start and a refinement by
posterior draws after AB-MCTS 2503.04412.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.base import Expansion, Kind
from search.selection import Pick, selectable, thompson
from search.strength import by_strength, same_answer
from search.tree import Tree

PSEUDO: Final = 2.0
EXPECTED: Final = {"child": 0.0, "merge": 0.0, "fresh": -1.0}
OBJECTIVE_WEIGHT: Final = 4.0
LESSONS: Final = 3


def choose(tree: Tree, rng: np.random.Generator) -> tuple[Pick, Expansion] | None:
    """What to make next, None when nothing can be; the score of the pick is the strength drawn for the new answer."""
    able = np.flatnonzero(selectable(tree))
    if not len(able):
        return None
    known = _known(tree)
    first, second = (thompson(tree, rng) + known for _ in range(2))
    best, *rest = (int(number) for number in able[np.argsort(-first[able], kind="stable")])
    strongest = by_strength(tree)
    options: list[tuple[float, int, Expansion]] = []
    for kind in tree.profile.expansions:
        worth = _next(tree, second, kind, rng)
        match kind:
            case "child":
                options.append((second[best] + worth, best, Expansion("child", best)))
            case "merge":
                other = _partner(tree, best, rest)
                if other is not None:
                    options.append((second[best] + worth, best, Expansion("merge", best, other)))
            case "fresh":
                lessons = tuple(node.id for node in strongest[:LESSONS])
                options.append((worth, strongest[0].id, Expansion("fresh", lessons=lessons)))
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


def _partner(tree: Tree, best: int, rest: Sequence[int]) -> int | None:
    """The first of the rest that is another answer than `best`."""
    return next((number for number in rest if not same_answer(tree.nodes[best], tree.nodes[number])), None)


def _next(tree: Tree, drawn: NDArray[np.float64], kind: Kind, rng: np.random.Generator) -> float:
    """A draw of the mean of the next answer of that kind: of its strength for `fresh`, else of its gain over its
    source.

    The gain of a merge is over the better of its two sources, although only the first is known when it is made: a merge
    that only repeats the better one has gained nothing.
    """
    seen: list[float] = []
    for node in tree.ok():
        if node.how.kind == kind:
            sources = [number for number in (node.parent, node.how.other) if number is not None]
            seen.append(drawn[node.id] - max((drawn[number] for number in sources), default=0.0))
    weight, sd = PSEUDO + len(seen), tree.profile.prior_sd
    return float((PSEUDO * EXPECTED[kind] * sd + sum(seen)) / weight + sd * weight**-0.5 * rng.standard_normal())
