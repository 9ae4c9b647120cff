"""What a vault learns about ranking from which hits were used. Pure.

A use is a hit that an agent cited or a person opened; the others of the same recall were passed over. The default score
gives the scale; then each part's weight is moved as far as the uses tell, held near its default by a ridge. So few uses
change little, and a part that never differed stays as it is. Weights are never below zero: no part speaks against a
memory. Source: ours; logistic regression with Newton's method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memory.ranking.fusion import WEIGHTS
from memory.ranking.parts import NAMES
from memory.types import Recall

# Below so many of each, chance would decide.
LEAST_USED: Final = 50
LEAST_PASSED_OVER: Final = 50
RIDGE: Final = 10.0
MOST: Final = 4.0
STEPS: Final = 50
STILL: Final = 1e-8
UNRELATED: Final = "the default score does not rise with use, so there is no scale to learn on"

Numbers = NDArray[np.float64]


class Sample(NamedTuple):
    """The parts of a hit as its recall gave them, and whether it was used."""

    parts: Mapping[str, float]
    used: bool


def observed(recall: Recall, used: Collection[str]) -> list[Sample]:
    """The hits of a recall, of which those with an id in `used` were used."""
    return [Sample(hit.scores, hit.memory.id in used) for hit in recall.hits]


def lacking(samples: Sequence[Sample]) -> str:
    """What is missing to learn from them; empty when they are enough."""
    used = sum(sample.used for sample in samples)
    passed_over = len(samples) - used
    if used >= LEAST_USED and passed_over >= LEAST_PASSED_OVER:
        return ""
    return (
        f"too little to learn from: {used} hits were used and {passed_over} passed over, expected at least "
        f"{LEAST_USED} and {LEAST_PASSED_OVER}"
    )


def fit(samples: Sequence[Sample]) -> dict[str, float] | None:
    """Weights for the parts; None when there is too little to learn from, or when the default score tells nothing about
    what is used, so that there is no scale to learn on."""
    if lacking(samples):
        return None
    used = np.array([sample.used for sample in samples], np.float64)
    defaults = np.array([WEIGHTS[name] for name in NAMES])
    told = np.array([[sample.parts.get(name, 0.0) for name in NAMES] for sample in samples]) * defaults
    total = told.sum(axis=1, keepdims=True)
    bias, scale = _newton(_with_one(total), used, np.zeros(2), np.zeros(2))
    if scale <= 0:
        return None
    start = np.array([bias, *np.ones(len(NAMES))])
    ridge = np.array([0.0, *np.full(len(NAMES), RIDGE)])
    factors = _newton(_with_one(scale * told), used, start, ridge)[1:]
    return {name: float(weight) for name, weight in zip(NAMES, defaults * np.clip(factors, 0.0, MOST), strict=True)}


def _with_one(values: Numbers) -> Numbers:
    return np.hstack([np.ones((len(values), 1)), values])


def _newton(features: Numbers, used: Numbers, start: Numbers, ridge: Numbers) -> Numbers:
    """The coefficients of most posterior probability, the prior being normal around `start` with precision `ridge`."""
    held = np.diag(ridge + STILL)
    found = start
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-np.clip(features @ found, -30, 30)))
        gradient = features.T @ (used - likely) - ridge * (found - start)
        curve = (features * (likely * (1 - likely))[:, None]).T @ features + held
        step = np.linalg.solve(curve, gradient)
        # A long step can overshoot where the curve is flat.
        found = found + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < STILL:
            break
    return found
