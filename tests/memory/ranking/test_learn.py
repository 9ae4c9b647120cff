"""Weights learned from what was used."""

from __future__ import annotations

import numpy as np
import pytest

from memory.ranking.fusion import WEIGHTS
from memory.ranking.learn import LEAST_PASSED_OVER, LEAST_USED, MOST, Sample, fit


def world(count: int, truth: dict[str, float], seed: int = 1) -> list[Sample]:
    """Hits whose use depends on their parts with the weights of `truth`."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        parts = {"lexical": rng.random(), "dense": rng.normal(), "speaker": float(rng.random() < 0.5)}
        score = 4 * sum(truth[name] * value for name, value in parts.items()) - 3
        made.append(Sample(parts, bool(rng.random() < 1 / (1 + np.exp(-score)))))
    return made


def test_a_part_that_decides_gains_and_one_that_tells_nothing_loses() -> None:
    learned = fit(world(3000, {"lexical": 1.0, "dense": 0.6, "speaker": 0.0}))
    assert learned is not None
    ratio = {name: learned[name] / WEIGHTS[name] for name in learned}
    assert ratio["dense"] > 1.3 > ratio["lexical"] > ratio["speaker"]
    assert ratio["speaker"] < 0.5
    assert {name: ratio[name] for name in ("date", "graph", "priority", "phrase")} == pytest.approx(
        {"date": 1, "graph": 1, "priority": 1, "phrase": 1}
    )


def test_what_was_learned_ranks_better_on_what_was_not_seen() -> None:
    truth = {"lexical": 0.3, "dense": 0.6, "speaker": 0.0}
    learned = fit(world(1000, truth))
    assert learned is not None
    unseen = world(2000, truth, seed=2)

    def quality(weights: dict[str, float]) -> float:
        scores = np.array([sum(weights[name] * value for name, value in s.parts.items()) for s in unseen])
        used = np.array([s.used for s in unseen])
        return float((scores[used][:, None] > scores[~used]).mean())

    assert quality(learned) > quality(dict(WEIGHTS)) + 0.02


def test_few_uses_change_little() -> None:
    learned = fit(world(160, dict(WEIGHTS)))
    assert learned is not None
    for name, weight in learned.items():
        assert weight == pytest.approx(WEIGHTS[name], rel=0.6)


def test_too_little_or_no_relation_teaches_nothing() -> None:
    assert fit([]) is None
    assert (
        fit([Sample({"lexical": 1.0}, used=True)] * LEAST_USED + [Sample({}, used=False)] * (LEAST_PASSED_OVER - 1))
        is None
    )
    backwards = [Sample({"lexical": float(n % 2)}, used=n % 2 == 0) for n in range(400)]
    assert fit(backwards) is None


def test_weights_stay_between_nothing_and_a_few_times_their_default() -> None:
    samples = [Sample({"lexical": 1.0, "speaker": float(n % 2)}, used=n % 2 == 1) for n in range(100_000)]
    learned = fit(samples)
    assert learned is not None
    for name, weight in learned.items():
        assert 0 <= weight <= MOST * WEIGHTS[name]
