"""How the value of a new answer reaches the ones above it: Q(parent) ← (1 − gamma) Q(parent) + gamma Q(child).

    path        once along the edges from the new node to its root; older nodes keep what they have
    published   over every edge of the tree at every rollout, newest child first: old edges count again and again
    robust      from fresh values, every edge once, children in order of creation: the same data give the same values

A whole pass is linear in the values, Q = D·V + W·Q, where W goes from child to parent. It is solved by repeating the
right side until nothing changes: after as many rounds as a node is high its value stands, and since each level weighs
gamma less, deep trees settle long before that. Source: empirical_mcts §3.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def path(values: Floats, ancestors: Sequence[int], gamma: float) -> None:
    """Fold the value of `ancestors[0]` into the next one, that into the next, and so on, in place."""
    for child, parent in pairwise(ancestors):
        values[parent] = (1.0 - gamma) * values[parent] + gamma * values[child]


def whole(values: Floats, children: Ints, parents: Ints, later: Ints, gamma: float) -> Floats:
    """One pass over all edges, children before parents.

    Edge `e` goes from `children[e]` up to `parents[e]`; `later[e]` siblings of that child are folded in after it.
    """
    folds = np.bincount(parents, minlength=len(values))
    keep = (1.0 - gamma) ** np.arange(folds.max(initial=0) + 1)
    weights = gamma * keep[later]
    total = keep[folds] * values
    wave = total
    while True:
        handed = weights * wave[children]
        before = total[parents]
        wave = np.zeros(len(values))
        np.add.at(wave, parents, handed)
        total = total + wave
        if np.array_equal(total[parents], before):
            return total
        # A node without children has handed up all it ever will, so a deep tree costs little more than a flat one.
        inner = np.zeros(len(values), np.bool_)
        inner[parents] = True
        more = inner[children]
        children, parents, weights = children[more], parents[more], weights[more]
