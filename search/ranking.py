"""Enhanced Borda Count: answers ordered by how many others they beat, directly or through others.

The last judgement of a pair counts. Equal counts are ordered by id (`id`, a reproducible stand-in for the arbitrary
order of the released code) or by mean score margin, then local value, then id (`margin`). The order behind the counts
changes only for the two nodes of a judgement, so it is kept sorted, and a stable sort by count over it gives the
ranking. Source: empirical_mcts §3.6; LLaMA-Berry 2410.02884 for the count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.closure import Closure
from search.profile import Ties


class Judged(NamedTuple):
    """One judgement of the pair (`a`, `b`): numbers as given to `Borda.add`, and their scores."""

    a: int
    b: int
    s_a: float
    s_b: float


class Borda:
    """The ranking of the answers added so far, given the judgements so far."""

    def __init__(self, ties: Ties) -> None:
        self._ties = ties
        self._closure = Closure()
        self._pairs: dict[tuple[int, int], float] = {}
        self._margin: list[float] = []
        self._met: list[int] = []
        self._q_local: list[float] = []
        self._keys: list[tuple[float, float, int]] = []
        self._by_key = np.zeros(64, np.int64)

    def __len__(self) -> int:
        return len(self._q_local)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The Borda count of every answer."""
        return self._closure.counts

    def add(self, q_local: float) -> int:
        """An answer that nobody judged; returns its number, counted from 0."""
        number = self._closure.add()
        self._margin.append(0.0)
        self._met.append(0)
        self._q_local.append(q_local)
        if number == len(self._by_key):
            self._by_key = np.pad(self._by_key, (0, number))
        self._insert(number)
        return number

    def margin(self, number: int) -> float:
        """The mean of its score minus that of the other, over the judgements in force; 0.0 without any."""
        return self._margin[number] / max(1, self._met[number])

    def judge(self, judgements: Iterable[Judged]) -> None:
        """Take in judgements; one of a pair that was judged before replaces the earlier one."""
        again = False
        for a, b, s_a, s_b in judgements:
            pair, margin = ((a, b), s_a - s_b) if a < b else ((b, a), s_b - s_a)
            before = self._pairs.get(pair)
            self._pairs[pair] = margin
            for number, sign in ((pair[0], 1.0), (pair[1], -1.0)):
                self._remove(number)
                self._margin[number] += sign * (margin - (before or 0.0))
                self._met[number] += before is None
                self._insert(number)
            again |= before is not None and np.sign(before) != np.sign(margin)
            if not again:
                self._connect(pair, margin)
        if again:
            self._rebuild()

    def _connect(self, pair: tuple[int, int], margin: float) -> None:
        if margin:
            self._closure.connect(*(pair if margin > 0 else pair[::-1]))

    def _rebuild(self) -> None:
        """An edge is gone or turned round: what followed from it cannot be told from what follows from others."""
        self._closure, size = Closure(), len(self)
        for _ in range(size):
            self._closure.add()
        for pair, margin in self._pairs.items():
            self._connect(pair, margin)

    def _key(self, number: int) -> tuple[float, float, int]:
        if self._ties == "id":
            return (0.0, 0.0, number)
        return (-self.margin(number), -self._q_local[number], number)

    def _insert(self, number: int) -> None:
        key = self._key(number)
        place = bisect_left(self._keys, key)
        end = len(self._keys)
        self._by_key[place + 1 : end + 1] = self._by_key[place:end]
        self._by_key[place] = number
        self._keys.insert(place, key)

    def _remove(self, number: int) -> None:
        place = bisect_left(self._keys, self._key(number))
        end = len(self._keys)
        self._by_key[place : end - 1] = self._by_key[place + 1 : end]
        del self._keys[place]

    def order(self) -> NDArray[np.int64]:
        """All answers, best first."""
        by_key = self._by_key[: len(self)]
        missing = len(self) - self.counts[by_key]
        # A stable sort of 16-bit numbers is a radix sort: linear.
        kind = np.uint16 if len(self) < 1 << 16 else np.int64
        return by_key[np.argsort(missing.astype(kind), kind="stable")]

    def q_global(self) -> NDArray[np.float64]:
        """1 for the best, 0 for the last, evenly between; 1 for a single one."""
        size = len(self)
        if size == 1:
            return np.ones(1)
        ranks = np.empty(size)
        ranks[self.order()] = np.arange(size)
        return 1.0 - ranks / (size - 1)
