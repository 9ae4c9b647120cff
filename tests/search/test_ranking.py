"""Enhanced Borda: the counts of the sheet (acceptance check C), ties, replacement, relabelling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.profile import Ties
from search.ranking import Borda, Judged

A, B, C, D = range(4)


def ranked(count: int, judged: Sequence[tuple[int, int, float, float]], ties: Ties = "margin") -> Borda:
    borda = Borda(ties)
    for _ in range(count):
        borda.add(0.5)
    borda.judge(Judged(*one) for one in judged)
    return borda


@pytest.mark.parametrize("ties", ["id", "margin"])
def test_those_beaten_through_others_count(ties: Ties) -> None:
    # B lost by 1 and won by 3, D won by 1: their mean margins are equal, and nothing but the ids tells them apart.
    borda = ranked(4, [(A, B, 7, 6), (B, C, 8, 5), (D, C, 6, 5)], ties)
    assert borda.counts[[A, B, D, C]].tolist() == [2, 1, 1, 0]
    assert borda.order().tolist() == [A, B, D, C]
    np.testing.assert_allclose(borda.q_global()[[A, B, D, C]], [1, 2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("ties", ["id", "margin"])
def test_in_a_cycle_all_are_equal_and_ids_decide(ties: Ties) -> None:
    borda = ranked(3, [(A, B, 7, 6), (B, C, 7, 6), (C, A, 7, 6)], ties)
    assert borda.counts.tolist() == [2, 2, 2]
    assert borda.order().tolist() == [A, B, C]
    assert borda.q_global().tolist() == [1, 0.5, 0]


def test_equal_counts_are_ordered_by_margin_then_by_local_value_then_by_id() -> None:
    borda = Borda("margin")
    for q_local in (0.5, 0.2, 0.9, 0.9, 0.5):
        borda.add(q_local)
    borda.judge([Judged(4, 0, 5, 5)])
    assert borda.order().tolist() == [2, 3, 0, 4, 1]
    # 0 and 4 lose to 1: the mean margin of 0 is −1 over two meetings, that of 4 is −1.5.
    borda.judge([Judged(1, 0, 6, 4), Judged(1, 4, 6, 3)])
    assert borda.order().tolist() == [1, 2, 3, 0, 4]


def test_judging_a_pair_again_replaces_what_was_said() -> None:
    borda = ranked(3, [(A, B, 7, 6), (B, C, 7, 6)])
    assert borda.counts.tolist() == [2, 1, 0]
    borda.judge([Judged(A, B, 3, 6)])
    assert borda.counts.tolist() == [0, 2, 0]
    borda.judge([Judged(B, A, 5, 5)])
    assert borda.counts.tolist() == [0, 1, 0]


def test_one_answer_is_the_best() -> None:
    assert ranked(1, []).q_global().tolist() == [1.0]


scores = st.integers(1, 10)


@given(st.integers(2, 12), st.data())
def test_names_do_not_matter(size: int, data: st.DataObject) -> None:
    """Told in the same order under other numbers, the answers have the same counts, and without ties the same ranks."""
    node = st.integers(0, size - 1)
    judged = data.draw(
        st.lists(st.tuples(node, node, scores, scores).filter(lambda one: one[0] != one[1]), max_size=30)
    )
    names = data.draw(st.permutations(range(size)))
    before = ranked(size, judged)
    after = ranked(size, [(names[a], names[b], s_a, s_b) for a, b, s_a, s_b in judged])
    assert [after.counts[names[i]] for i in range(size)] == before.counts.tolist()
    keys = {i: (int(before.counts[i]), before.margin(i)) for i in range(size)}
    if len(set(keys.values())) == size:
        assert [names[i] for i in before.order()] == after.order().tolist()


@given(st.integers(2, 10), st.data())
def test_judging_one_by_one_is_judging_all_at_once_and_who_is_named_first_does_not_matter(
    size: int, data: st.DataObject
) -> None:
    node = st.integers(0, size - 1)
    judged = data.draw(
        st.lists(st.tuples(node, node, scores, scores).filter(lambda one: one[0] != one[1]), max_size=30)
    )
    at_once = ranked(size, judged)
    turned = ranked(size, [])
    for a, b, s_a, s_b in judged:
        turned.judge([Judged(b, a, s_b, s_a)])
        turned.order()  # asked for in between, as a search does: it may be kept
    assert turned.order().tolist() == at_once.order().tolist()
    assert turned.counts.tolist() == at_once.counts.tolist()


@given(st.integers(1, 40), st.data())
def test_the_kept_order_is_the_sorted_one(size: int, data: st.DataObject) -> None:
    borda = Borda("margin")
    locals_ = data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    for number, q_local in enumerate(locals_):
        borda.add(q_local)
        if number:
            borda.judge([Judged(number, data.draw(st.integers(0, number - 1)), data.draw(scores), data.draw(scores))])
    wanted = sorted(range(size), key=lambda i: (-borda.counts[i], -borda.margin(i), -locals_[i], i))
    assert borda.order().tolist() == wanted
