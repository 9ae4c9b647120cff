"""When enough has been seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.profile import EVIDENCE, ROBUST
from search.stopping import beta_above_half, consensus, enough, lead
from tests.search.scripted import without_search

EVEN = [(None, 0.0, 0.0), *[(0, 6.0, 6.0)] * 5]
RULES = replace(EVIDENCE, min_answers=3)


@pytest.mark.parametrize(
    ("a", "b", "probability"),
    [(1, 1, 0.5), (2, 1, 0.75), (5, 1, 1 - 2**-5), (4, 2, 0.8125), (2, 4, 0.1875), (1.5, 1, 0.6464)],
)
def test_the_beta_tail_is_the_binomial_sum(a: float, b: float, probability: float) -> None:
    assert beta_above_half(a, b) == pytest.approx(probability, abs=2e-4)


@pytest.mark.parametrize(("count", "reason"), [(2, None), (3, None), (4, "consensus")])
def test_four_that_agree_are_enough(count: int, reason: str | None) -> None:
    tree = without_search(RULES, EVEN[:count], finals=["x"] * count)
    assert consensus(tree) == pytest.approx(1 - 2.0 ** -(count + 1), abs=1e-3)
    assert enough(tree) == reason


def test_a_split_is_not_enough() -> None:
    tree = without_search(RULES, EVEN, finals=["x", "y", "x", "y", "x", "x"])
    assert 0.6 < consensus(tree) < 0.95
    assert enough(tree) is None


def test_answers_without_a_canonical_form_do_not_agree() -> None:
    tree = without_search(RULES, EVEN)
    assert consensus(tree) == 0.0
    assert enough(tree) is None


def test_not_before_a_minimum_of_answers_and_not_where_it_is_off() -> None:
    finals = ["x"] * 6
    assert enough(without_search(replace(RULES, min_answers=7), EVEN, finals=finals)) is None
    assert enough(without_search(replace(RULES, stop_at=None), EVEN, finals=finals)) is None
    assert enough(without_search(ROBUST, EVEN, finals=finals)) is None


def test_a_champion_that_beat_all_again_and_again_is_enough() -> None:
    beaten = without_search(RULES, [(None, 0.0, 0.0), *[(0, 1.0, 10.0)] * 3])
    assert enough(beaten) is None
    beaten.standing.judged(beaten.comparisons * 30)
    assert lead(beaten) > 0.95
    assert enough(beaten) == "champion"
    assert lead(without_search(RULES, EVEN[:4])) == pytest.approx(0.25, abs=0.1)


def test_the_votes_are_weighed_by_strength() -> None:
    weak = [(None, 0.0, 0.0), (0, 2.0, 9.0), (0, 2.0, 9.0), (0, 6.0, 6.0)]
    told = consensus(without_search(RULES, weak, finals=["x", "y", "y", "x"]))
    assert told > consensus(without_search(RULES, EVEN[:4], finals=["x", "y", "y", "x"])) + 0.1
