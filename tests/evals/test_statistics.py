"""The figures of the evaluation sheet §6.3, and what must hold of any data."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics import (
    Vote,
    any_guess,
    majority,
    majority_at_k,
    mcnemar,
    paired_bootstrap,
    pass_at_k,
    spread,
    wilson,
)

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def votes(*answers: str | None, right: str = "5") -> list[Vote]:
    return [Vote(answer, float(answer == right)) for answer in answers]


# -- Wilson -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(0, 30, 0.0, 0.114), (15, 30, 0.332, 0.668), (30, 30, 0.886, 1.0)]
)
def test_wilson_is_that_of_the_sheet(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(("n", "points"), [(30, 17), (100, 10), (400, 5), (1500, 2.5)])
def test_the_half_width_near_one_half_is_that_of_the_sheet(n: int, points: float) -> None:
    assert 100 * wilson(n / 2, n).half_width == pytest.approx(points, abs=0.5)


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_within_0_and_1(n: int, share: float) -> None:
    low, high = wilson(share * n, n)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 5)])
def test_wilson_of_what_cannot_be_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        wilson(successes, n)


# -- paired tests -----------------------------------------------------------------------------------------------------


@given(SCORES)
@settings(max_examples=20, deadline=None)
def test_identical_systems_do_not_differ(scores: list[float]) -> None:
    found = paired_bootstrap(scores, scores)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.shows_gain
    assert not found.shows_loss


def test_the_bootstrap_is_the_same_every_time_and_turns_its_sign_with_the_systems() -> None:
    a, b = [1.0, 0.0, 1.0, 1.0, 0.5, 1.0] * 5, [0.0, 0.0, 1.0, 0.0, 0.5, 1.0] * 5
    found = paired_bootstrap(a, b)
    assert found == paired_bootstrap(a, b)
    assert found.mean == pytest.approx(1 / 3)
    assert 0 < found.low < found.mean < found.high
    turned = paired_bootstrap(b, a)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert found.shows_gain
    assert turned.shows_loss


def test_its_interval_is_about_that_of_the_normal_distribution() -> None:
    differences = [1.0] * 30 + [-1.0] * 10 + [0.0] * 60
    found = paired_bootstrap(differences, [0.0] * 100)
    deviation = math.sqrt(sum((d - found.mean) ** 2 for d in differences) / 100 / 100)
    assert found.high - found.mean == pytest.approx(1.96 * deviation, rel=0.1)


@pytest.mark.parametrize(("differing", "shown"), [(1, False), (5, False), (6, True)])
def test_a_few_equal_differences_show_nothing_although_their_interval_has_no_width(differing: int, shown: bool) -> None:
    found = paired_bootstrap([1.0] * differing, [0.0] * differing)
    assert (found.low, found.high, found.differing) == (1, 1, differing)
    assert found.shows_gain is shown


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 0.0])])
def test_unpaired_problems_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="same problems"):
        paired_bootstrap(a, b)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    a = [True] * 6 + [False] * 1 + [True] * 5
    b = [False] * 6 + [True] * 1 + [True] * 5
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (6, 1)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(b, a).p == found.p


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_s_p_is_a_probability_and_1_where_nothing_differs(pairs: list[tuple[bool, bool]]) -> None:
    found = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    assert 0 < found.p <= 1
    if all(a == b for a, b in pairs):
        assert found.p == 1


# -- several attempts -------------------------------------------------------------------------------------------------


def test_oracle_at_2_of_3_attempts_with_one_right_is_two_thirds() -> None:
    assert pass_at_k(3, 1, 2) == pytest.approx(2 / 3)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    subsets = list(combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_more_than_was_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="k <= n"):
        pass_at_k(3, 1, 4)
    with pytest.raises(ValueError, match="1 to 2"):
        majority_at_k(votes("5", "7"), 3)


def test_a_missing_answer_does_not_vote() -> None:
    assert majority(votes("5", "5", "7", None)).answer == "5"
    assert majority(votes(None, None, "7")).answer == "7"
    assert majority(votes(None, None)) == (None, 0.0)


def test_a_tie_goes_to_the_answer_that_was_seen_first() -> None:
    assert majority(votes("7", "5", "5", "7")).answer == "7"


def test_majority_at_k_is_the_mean_over_the_subsets() -> None:
    # Of the three pairs only ("5", "5") has a majority; in the others the first one counts.
    assert majority_at_k(votes("7", "5", "5"), 2) == pytest.approx(1 / 3)
    assert majority_at_k(votes("7", "5", "5"), 3) == 1
    assert majority_at_k(votes("7", "5", "5"), 1) == pytest.approx(2 / 3)


def test_majority_over_many_subsets_is_estimated_the_same_every_time() -> None:
    many = votes(*["5", "7", "7"] * 10)
    estimate = majority_at_k(many, 5, seed=3)
    assert estimate == majority_at_k(many, 5, seed=3)
    # Two or fewer of "5" among five drawn from 10 and 20, where the first seen cannot tie: hypergeometric.
    lost = sum(math.comb(10, i) * math.comb(20, 5 - i) for i in range(3)) / math.comb(30, 5)
    assert estimate == pytest.approx(1 - lost, abs=0.15)


def test_eight_blind_guesses_at_a_one_digit_sum_reach_38_percent() -> None:
    assert any_guess(1 / 17, 8) == pytest.approx(0.384, abs=5e-4)


def test_the_spread_is_mean_and_sample_deviation() -> None:
    assert spread([0.2, 0.4, 0.6]) == pytest.approx((0.4, 0.2))
    assert spread([0.5]) == (0.5, None)
    with pytest.raises(ValueError, match="at least one"):
        spread([])
