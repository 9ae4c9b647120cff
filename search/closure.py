"""Who beats whom at any remove: a transitive closure that grows edge by edge.

`reach[i]` is a row of bits, one for each node that `i` beats directly or through others. A new edge changes only the
rows of those that reach its winner, and in them only the words that hold something new; the count of each row is kept
beside it. In a search, one end of nearly every edge is new, so an edge costs a column or a row, not a matrix:
Warshall's cubic pass over everything is what a test compares it with. Source: empirical_mcts §3.6 (2., 3.); the
incremental form is ours.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BITS: Final = 64
START: Final = 64


class Closure:
    """The closure of the edges given so far. Nodes are numbered from 0 in the order they are added."""

    def __init__(self) -> None:
        self._reach = np.zeros((START, START // BITS), np.uint64)
        self._counts = np.zeros(START, np.int64)
        self._beaten = np.zeros(START, np.bool_)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many others each node beats. A node in a cycle beats itself; that is not counted."""
        return self._counts[: self._size]

    def add(self) -> int:
        """A node without edges; returns its number."""
        if self._size == len(self._counts):
            self._reach = np.pad(self._reach, ((0, self._size), (0, self._size // BITS)))
            self._counts = np.pad(self._counts, (0, self._size))
            self._beaten = np.pad(self._beaten, (0, self._size))
        self._size += 1
        return self._size - 1

    def beats(self, winner: int, loser: int) -> bool:
        """True when there is a way from `winner` to `loser` along the edges."""
        return bool(self._reach[winner, loser // BITS] >> np.uint64(loser % BITS) & np.uint64(1))

    def connect(self, winner: int, loser: int) -> None:
        """Add the edge `winner` beats `loser`, and all that follows from it."""
        if self.beats(winner, loser):
            return
        gained = self._reach[loser].copy()
        gained[loser // BITS] |= np.uint64(1) << np.uint64(loser % BITS)
        sources = np.array([winner])
        if self._beaten[winner]:
            column = self._reach[: self._size, winner // BITS] >> np.uint64(winner % BITS) & np.uint64(1)
            # In a cycle the winner reaches itself; its row must not be taken twice.
            column[winner] = 0
            sources = np.append(sources, np.flatnonzero(column))
        words = np.flatnonzero(gained)
        block = np.ix_(sources, words)
        before = self._reach[block]
        after = before | gained[words]
        self._reach[block] = after
        self._beaten[loser] = True
        self._counts[sources] += np.bitwise_count(after).sum(1, np.int64) - np.bitwise_count(before).sum(1, np.int64)
        if self.beats(winner, winner):
            self._count_again(sources)

    def _count_again(self, nodes: NDArray[np.intp]) -> None:
        """The new edge closed a cycle, so some of these nodes reach themselves."""
        all_bits = np.bitwise_count(self._reach[nodes]).sum(1, np.int64)
        own = self._reach[nodes, nodes // BITS] >> (nodes % BITS).astype(np.uint64) & np.uint64(1)
        self._counts[nodes] = all_bits - own.astype(np.int64)
