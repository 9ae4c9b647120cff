"""The arithmetic of measured usefulness: draws, the unbiased number of one problem, its sums, doubt and tests. Pure.

Every function takes numbers or arrays of them, so that one memory and a whole vault go through the same formula. What is
kept of a memory are three whole numbers (`Sums`): adding is exact, so the order in which runs end, who adds first, and a
replay of the log do not change a bit of the result.

    psi = (shown - p) / (p (1 - p)) · (Y - centre)      unbiased for the effect of showing, whatever the centre is made of,
                                                        as long as it does not know the unit's own draw
    x   = mean of psi over the units of one problem     one number per problem

Source: design usefulness, "Design" and "Estimate". Ours: whole-number sums in place of a running mean and M2; a variance
that is not believed from two or three numbers; effects of several kinds joined by their precision.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
# Chance of being shown: of a few units each, and of units that are many.
P: Final = 0.9
P_MANY: Final = 0.8
MANY_UNITS: Final = 4
MAX_HELD_OUT: Final = 0.5
FREE: Final = 0.1
# A sum counts in steps of 1/65536; the squares of ten million problems have room in 64 bits.
SCALE: Final = 2**16
# What is thought of a vault before enough of it is measured: effects around nothing, give or take.
FIRST_SD: Final = 0.1
LEAST_SD: Final = 0.02
ENOUGH: Final = 30
# The variance of x that two more observations would have said; it fades with the observations there are.
TYPICAL_VARIANCE: Final = 1.0
TYPICAL_WEIGHT: Final = 2.0
Z95: Final = NormalDist().inv_cdf(0.975)
_NORMAL: Final = NormalDist()
_STEPS: Final = 2**53


@dataclass(frozen=True, slots=True)
class Sums:
    """What is kept of the numbers of a memory: how many, their sum in steps of 1/`SCALE`, and that of their squares."""

    n: int = 0
    total: int = 0
    squares: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @classmethod
    def of(cls, *numbers: float) -> Sums:
        """The sums of these numbers."""
        scaled = [steps(number) for number in numbers]
        return cls(len(scaled), sum(scaled), sum(number * number for number in scaled))

    @property
    def mean(self) -> float:
        """Of at least one number."""
        return self.total / (self.n * SCALE)

    @property
    def m2(self) -> float:
        """The sum of the squared distances from the mean, exact but for the last rounding."""
        return (self.squares * self.n - self.total * self.total) / (self.n * SCALE * SCALE)

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None for fewer than two numbers."""
        return math.sqrt(self.m2 / (self.n - 1) / self.n) if self.n > 1 else None

    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean; None for fewer than two numbers."""
        error = self.standard_error
        return None if error is None else (self.mean - Z95 * error, self.mean + Z95 * error)


@dataclass(frozen=True, slots=True)
class Prior:
    """What to think of a memory before it is measured: normal with this mean and sd, from `measured` memories."""

    mean: float = 0.0
    sd: float = FIRST_SD
    measured: int = 0


def chance(*parts: object) -> float:
    """A number in [0, 1) that these parts alone decide, spread evenly."""
    told = "\0".join(str(part) for part in parts)
    digest = hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / _STEPS


def shown(seed: int, unit: str, memory_id: str, p: float) -> bool:
    """Whether the unit is shown the memory: the same answer in any order and in every process."""
    return chance("show", seed, unit, memory_id) < p


def free_unit(seed: int, units: Sequence[str]) -> str | None:
    """The unit that gets no measured memory at all; in nine of ten runs, and with one unit, there is none."""
    if len(units) < 2 or chance("free", seed) >= FREE:
        return None
    return units[int(chance("which", seed) * len(units))]


def held_out_share(units: int, vault: float | None, asked: float | None) -> float:
    """In which share of units a memory is held out. The vault may say, and a run may ask for less; 0 switches it off."""
    usual = 1 - (P_MANY if units >= MANY_UNITS else P)
    share = usual if vault is None else vault
    return min(share if asked is None else min(share, asked), MAX_HELD_OUT)


def others_mean(outcomes: ArrayLike) -> Floats:
    """For each unit the mean outcome of the other units of its problem, which are along the last axis; two at least."""
    values = np.asarray(outcomes, np.float64)
    count = values.shape[-1]
    mean: Floats = (values.sum(axis=-1, keepdims=True) - values) / (count - 1)
    return mean


def psi(is_shown: ArrayLike, p: ArrayLike, centred: ArrayLike) -> Floats:
    """An unbiased number for the effect of showing the memory, from one unit; `centred` is the outcome less its centre."""
    chances = np.asarray(p, np.float64)
    number: Floats = (np.asarray(is_shown, np.float64) - chances) / (chances * (1 - chances)) * np.asarray(centred)
    return number


def steps(number: float) -> int:
    """A number in whole steps of 1/`SCALE`."""
    return round(number * SCALE)


def mean_and_square_error(n: ArrayLike, total: ArrayLike, squares: ArrayLike) -> tuple[Floats, Floats]:
    """The mean of each memory and its squared standard error, as ranking and tests believe them; n is 1 at least.

    The variance is that of the numbers with `TYPICAL_WEIGHT` typical ones, so that two equal numbers are no certainty.
    """
    count = np.asarray(n, np.float64)
    mean = np.asarray(total, np.float64) / (count * SCALE)
    m2 = np.maximum(np.asarray(squares, np.float64) / SCALE**2 - count * mean**2, 0.0)
    variance = (m2 + TYPICAL_WEIGHT * TYPICAL_VARIANCE) / (count - 1 + TYPICAL_WEIGHT)
    return mean, variance / count


def joined(means: ArrayLike, square_errors: ArrayLike, memories: ArrayLike) -> tuple[Floats, Floats]:
    """Mean and squared error of each memory from estimates of several kinds, each weighed by its precision.

    `memories` numbers the memory of each estimate, from 0 and without gaps.
    """
    place = np.asarray(memories, np.intp)
    precision = 1 / np.asarray(square_errors, np.float64)
    all_precision = np.bincount(place, precision)
    mean: Floats = np.bincount(place, precision * np.asarray(means)) / all_precision
    return mean, 1 / all_precision


def prior_of(means: ArrayLike, square_errors: ArrayLike) -> Prior:
    """The prior of a vault from its measured memories: by moments, once there are `ENOUGH` of them.

    The spread is what is left of the spread of the means when their own errors are taken away (DerSimonian and Laird).
    """
    values, errors = np.asarray(means, np.float64), np.asarray(square_errors, np.float64)
    count = len(values)
    if count < ENOUGH:
        return Prior(measured=count)
    weight = 1 / errors
    all_weight = weight.sum()
    middle = (weight * values).sum() / all_weight
    excess = (weight * (values - middle) ** 2).sum() - (count - 1)
    variance = max(excess / (all_weight - (weight**2).sum() / all_weight), LEAST_SD**2)
    weight = 1 / (errors + variance)
    return Prior(float((weight * values).sum() / weight.sum()), math.sqrt(variance), count)


def posterior(mean: ArrayLike, square_error: ArrayLike, prior: Prior) -> tuple[Floats, Floats]:
    """Mean and sd of the effect, given the estimate and the prior; both normal."""
    precision = 1 / np.asarray(square_error, np.float64)
    variance = 1 / (precision + prior.sd**-2)
    middle: Floats = variance * (precision * np.asarray(mean) + prior.mean * prior.sd**-2)
    return middle, np.sqrt(variance)


def normal_draw(seed: int, memory_id: str) -> float:
    """A standard normal number that the seed and the memory decide."""
    return _NORMAL.inv_cdf(chance("rank", seed, memory_id) or 0.5 / _STEPS)


def harm_p_values(mean: ArrayLike, square_error: ArrayLike) -> Floats:
    """For each memory how probable so low an estimate is when showing it does no harm (one-sided, normal)."""
    z = np.asarray(mean, np.float64) / np.sqrt(np.asarray(square_error, np.float64))
    return np.array([_NORMAL.cdf(value) for value in np.atleast_1d(z)])


def survivors(p_values: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Which of the hypotheses are rejected with a false discovery rate of `level` (Benjamini and Hochberg 1995)."""
    values = np.asarray(p_values, np.float64)
    count = len(values)
    ranked = np.sort(values)
    below = np.flatnonzero(ranked <= level * np.arange(1, count + 1) / max(count, 1))
    if not len(below):
        return np.zeros(count, np.bool_)
    found: NDArray[np.bool_] = values <= ranked[below[-1]]
    return found
