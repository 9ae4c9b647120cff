"""The incremental closure is the closure."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search.closure import Closure


def warshall(size: int, edges: list[tuple[int, int]]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    reach = np.zeros((size, size), np.bool_)
    for winner, loser in edges:
        reach[winner, loser] = True
    for middle in range(size):
        reach |= reach[:, middle, None] & reach[None, middle, :]
    return reach


@given(st.integers(2, 140), st.data())
def test_it_is_what_warshall_finds_whatever_the_order_of_nodes_and_edges(size: int, data: st.DataObject) -> None:
    node = st.integers(0, size - 1)
    edges = data.draw(st.lists(st.tuples(node, node).filter(lambda edge: edge[0] != edge[1]), max_size=60))
    closure = Closure()
    for winner, loser in edges:
        while len(closure) <= max(winner, loser):
            closure.add()
        closure.connect(winner, loser)
    while len(closure) < size:
        closure.add()
    reach = warshall(size, edges)
    assert [[closure.beats(i, j) for j in range(size)] for i in range(size)] == reach.tolist()
    np.fill_diagonal(reach, val=False)
    assert closure.counts.tolist() == reach.sum(axis=1).tolist()


def test_a_long_line_of_winners_is_counted_across_words_and_growth() -> None:
    closure = Closure()
    closure.add()
    for number in range(1, 300):
        closure.connect(closure.add(), number - 1)
    assert closure.counts.tolist() == list(range(300))


def test_a_cycle_counts_nobody_as_beating_itself() -> None:
    closure = Closure()
    for _ in range(4):
        closure.add()
    for edge in ((0, 1), (1, 2), (2, 0), (3, 0)):
        closure.connect(*edge)
    assert closure.counts.tolist() == [2, 2, 2, 3]
    assert closure.beats(0, 0)
    assert not closure.beats(3, 3)
