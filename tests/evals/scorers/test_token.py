"""A short answer that stands in the reply."""

from __future__ import annotations

import pytest

from evals.scorers.token import token


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2275", True),
        ("Ana's locker code is 2275.", True),
        ("It is 22751.", False),
        ("code12275", False),
        ("", False),
        ("2275, or 5219", True),
    ],
)
def test_the_answer_must_stand_as_a_word_of_its_own(text: str, right: bool) -> None:
    assert token(text, "2275").correct is right


def test_case_does_not_matter_and_special_signs_are_no_pattern() -> None:
    assert token("She likes TEAL best", "teal").correct
    assert not token("5219", "5.19").correct


def test_a_reply_votes_as_a_whole_and_silence_does_not() -> None:
    assert token("The code: 2275.", "2275").answer == token("code 2275", "2275").answer == "code 2275"
    assert (token("  ", "2275").answer, token("  ", "2275").how) == (None, None)
