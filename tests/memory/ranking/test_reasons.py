"""Reasons in words."""

from __future__ import annotations

import numpy as np
import pytest

from memory.ranking.candidates import Candidate
from memory.ranking.question import understood
from memory.ranking.ranking import rank
from memory.ranking.reasons import ordinal


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (113, "113th")],
)
def test_ordinals(number: int, said: str) -> None:
    assert ordinal(number) == said


def test_the_order_is_of_what_an_index_speaks_for() -> None:
    candidates = [
        Candidate("a", 1, "stone", place=("v", "s", 0)),
        Candidate("b", 2, "heron", place=("v", "t", 1)),
        Candidate("c", 3, "stone", place=("v", "t", 2)),
        Candidate("d", 4, "lake"),
    ]
    ranked = rank(understood("heron", ()), candidates, np.array([0.1, 0.2, 0.1, 0.9], np.float32), {}, "hybrid")
    assert ranked.order(frozenset(), "hybrid") == [1, 2]
    assert sorted(ranked.order(frozenset({"d"}), "hybrid")) == [1, 2, 3]
    assert ranked.order(frozenset({"d"}), "dense") == [3]
    assert ranked.order(frozenset({"d"}), "graph") == []
    assert ranked.ranks["dense"].tolist()[3] == 1
    assert ranked.ranks["lexical"].tolist() == [0, 1, 2, 0]


def test_equal_scores_are_ordered_newest_first() -> None:
    candidates = [Candidate("a", 7, "heron"), Candidate("b", 9, "heron"), Candidate("c", 8, "heron")]
    ranked = rank(understood("heron", ()), candidates, None, {}, "lexical")
    assert [candidates[row].seq for row in ranked.order(frozenset(), "lexical")] == [9, 8, 7]
