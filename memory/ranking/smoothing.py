"""Context: what stands next to a memory in its session counts for a part of it. Pure.

A turn of a dialogue is stored alone, so it says "she loved it" and the turn before says what. How much a neighbour
counts falls with the words between, not with the places: turns are short and need each other, a paragraph stands for
itself. A term counts once for a memory, from where it is nearest, so a question is covered by a stretch of a session
and no text is ever stored in another memory's index row. Source: design storage §4b; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.ranking.candidates import Candidate

Floats = NDArray[np.float32]
# Over so many words what a neighbour counts falls to 37 %.
REACH_WORDS: Final = 80.0
HOPS: Final = 3
# Positions are below 2**31, so two sessions never touch.
SESSION_SPAN: Final = 2**33


@dataclass(frozen=True, slots=True)
class Context:
    """For each of the 2 · HOPS places around a candidate, which one stands there (the number of candidates: none) and
    what it counts (0 where there is none). Both of shape (2 · HOPS, candidates)."""

    rows: NDArray[np.intp]
    weights: Floats


def context(candidates: Sequence[Candidate], lengths: Floats) -> Context:
    """The neighbours of each candidate among the others. `lengths`: words of each, shape (candidates,)."""
    nobody = len(candidates)
    rows = np.full((2 * HOPS, nobody), nobody, np.intp)
    placed = np.array([row for row, each in enumerate(candidates) if each.place is not None], np.intp)
    sessions: dict[tuple[str, str], int] = {}
    places = [each.place for each in candidates if each.place is not None]
    keys = np.array(
        [sessions.setdefault(place[:2], len(sessions)) * SESSION_SPAN + place[2] for place in places], np.int64
    )
    order = np.argsort(keys, kind="stable")
    standing = keys[order]
    for hop in range(1, HOPS + 1) if len(keys) else ():
        for line, wanted in ((2 * hop - 2, keys - hop), (2 * hop - 1, keys + hop)):
            at = np.minimum(np.searchsorted(standing, wanted), len(keys) - 1)
            there = standing[at] == wanted
            rows[line, placed[there]] = placed[order[at[there]]]
    hops = np.repeat(np.arange(1, HOPS + 1, dtype=np.float32), 2)[:, None]
    between = hops * (lengths + np.append(lengths, np.float32(0))[rows]) / 2
    weights = np.exp(-between / REACH_WORDS) * (rows != nobody)
    return Context(rows, weights.astype(np.float32))


def spread(values: Floats, around: Context) -> Floats:
    """Each value or what a neighbour's counts here, whichever is more. `values`: (candidates, terms), none negative."""
    padded = np.vstack([values, np.zeros((1, values.shape[1]), np.float32)])
    best = values.copy()
    for rows, weights in zip(around.rows, around.weights, strict=True):
        np.maximum(best, padded[rows] * weights[:, None], out=best)
    return best


def neighbour_sum(values: Floats, around: Context) -> Floats:
    """The sum of what the neighbours' values count here. `values`: (candidates,)."""
    padded = np.append(values, np.float32(0))
    summed: Floats = (padded[around.rows] * around.weights).sum(axis=0)
    return summed
