"""What measured usefulness adds."""

from __future__ import annotations

import pytest

from memory.ranking.measured import Draws
from memory.ranking.useful import additions


def test_an_effect_is_worth_the_spread_of_the_first_hits_and_doubt_one_gap() -> None:
    draws = Draws({"c": 0.1, "e": 9.0}, 0.1, {"d": -0.2})
    assert additions(["a", "b", "c", "d"], [1.0, 0.8, 0.6, 0.1], draws) == pytest.approx([0, 0, 0.9, -0.6])


def test_without_effects_or_spread_or_doubt_nothing_is_added() -> None:
    assert additions(["a", "b"], [1.0, 0.5], Draws({}, 0.1)) == [0, 0]
    assert additions(["a", "b"], [1.0, 1.0], Draws({"a": 1.0}, 0.1)) == [0, 0]
    assert additions(["a", "b"], [1.0, 0.5], Draws({"a": 1.0}, 0.0)) == [0, 0]
    assert additions([], [], Draws({}, 0.1)) == []
