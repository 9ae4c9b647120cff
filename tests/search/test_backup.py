"""One pass over all edges is what folding child by child gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.backup import path, whole


def folded(values: list[float], parents: list[int], gamma: float, *, newest_first: bool) -> list[float]:
    """The rule as the sheet says it: edge by edge, children before their parents."""
    values = list(values)
    for node in range(len(values) - 1, -1, -1):
        children = [number for number, parent in enumerate(parents, 1) if parent == node]
        for child in reversed(children) if newest_first else children:
            values[node] = (1 - gamma) * values[node] + gamma * values[child]
    return values


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=40), st.sampled_from([0.0, 0.1, 0.7, 1.0]), st.booleans(), st.data()
)
def test_a_pass_is_the_rule_applied_edge_by_edge(
    values: list[float], gamma: float, newest_first: bool, data: st.DataObject
) -> None:
    parents = [data.draw(st.integers(0, number - 1)) for number in range(1, len(values))]
    above = np.array(parents, np.int64)
    nth = np.array([parents[:place].count(parent) for place, parent in enumerate(parents)], np.int64)
    count = np.bincount(above, minlength=len(values)) if parents else np.zeros(len(values), np.int64)
    later = nth if newest_first else count[above] - 1 - nth
    found = whole(np.array(values), np.arange(1, len(values)), above, later, gamma)
    np.testing.assert_allclose(found, folded(values, parents, gamma, newest_first=newest_first), rtol=1e-12, atol=1e-12)


def test_a_line_of_a_thousand_hands_everything_up() -> None:
    values = np.zeros(1000)
    values[-1] = 1.0
    edges = np.arange(1, 1000), np.arange(999), np.zeros(999, np.int64)
    assert whole(values, *edges, 1.0).tolist() == [1.0] * 1000
    np.testing.assert_allclose(whole(values, *edges, 0.5)[-4:], [0.125, 0.25, 0.5, 1.0])


def test_the_path_takes_each_edge_once() -> None:
    values = np.array([9.523106, 9.731059, 0.047426])
    path(values, [2, 1, 0], 0.1)
    assert values.tolist() == pytest.approx([9.447065, 8.762695, 0.047426], abs=1e-6)
