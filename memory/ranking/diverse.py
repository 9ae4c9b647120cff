"""Near-repetitions give way: maximal marginal relevance, where only texts that are almost the same count as alike. Pure.

Two texts that share a topic are not repetitions, and a date or a name is often all that differs; so likeness is the
share of different words in common, stop words left out, and counts from `ALIKE` on. Source: memos §3.2 (5); Carbonell
and Goldstein 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memory.ranking import words

LAMBDA: Final = 0.7
ALIKE: Final = 0.9


def varied(texts: Sequence[str]) -> list[int]:
    """The places of the texts, which are given best first, in the order in which they are shown.

    Relevance falls evenly from 1 to 0 over the list, because scores have no scale: a repetition falls behind about 40 % of
    the list.
    """
    relevance = [1 - place / max(1, len(texts) - 1) for place in range(len(texts))]
    said = [words.telling(text) for text in texts]
    repeated = [0.0] * len(texts)
    left = list(range(len(texts)))
    chosen: list[int] = []
    while left:
        best = max(left, key=lambda place: (LAMBDA * relevance[place] - (1 - LAMBDA) * repeated[place], -place))
        left.remove(best)
        chosen.append(best)
        for place in left:
            repeated[place] = max(repeated[place], _alike(said[best], said[place]))
    return chosen


def _alike(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    # Sets of too different sizes cannot be alike, which spares most comparisons.
    small, large = sorted((len(one), len(other)))
    if small < ALIKE * large:
        return 0.0
    common = len(one & other)
    share = common / max(1, small + large - common)
    return share if share >= ALIKE else 0.0
