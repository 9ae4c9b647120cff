"""Which names of entities a question may hold."""

from __future__ import annotations

from memory.ranking.entities import MOST_WORDS, possible_keys


def test_runs_of_words_without_what_surrounds_them() -> None:
    keys = possible_keys("What did Álvaro  Siza's “Casa de Chá” cost?")
    assert {"álvaro siza", "casa de chá", "siza", "casa"} <= set(keys)
    assert "what" not in keys
    assert "did" not in keys


def test_a_long_question_is_bounded() -> None:
    assert len(possible_keys("word " * 10_000)) <= 4 * MOST_WORDS
    assert possible_keys("?! …") == []
