"""Context: what stands next to a memory in its session counts for a part of it. Pure.

A turn of a dialogue or a paragraph of a document is stored alone, so it says "she loved it" and the turn before says
what. A term that a neighbour has counts less with each step, once per term; so a question is covered by a stretch of a
session, and no text is ever stored in another memory's index row. Source: design storage §4b; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.ranking.candidates import Candidate

Floats = NDArray[np.float32]
# What a term counts that is 0, 1, 2 … places away.
DECAY: Final = (1.0, 0.5, 0.3)
NOBODY: Final = -1


def neighbours(candidates: Sequence[Candidate], hops: int = len(DECAY) - 1) -> NDArray[np.intp]:
    """Rows of the candidates 1 … `hops` places before and after each one, -1 where there is none.

    Shape (2 · hops, candidates): before 1, after 1, before 2, after 2 …
    """
    place = {
        (each.session, each.position): row
        for row, each in enumerate(candidates)
        if each.session is not None and each.position is not None
    }
    found = np.full((2 * hops, len(candidates)), NOBODY, np.intp)
    for (session, position), row in place.items():
        assert position is not None
        for hop in range(1, hops + 1):
            found[2 * hop - 2, row] = place.get((session, position - hop), NOBODY)
            found[2 * hop - 1, row] = place.get((session, position + hop), NOBODY)
    return found


def spread_max(values: Floats, near: NDArray[np.intp], decay: Sequence[float] = DECAY) -> Floats:
    """Each value, or a neighbour's weighed by its distance, whichever is more. `values`: (candidates, terms), none negative."""
    padded = np.vstack([values, np.zeros((1, values.shape[1]), np.float32)])
    best = values * np.float32(decay[0])
    for line, rows in enumerate(near[: 2 * (len(decay) - 1)]):
        np.maximum(best, padded[rows] * np.float32(decay[line // 2 + 1]), out=best)
    return best


def neighbour_mean(values: Floats, near: NDArray[np.intp]) -> Floats:
    """The mean of the neighbours one place away; 0 where there is none. `values`: (candidates,)."""
    padded = np.append(values, np.float32(0))
    there = (near[:2] != NOBODY).sum(axis=0)
    return (padded[near[:2]].sum(axis=0) / np.maximum(there, 1)).astype(np.float32)


def by_session(values: Floats, candidates: Sequence[Candidate]) -> Floats:
    """The largest value of each term in the whole session of each candidate. Shape as `values`: (candidates, terms)."""
    numbers: dict[object, int] = {}
    rows = np.array([numbers.setdefault(each.session or each.id, len(numbers)) for each in candidates], np.intp)
    best = np.zeros((len(numbers), values.shape[1]), np.float32)
    np.maximum.at(best, rows, values)
    return best[rows]
