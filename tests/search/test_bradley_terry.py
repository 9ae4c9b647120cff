"""The posterior of the strengths: its mode, its curvature, and what must not change it."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.bradley_terry import Match, Posterior, fit, sigmoid, sigmoid_of

SIZE = 6
pairs = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).filter(lambda pair: pair[0] != pair[1])
matches = st.lists(
    st.builds(
        lambda pair, won, first: Match(pair[0], pair[1], won, first),
        pairs,
        st.floats(0, 1),
        st.sampled_from([-1, 0, 1]),
    ),
    max_size=25,
)


def fitted(told: list[Match], count: int = SIZE) -> Posterior:
    return fit(count, told, prior_sd=1.5, bias_sd=1.0)


def minus_log_density(x: NDArray[np.float64], told: list[Match]) -> float:
    """Written out from the definition: prior, and the fraction won of each comparison."""
    *strength, bias = (float(one) for one in x)
    loss = sum(s * s for s in strength) / (2 * 1.5**2) + bias * bias / 2
    for i, j, won, first in told:
        p = sigmoid_of(strength[i] - strength[j] + bias * first)
        loss -= won * log(p) + (1 - won) * log(1 - p)
    return loss


@settings(max_examples=40, deadline=None)
@given(matches)
def test_the_mean_is_the_mode_and_the_covariance_the_inverse_curvature(told: list[Match]) -> None:
    posterior = fitted(told)
    mode = np.append(posterior.mean, posterior.bias)
    step, size = 1e-3, SIZE + 1
    unit = np.eye(size) * step

    def at(x: NDArray[np.float64]) -> float:
        return minus_log_density(x, told)

    slope = [(at(mode + unit[k]) - at(mode - unit[k])) / (2 * step) for k in range(size)]
    assert slope == pytest.approx([0.0] * size, abs=1e-5)
    curvature = np.array(
        [
            [
                (
                    at(mode + unit[k] + unit[m])
                    - at(mode + unit[k] - unit[m])
                    - at(mode - unit[k] + unit[m])
                    + at(mode - unit[k] - unit[m])
                )
                / (4 * step * step)
                for m in range(size)
            ]
            for k in range(size)
        ]
    )
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(curvature)[:SIZE, :SIZE], atol=1e-4)


@given(matches)
def test_naming_the_other_answer_first_changes_nothing(told: list[Match]) -> None:
    turned = [Match(j, i, 1 - won, -first) for i, j, won, first in told]
    np.testing.assert_allclose(fitted(turned).mean, fitted(told).mean, atol=1e-7)


@given(matches)
def test_showing_every_pair_in_the_other_order_turns_the_bias_round_and_nothing_else(told: list[Match]) -> None:
    shown_otherwise = [match._replace(first=-match.first) for match in told]
    before, after = fitted(told), fitted(shown_otherwise)
    np.testing.assert_allclose(after.mean, before.mean, atol=1e-7)
    np.testing.assert_allclose(after.covariance, before.covariance, atol=1e-7)
    assert after.bias == pytest.approx(-before.bias, abs=1e-7)


@given(matches, st.permutations(range(SIZE)))
def test_names_do_not_matter(told: list[Match], names: list[int]) -> None:
    renamed = [match._replace(i=names[match.i], j=names[match.j]) for match in told]
    np.testing.assert_allclose(fitted(renamed).mean[names], fitted(told).mean, atol=1e-7)


def test_without_judgements_it_is_the_prior() -> None:
    posterior = fitted([], 3)
    assert posterior.mean.tolist() == [0, 0, 0]
    np.testing.assert_allclose(posterior.covariance, np.eye(3) * 1.5**2)
    assert posterior.win_rate().tolist() == [0.5, 0.5, 0.5]


def test_a_judge_that_always_takes_the_first_is_seen_through() -> None:
    """0 and 1 are shown first in turn and win by turns: nobody is stronger, the place is."""
    told = [Match(0, 1, 0.95, 1), Match(0, 1, 0.05, -1)] * 10
    posterior = fitted(told, 2)
    assert posterior.mean.tolist() == pytest.approx([0, 0], abs=1e-9)
    assert posterior.bias > 1.5
    # Two wins, both in the first place, are worth little against such a judge, and much against none that is known.
    lucky = [*told, Match(2, 0, 0.95, 1), Match(2, 1, 0.95, 1)]
    unknown = fit(3, lucky, prior_sd=1.5, bias_sd=0.0)
    assert fitted(lucky, 3).mean[2] < 0.6 * unknown.mean[2]


def test_evidence_narrows_the_posterior_and_decides_it() -> None:
    few, many = fitted([Match(0, 1, 0.9, 0)], 2), fitted([Match(0, 1, 0.9, 0)] * 30, 2)
    assert many.sd[0] < few.sd[0] < 1.5
    assert 0.5 < few.chance(0, 1) < many.chance(0, 1)
    assert many.chance(0, 1) == pytest.approx(1 - many.chance(1, 0))
    assert many.chance(0, 1) > 0.99
    assert few.win_rate()[0] > 0.5 > few.win_rate()[1]


def test_draws_have_the_moments_of_the_posterior() -> None:
    posterior = fitted([Match(0, 1, 0.9, 1), Match(1, 2, 0.7, -1)], 3)
    drawn = posterior.draws(200_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), posterior.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), posterior.covariance, atol=0.03)


def test_extreme_judgements_converge() -> None:
    told = [Match(i, j, 1.0, 1) for i in range(20) for j in range(i + 1, 20)]
    posterior = fit(20, told, prior_sd=10.0, bias_sd=5.0)
    assert np.all(np.diff(posterior.mean) < 0)


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert sigmoid_of(1.0) == pytest.approx(0.731059, abs=1e-6)
    assert sigmoid_of(-3.0) == pytest.approx(0.047426, abs=1e-6)
