"""A question taken apart: names of speakers are a field, the rest is what is looked for."""

from __future__ import annotations

import pytest

from memory.ranking.dates import When
from memory.ranking.question import understood


def test_a_speaker_is_named_and_neither_a_word_nor_meaning() -> None:
    asked = understood("What did Ann's brother paint in May 2023, Ann?", {"Ann", "Bob"})
    assert asked.people == {"ann"}
    assert "ann" not in asked.terms
    assert asked.meaning == "What did brother paint in May 2023, ?"
    assert asked.dates == (When(2023, 5, None),)


def test_a_name_that_nobody_has_is_a_word() -> None:
    asked = understood("Where does Ann live?", {"Bob"})
    assert asked.people == frozenset()
    assert asked.meaning == "Where does Ann live?"
    assert "ann" in asked.terms


def test_a_question_of_names_only_keeps_them_as_words() -> None:
    asked = understood("Ann?", {"Ann"})
    assert asked.people == {"ann"}
    assert (asked.terms, asked.meaning) == (("ann",), "Ann?")


def test_one_word_of_a_longer_name_is_enough() -> None:
    assert understood("What did Lovelace write?", {"Ada Lovelace"}).people == {"lovelace"}


@pytest.mark.parametrize("speaker", ["the", "I", "you", "", "?"])
def test_stop_words_and_single_letters_are_no_names(speaker: str) -> None:
    assert understood("What do you and I think of the heron?", {speaker}).people == frozenset()
