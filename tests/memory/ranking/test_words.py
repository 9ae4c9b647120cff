"""What a question asks for and how often texts say it: one word whatever its form, in every script."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.indices import words as indexed
from memory.ranking import words


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("go", "She went home"),
        ("painted", "I am painting"),
        ("cities", "a city"),
        ("children", "my child"),
        ("authentication", "authenticate"),
        ("sleep", "I slept"),
        ("live", "She lives there"),
        ("going", "I go"),
        ("goes", "I am going"),
        ("Café", "the CAFE"),
        ("naïve", "naive — and more"),
    ],
)
def test_a_word_is_found_in_its_other_forms(asked: str, said: str) -> None:
    assert words.occurrences([said, "nothing"], words.terms(asked)).counts.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(("asked", "said"), [("may", "maybe"), ("ant", "antler"), ("port", "airport"), ("10", "100")])
def test_a_word_is_not_found_in_a_longer_one(asked: str, said: str) -> None:
    assert not words.occurrences([said], words.terms(asked)).counts.any()


def test_every_occurrence_counts_and_texts_have_lengths() -> None:
    found = words.occurrences(["heron, heron; Herons!", "", "the_heron-2"], words.terms("a heron"))
    assert found.counts.tolist() == [[3.0], [0.0], [1.0]]
    assert found.lengths.tolist() == [3.0, 0.0, 3.0]


def test_text_without_spaces_is_asked_for_in_pairs() -> None:
    asked = words.terms("東京タワー")
    assert asked[0] == "東 京"
    counts = words.occurrences(["昨日は東京にいた", "京都"], asked).counts
    assert counts[0, 0] == 1
    assert not counts[1].any()


def test_neighbours_of_the_question_count_as_a_phrase_where_they_stand_together() -> None:
    asked = words.terms("finite difference weights")
    texts = [
        "the finite difference",
        "a difference that is finite",
        "weights of a finite difference",
        "finite x y difference",
    ]
    assert words.occurrences(texts, asked).phrases.tolist() == [[1, 0], [0, 0], [1, 0], [0, 0]]


def test_a_phrase_does_not_reach_from_one_text_into_the_next() -> None:
    assert not words.occurrences(["so finite", "difference"], words.terms("finite difference")).phrases.any()


def test_irregular_forms_are_added_for_an_index_that_only_takes_endings_off() -> None:
    assert words.expanded("did she go?") == "did she go? went gone goes"
    assert words.expanded("the heron") == "the heron"


def test_telling_words_leave_stop_words_out_unless_there_is_nothing_else() -> None:
    assert words.telling("The heron is here") == {b"heron"} | {b"here"} - words.STOPS
    assert words.telling("to be or not to be") == {b"to", b"be", b"or", b"not"}


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_and_question_can_be_compared(text: str, question: str) -> None:
    asked = words.terms(question)
    found = words.occurrences([text, text], asked)
    assert found.counts.shape == (2, len(asked))
    assert np.array_equal(found.counts[0], found.counts[1])
    assert found.lengths[0] == len(indexed.prepared(text).split())


@given(st.lists(st.sampled_from(["heron", "Reed", "lake", "12"]), min_size=1, max_size=8))
def test_a_text_says_every_word_of_itself(said: list[str]) -> None:
    text = " ".join(said)
    assert (words.occurrences([text], words.terms(text)).counts > 0).all()
