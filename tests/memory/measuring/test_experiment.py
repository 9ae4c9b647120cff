"""The arithmetic: fair draws, an unbiased number, exact sums, shrinkage, and a test that holds its rate."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.measuring.experiment import (
    ENOUGH,
    FIRST_SD,
    LEAST_SD,
    SCALE,
    Prior,
    Sums,
    chance,
    free_unit,
    harm_p_values,
    held_out_share,
    joined,
    mean_and_square_error,
    normal_draw,
    others_mean,
    posterior,
    prior_of,
    psi,
    shown,
    survivors,
)

NUMBERS = st.lists(st.floats(-10, 10, allow_nan=False), min_size=1, max_size=40)


# -- draws -------------------------------------------------------------------------------------------------------------


def test_draws_come_out_as_often_as_they_should_and_apart_from_each_other() -> None:
    seen = np.array([[shown(seed, unit, "mem_a", 0.8) for unit in ("a", "b")] for seed in range(20_000)])
    assert seen.mean() == pytest.approx(0.8, abs=0.01)
    assert np.corrcoef(seen.T)[0, 1] == pytest.approx(0, abs=0.03)


def test_a_draw_depends_on_seed_unit_and_memory_and_on_nothing_else() -> None:
    keys = list(itertools.product(range(4), ("a", "b"), ("mem_1", "mem_2", "mem_3")))
    first = {key: chance("show", *key) for key in keys}
    random.Random(1).shuffle(keys)
    assert {key: chance("show", *key) for key in keys} == first
    assert len(set(first.values())) == len(keys)


def test_one_run_in_ten_keeps_a_unit_free_and_each_unit_alike() -> None:
    units = ["a", "b", "c", "d"]
    chosen = [free_unit(seed, units) for seed in range(20_000)]
    assert sum(unit is not None for unit in chosen) / 20_000 == pytest.approx(0.1, abs=0.01)
    assert {unit: chosen.count(unit) for unit in units} == pytest.approx(dict.fromkeys(units, 500), rel=0.15)


def test_a_single_unit_is_never_free() -> None:
    assert not any(free_unit(seed, ["a"]) for seed in range(200))


@pytest.mark.parametrize(
    ("units", "vault", "asked", "share"),
    [
        (1, None, None, 0.1),
        (3, None, None, 0.1),
        (4, None, None, 0.2),
        (4, 0.0, None, 0.0),
        (4, 0.0, 0.3, 0.0),
        (4, None, 0.0, 0.0),
        (4, 0.3, None, 0.3),
        (4, 0.3, 0.05, 0.05),
        (1, None, 0.4, 0.1),
        (1, 0.9, None, 0.5),
    ],
)
def test_a_run_may_ask_for_less_and_either_can_switch_it_off(
    units: int, vault: float | None, asked: float | None, share: float
) -> None:
    assert held_out_share(units, vault, asked) == pytest.approx(share)


def test_ranking_draws_are_normal_and_the_same_again() -> None:
    drawn = np.array([normal_draw(seed, "mem_a") for seed in range(20_000)])
    assert (drawn.mean(), drawn.std()) == pytest.approx((0, 1), abs=0.03)
    assert normal_draw(7, "mem_a") == drawn[7]


# -- the number of a problem -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("effect", [-0.2, 0.0, 0.3])
@pytest.mark.parametrize("centre", [0.0, 0.5, 0.9])
def test_psi_is_exactly_unbiased_whatever_the_centre_is(p: float, effect: float, centre: float) -> None:
    held_out, with_it = psi([False, True], p, [0.4 - centre, 0.4 + effect - centre])
    assert (1 - p) * held_out + p * with_it == pytest.approx(effect)


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_centring_with_the_other_units_is_unbiased_over_every_draw(p: float) -> None:
    """Three units, one memory with effect .3 on a base of .2: all eight ways to draw, weighed by how probable they are."""
    expected = 0.0
    for draws in itertools.product((False, True), repeat=3):
        outcomes = np.array([0.2 + 0.3 * is_shown for is_shown in draws])
        weight = math.prod(p if is_shown else 1 - p for is_shown in draws)
        expected += weight * psi(draws, p, outcomes - others_mean(outcomes)).mean()
    assert expected == pytest.approx(0.3)


def test_the_others_are_all_but_the_unit_itself() -> None:
    assert others_mean([1.0, 0.0, 0.5]).tolist() == [0.25, 0.75, 0.5]
    assert others_mean([[1.0, 0.0], [0.0, 0.0]]).tolist() == [[0.0, 1.0], [0.0, 0.0]]


# -- sums --------------------------------------------------------------------------------------------------------------


@given(NUMBERS, st.randoms())
def test_sums_are_the_same_in_any_order_and_in_any_parts(numbers: list[float], rng: random.Random) -> None:
    whole = Sums.of(*numbers)
    rng.shuffle(numbers)
    cut = rng.randrange(len(numbers) + 1)
    assert Sums.of(*numbers[:cut]) + Sums.of(*numbers[cut:]) == whole


@given(NUMBERS)
def test_sums_tell_mean_and_standard_error_to_within_their_step(numbers: list[float]) -> None:
    sums = Sums.of(*numbers)
    assert sums.mean == pytest.approx(np.mean(numbers), abs=1 / SCALE)
    if len(numbers) > 1:
        assert sums.standard_error == pytest.approx(np.std(numbers, ddof=1) / math.sqrt(len(numbers)), abs=2 / SCALE)
        interval = sums.interval()
        assert interval is not None
        assert sum(interval) / 2 == pytest.approx(sums.mean)
    else:
        assert sums.interval() is None


def test_many_equal_numbers_far_from_zero_leave_no_rounding_behind() -> None:
    assert Sums.of(*[9.1] * 100_000).m2 == 0


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_the_squares_of_ten_million_problems_fit_into_64_bits(p: float) -> None:
    mean_square = p * Sums.of(1 / p).squares + (1 - p) * Sums.of(1 / (1 - p)).squares
    assert 10_000_000 * mean_square < 2**63


# -- what to think of it -----------------------------------------------------------------------------------------------


def test_two_equal_numbers_are_no_certainty() -> None:
    sums = Sums.of(0.5, 0.5)
    assert sums.standard_error == 0
    mean, error = mean_and_square_error([sums.n], [sums.total], [sums.squares])
    assert mean[0] == pytest.approx(0.5)
    assert math.sqrt(error[0]) > 0.5


def test_with_many_numbers_the_believed_error_is_the_plain_one() -> None:
    numbers = np.random.default_rng(0).normal(0.1, 0.7, 400)
    sums = Sums.of(*numbers)
    _, error = mean_and_square_error(sums.n, sums.total, sums.squares)
    assert math.sqrt(error) == pytest.approx(sums.standard_error or 0, rel=0.02)


def test_a_posterior_lies_between_estimate_and_prior_and_is_surer_than_both() -> None:
    mean, sd = posterior([0.3], [0.01], Prior(0.0, 0.1))
    assert mean[0] == pytest.approx(0.15)
    assert sd[0] == pytest.approx(math.sqrt(0.005))


def test_estimates_of_two_kinds_are_weighed_by_their_precision() -> None:
    mean, error = joined([0.4, 0.1, 0.2], [0.01, 0.04, 0.09], [0, 0, 1])
    assert mean.tolist() == pytest.approx([(0.4 * 100 + 0.1 * 25) / 125, 0.2])
    assert error.tolist() == pytest.approx([1 / 125, 0.09])


def test_a_vault_with_few_measured_memories_has_the_first_prior() -> None:
    found = prior_of([0.5] * (ENOUGH - 1), [0.001] * (ENOUGH - 1))
    assert found == Prior(0.0, FIRST_SD, ENOUGH - 1)


def test_with_enough_the_prior_is_what_the_memories_are_like() -> None:
    rng = np.random.default_rng(3)
    errors = rng.uniform(0.002, 0.02, 4000)
    means = rng.normal(0.05, 0.12, 4000) + rng.normal(0, np.sqrt(errors))
    found = prior_of(means, errors)
    assert (found.mean, found.sd) == pytest.approx((0.05, 0.12), abs=0.008)


def test_memories_that_differ_by_chance_alone_leave_the_least_spread() -> None:
    errors = np.full(60, 0.01)
    assert prior_of(np.random.default_rng(1).normal(0, 0.05, 60), errors).sd == LEAST_SD


# -- what is given up --------------------------------------------------------------------------------------------------


def test_the_p_value_is_small_for_what_is_surely_below_zero() -> None:
    found = harm_p_values([-0.2, 0.0, 0.2], [0.01, 0.01, 0.01])
    assert found.tolist() == pytest.approx([0.02275, 0.5, 0.97725], abs=1e-4)


def test_benjamini_and_hochberg_as_in_their_paper() -> None:
    # The example of Benjamini and Hochberg 1995, §4.1: four rejections at .05.
    values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240),
        *(0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    assert survivors(values, 0.05).tolist() == [True] * 4 + [False] * 11
    assert survivors(values[::-1], 0.05).tolist() == [False] * 11 + [True] * 4
    assert not survivors([0.2, 0.9], 0.05).any()
    assert survivors([], 0.05).tolist() == []


def test_where_nothing_does_harm_the_test_seldom_says_so() -> None:
    rng = np.random.default_rng(5)
    wrong = [survivors(harm_p_values(rng.normal(0, 0.1, 100), np.full(100, 0.01)), 0.05).any() for _ in range(400)]
    assert np.mean(wrong) < 0.09
