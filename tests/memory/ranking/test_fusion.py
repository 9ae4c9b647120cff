"""Weights, and the fusion by ranks that is the control."""

from __future__ import annotations

import pytest

from memory.ranking.candidates import Candidate
from memory.ranking.fusion import COUNTED, WEIGHTS, fused, reciprocal_rank, weights_of
from memory.ranking.parts import NAMES, parts
from memory.ranking.question import understood


def test_first_and_third_wins_narrowly_over_twice_second() -> None:
    """memos §7.2"""
    one, other = reciprocal_rank([1, 3]), reciprocal_rank([2, 2])
    assert (round(one, 5), round(other, 5)) == (0.03227, 0.03226)
    assert one > other


def test_every_part_has_a_weight_and_a_mode_leaves_some_out() -> None:
    assert set(WEIGHTS) == set(NAMES)
    assert weights_of(None, "hybrid") == WEIGHTS
    assert set(weights_of(None, "lexical")) == set(NAMES) - {"dense", "graph"}
    assert set(weights_of(None, "dense")) == set(NAMES) - {"lexical", "phrase", "graph"}
    assert all(parts <= set(NAMES) for parts in COUNTED.values())


def test_what_a_vault_has_learned_takes_the_place_of_the_defaults() -> None:
    weights = weights_of({"dense": 0.7, "unknown": 3.0}, "hybrid")
    assert weights == {**WEIGHTS, "dense": 0.7}


def test_the_score_is_the_weighed_sum() -> None:
    made = parts(understood("heron", ()), [Candidate("a", 1, "heron"), Candidate("b", 2, "reed", priority=2)], None, {})
    assert fused(made, {"lexical": 2.0, "priority": 0.5}).tolist() == pytest.approx([2 * made.of["lexical"][0], 0.5])
