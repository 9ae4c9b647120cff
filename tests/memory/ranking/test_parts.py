"""The parts of a score are of one question only: scaled by it, and not by corpus or encoder."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.ranking.candidates import Candidate
from memory.ranking.parts import NAMES, parts, standardised
from memory.ranking.question import understood


def texts(*said: str) -> list[Candidate]:
    return [Candidate(f"m{n}", n, text) for n, text in enumerate(said)]


def test_every_word_once_covers_the_question_whole() -> None:
    made = parts(understood("heron reed", ()), texts("heron reed", "heron lake", "stone lake"), None, {})
    covered = made.of["lexical"]
    assert covered[0] == pytest.approx(1.0)
    assert 0 < covered[1] < 0.5  # the rarer word counts more
    assert covered[2] == 0
    assert made.has.tolist() == [[True, True], [True, False], [False, False]]


def test_what_names_a_memory_is_matched_like_its_text() -> None:
    named = [Candidate("a", 1, "It has three rooms", names="Siza\nhouse"), Candidate("b", 2, "It has three rooms")]
    covered = parts(understood("Siza's house", ()), named, None, {}).of["lexical"]
    assert covered[0] > 0.9
    assert covered[1] == 0


def test_neighbours_cover_the_rest_and_are_told() -> None:
    said = [
        Candidate("a", 1, "What is your favourite opera?", place=("v", "s", 0)),
        Candidate("b", 2, "Tosca", place=("v", "s", 1)),
        Candidate("c", 3, "Tosca", place=("v", "t", 1)),
    ]
    made = parts(understood("favourite opera", ()), said, None, {})
    assert made.of["lexical"][1] > 0
    assert made.nearby.tolist() == [False, True, False]
    assert made.of["lexical"][2] == 0


def test_cosines_count_by_their_place_among_those_of_the_question() -> None:
    cosines = np.array([0.9, 0.8, 0.7, np.nan], np.float32)
    wide = parts(understood("x", ()), texts("a", "b", "c", "d"), cosines, {}).of["dense"]
    narrow = parts(understood("x", ()), texts("a", "b", "c", "d"), np.float32(0.1) * cosines, {}).of["dense"]
    assert wide == pytest.approx(narrow, abs=1e-4)
    assert wide[0] > wide[1] > wide[2]
    assert wide[3] == pytest.approx(wide[1], abs=1e-6)  # unknown is the middle


def test_who_is_the_share_of_a_name_and_texts_that_nobody_speaks_may_mention_it() -> None:
    candidates = [
        Candidate("a", 1, "x", speaker="Ann Lee"),
        Candidate("b", 2, "x", speaker="Ann"),
        Candidate("c", 3, "I like Ann", speaker="Bob"),
        Candidate("d", 4, "Ann lives in Porto"),
        Candidate("e", 5, "Bob lives in Rome"),
    ]
    asked = understood("Where does Ann live?", {"Ann", "Ann Lee", "Bob"})
    assert parts(asked, candidates, None, {}).of["speaker"].tolist() == [0.5, 1, 0, 1, 0]


def test_when_and_graph_and_priority_lie_between_nothing_and_one() -> None:
    candidates = [
        Candidate("a", 1, "x", happened=datetime(2023, 5, 8, tzinfo=UTC), priority=2),
        Candidate("b", 2, "x", happened=datetime(2023, 6, 8, tzinfo=UTC), priority=-1),
        Candidate("c", 3, "x"),
    ]
    made = parts(understood("in May 2023", ()), candidates, None, {1: 0.2, 3: 0.4}).of
    assert made["date"].tolist() == [1, 0, 0]
    assert made["graph"].tolist() == [0.5, 0, 1]
    assert made["priority"].tolist() == [1, -0.5, 0]


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=5))
def test_any_texts_have_finite_parts(question: str, said: list[str]) -> None:
    made = parts(understood(question, {"Ann"}), texts(*said), np.zeros(len(said), np.float32), {})
    assert set(made.of) == set(NAMES)
    for values in made.of.values():
        assert values.shape == (len(said),)
        assert np.isfinite(values).all()


def test_values_that_do_not_differ_are_standardised_to_nothing() -> None:
    assert standardised(np.array([0.3, 0.3, np.nan], np.float32)).tolist() == [0, 0, 0]
    assert standardised(np.zeros(0, np.float32)).tolist() == []
