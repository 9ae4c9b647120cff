"""Context: neighbours in a session count for a part that falls with the words between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.ranking.candidates import Candidate
from memory.ranking.smoothing import HOPS, REACH_WORDS, context, neighbour_sum, spread


def row(*places: tuple[str, int] | None) -> list[Candidate]:
    return [Candidate(f"m{n}", n, "", place=None if place is None else ("v", *place)) for n, place in enumerate(places)]


def lengths(*given: float) -> np.ndarray:
    return np.array(given, np.float32)


def test_a_neighbour_counts_less_the_more_words_are_between() -> None:
    near = context(row(("s", 4), ("s", 5), ("s", 6)), lengths(20, 20, 60))
    values = spread(np.array([[0.0], [1.0], [0.0]], np.float32), near)
    assert values[:, 0] == pytest.approx([np.exp(-20 / REACH_WORDS), 1, np.exp(-40 / REACH_WORDS)])


def test_other_sessions_missing_places_and_far_places_do_not_count() -> None:
    candidates = row(("a", 1), ("b", 2), None, ("a", 1 + HOPS + 1), ("b", 2**31 - 1), ("a", 0))
    around = context(candidates, lengths(1, 1, 1, 1, 1, 1))
    assert neighbour_sum(lengths(0, 5, 5, 5, 5, 0), around) == pytest.approx([0, 0, 0, 0, 0, 0])
    assert (around.weights > 0).sum() == 2  # the two of session a that stand side by side see each other


def test_the_same_place_of_two_vaults_is_no_neighbour() -> None:
    one, other = Candidate("a", 1, "", place=("v", "s", 1)), Candidate("b", 2, "", place=("w", "s", 2))
    assert not context([one, other], lengths(1, 1)).weights.any()


def test_a_term_counts_once_from_where_it_is_nearest() -> None:
    around = context(row(("s", 1), ("s", 2), ("s", 3)), lengths(10, 10, 10))
    values = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    made = spread(values, around)
    assert made[1, 0] == pytest.approx(np.exp(-10 / REACH_WORDS))
    assert made[1, 1] == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=12, unique=True))
def test_neighbours_are_those_of_a_search_one_by_one(places: list[tuple[str, int]]) -> None:
    candidates = row(*places)
    around = context(candidates, np.ones(len(places), np.float32))
    for at, (session, position) in enumerate(places):
        for hop in range(1, HOPS + 1):
            for line, there in ((2 * hop - 2, position - hop), (2 * hop - 1, position + hop)):
                wanted = places.index((session, there)) if (session, there) in places else len(places)
                assert around.rows[line, at] == wanted
                assert (around.weights[line, at] > 0) == (wanted < len(places))


def test_nothing_has_no_context() -> None:
    around = context([], np.zeros(0, np.float32))
    assert spread(np.zeros((0, 3), np.float32), around).shape == (0, 3)
