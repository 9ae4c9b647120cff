"""Strengths behind noisy judgements: a Bradley–Terry model with a Gaussian prior, its mode and the curvature there.

Each answer has a strength; `i` beats `j` with probability sigmoid(s_i − s_j + b·f), where f is +1 when `i` was shown
first, −1 when `j` was, 0 when both orders were averaged, and b is the judge's pull towards the first place, learned
along. A judgement counts as a fraction of a win, sigmoid of the score margin (Q_local), so a narrow one says little and
a tie says "equal". The mode is found by Newton's method; the posterior is the normal distribution with the mode as mean
and the inverse curvature as covariance (Laplace). Source: Bradley & Terry 1952; empirical_mcts §3.5 for the fraction;
prior and bias ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt, tanh
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOLERANCE: Final = 1e-10
MAX_STEPS: Final = 100
SLACK: Final = 1e-12


class Match(NamedTuple):
    """Answer `i` took the fraction `won` of a win from answer `j`; `first` is f of the model: +1, −1 or 0."""

    i: int
    j: int
    won: float
    first: int = 0


@dataclass(frozen=True, slots=True)
class Posterior:
    """Strengths in log-odds: `mean` (n), `covariance` (n, n); `bias` is the mean pull of the first place."""

    mean: Floats
    covariance: Floats
    bias: float

    @property
    def sd(self) -> Floats:
        """Standard deviation of each strength."""
        return np.sqrt(np.diag(self.covariance))

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """`count` draws of all strengths together, (count, n)."""
        root = np.linalg.cholesky(self.covariance)
        return np.asarray(self.mean + rng.standard_normal((count, len(self.mean))) @ root.T)

    def chance(self, i: int, j: int) -> float:
        """The probability that `i` is stronger than `j`."""
        spread = self.covariance
        variance = spread[i, i] + spread[j, j] - 2.0 * spread[i, j]
        return 0.5 * (1.0 + erf((self.mean[i] - self.mean[j]) / sqrt(2.0 * variance)))

    def win_rate(self) -> Floats:
        """The probability that each beats an answer of average strength, its uncertainty taken into account."""
        return sigmoid(self.mean / np.sqrt(1.0 + np.pi * np.diag(self.covariance) / 8.0))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(−x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def sigmoid_of(x: float) -> float:
    """The same of one number."""
    return 0.5 * (1.0 + tanh(0.5 * x))


def fit(count: int, matches: Sequence[Match], *, prior_sd: float, bias_sd: float) -> Posterior:
    """The posterior of `count` strengths, prior N(0, prior_sd²) each and N(0, bias_sd²) for the bias; `bias_sd` 0: no
    bias.

    It depends on nothing but the arguments, so a search that was read from JSON draws what the one that wrote it would.
    """
    size = count + 1
    i, j, first = (np.array([match[k] for match in matches], np.int64) for k in (0, 1, 3))
    won = np.array([match.won for match in matches])
    prior = np.full(size, prior_sd**-2.0)
    if bias_sd > 0:
        prior[count] = bias_sd**-2.0
    else:
        first = np.zeros_like(first)
    x = np.zeros(size)

    def logits(at: Floats) -> Floats:
        return np.asarray(at[i] - at[j] + at[count] * first)

    def loss(at: Floats) -> float:
        z = logits(at)
        return float(np.sum(np.logaddexp(0.0, z) - won * z) + 0.5 * np.sum(prior * at * at))

    def curvature(at: Floats) -> Floats:
        p = sigmoid(logits(at))
        weight = p * (1.0 - p)
        out = np.diag(prior)
        for row, row_sign in ((i, 1), (j, -1), (np.full_like(i, count), first)):
            for column, column_sign in ((i, 1), (j, -1), (np.full_like(i, count), first)):
                np.add.at(out, (row, column), weight * row_sign * column_sign)
        return out

    now = loss(x)
    for _ in range(MAX_STEPS):
        pull = sigmoid(logits(x)) - won
        slope = prior * x + np.bincount(i, pull, size) - np.bincount(j, pull, size)
        slope[count] += np.sum(pull * first)
        step = np.linalg.solve(curvature(x), slope)
        # The loss is strictly convex, so a shorter step in this direction always helps unless the mode is reached.
        while (then := loss(x - step)) > now + SLACK:
            step = step * 0.5
        x, now = x - step, then
        if np.max(np.abs(step)) < TOLERANCE:
            break
    covariance = np.linalg.inv(curvature(x))
    return Posterior(x[:count], 0.5 * (covariance + covariance.T)[:count, :count], float(x[count]))
