"""The statistics of a report: intervals, paired tests, and estimates over several attempts at one problem.

Pure; what it draws comes from a seed. The unit is always the problem: several attempts at one become one number before
anything is resampled, because attempts at one problem are not independent of each other. Source: evaluation sheet §3.1,
§3.2, §3.6; Wilson 1927; McNemar 1947; Chen et al. 2021 (pass@k).
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

# The 97.5 % point of the normal distribution: all intervals are two-sided 95 % ones.
Z: Final = 1.959963984540054
RESAMPLES: Final = 10_000
SUBSETS: Final = 100
BATCH: Final = 500
LEAST_DIFFERING: Final = 6


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of `a - b` over `n` problems that both have, its interval, and on how many of them the two differ.

    A percentile bootstrap knows only the differences that it was given: of one problem, or of a few equal ones, its interval
    has no width. So a difference counts as shown when the interval lies on one side of zero and `differing` is at least
    `LEAST_DIFFERING`: of fewer, even all on one side would be no surprise at 5 % (two-sided sign test). Ours.
    """

    mean: float
    low: float
    high: float
    n: int
    differing: int

    @property
    def shows_gain(self) -> bool:
        """Whether `a` is shown to be better."""
        return self.low > 0 and self.differing >= LEAST_DIFFERING

    @property
    def shows_loss(self) -> bool:
        """Whether `a` is shown to be worse."""
        return self.high < 0 and self.differing >= LEAST_DIFFERING


@dataclass(frozen=True, slots=True)
class McNemar:
    """Problems that only the first, and only the second system solved, and the exact two-sided p-value."""

    only_a: int
    only_b: int
    p: float


class Spread(NamedTuple):
    """Mean and sample standard deviation; the latter is None for fewer than two numbers."""

    mean: float
    sd: float | None


class Vote(NamedTuple):
    """One attempt as a vote: its answer, None when it has none, and how good it is."""

    answer: str | None
    value: float


def wilson(successes: float, n: int) -> Interval:
    """The Wilson interval of a proportion. `successes` may be a sum of means, one for each of the `n` problems: then it is
    at least as wide as it has to be. Raises `ValueError` for no problem, or for more successes than problems."""
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson({successes}, {n}): expected 0 <= successes <= n and n >= 1")
    share = successes / n
    scale = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # At the ends the formula gives the bound itself, up to rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """The mean difference of two systems on the same problems, in the same order, with a percentile interval over
    `resamples` draws of problems. Raises `ValueError` for none, or for different numbers of them."""
    if not a or len(a) != len(b):
        raise ValueError(f"paired_bootstrap: {len(a)} and {len(b)} problems; expected the same problems, at least one")
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, BATCH):
        count = min(BATCH, resamples - start)
        drawn = rng.integers(0, len(differences), (count, len(differences)))
        means[start : start + count] = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    differing = int(np.count_nonzero(differences))
    return Difference(float(differences.mean()), float(low), float(high), len(differences), differing)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """The exact test on one run of each system over the same problems. Raises `ValueError` for different numbers."""
    if len(a) != len(b):
        raise ValueError(f"mcnemar: {len(a)} and {len(b)} problems; expected the same ones")
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    total, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(total, i) for i in range(fewer + 1))
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**total))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that one of `k` attempts is right, when `correct` of `n` were: `1 - C(n-c, k) / C(n, k)`, unbiased. Over
    test inputs it is oracle@k. Raises `ValueError` for `k` above `n`."""
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass_at_k({n}, {correct}, {k}): expected 1 <= k <= n and 0 <= correct <= n")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def majority(votes: Sequence[Vote]) -> Vote:
    """The most frequent answer; attempts without one do not vote, a tie goes to the answer seen first. Without any vote: no
    answer, and worth nothing."""
    counts = Counter(vote.answer for vote in votes if vote.answer is not None)
    if not counts:
        return Vote(None, 0.0)
    most = max(counts.values())
    return next(vote for vote in votes if vote.answer is not None and counts[vote.answer] == most)


def majority_at_k(votes: Sequence[Vote], k: int, *, seed: int = 0, subsets: int = SUBSETS) -> float:
    """How good the majority of `k` attempts is: over all subsets of `k`, or over `subsets` random ones where there are more.
    Raises `ValueError` for `k` above the number of attempts."""
    if not 1 <= k <= len(votes):
        raise ValueError(f"majority_at_k: k is {k}; expected 1 to {len(votes)}")
    if math.comb(len(votes), k) <= subsets:
        drawn = list(itertools.combinations(votes, k))
    else:
        rng = random.Random(seed)
        # In the order in which they were made, so that "seen first" means the same in every subset.
        places = [sorted(rng.sample(range(len(votes)), k)) for _ in range(subsets)]
        drawn = [tuple(votes[place] for place in chosen) for chosen in places]
    return sum(majority(chosen).value for chosen in drawn) / len(drawn)


def any_guess(chance: float, k: int) -> float:
    """The chance that one of `k` blind guesses is right: what a checker alone would reach."""
    return 1.0 - (1.0 - chance) ** k


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation. Raises `ValueError` for no value."""
    if not values:
        raise ValueError("spread: expected at least one value")
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Spread(mean, None)
    return Spread(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))
