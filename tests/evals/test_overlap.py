"""Sequences of eight words of a prompt that stand in one memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evals.overlap import FLAGGED_ABOVE, overlaps

PROMPT = "one two three four five six seven eight nine ten eleven twelve"
WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30).map(" ".join)


def test_a_prompt_that_stands_in_a_memory_is_flagged_with_its_share() -> None:
    (found,) = overlaps({"p": PROMPT}, {"m": f"Before. {PROMPT.upper()}, and after."})
    assert found == ("p", "m", 1.0)


def test_half_of_the_sequences_is_not_more_than_half() -> None:
    words = PROMPT.split()
    # Twelve words have five sequences; ten of them hold three, nine hold two.
    assert overlaps({"p": PROMPT}, {"m": " ".join(words[:9])}) == []
    assert overlaps({"p": PROMPT}, {"m": " ".join(words[:10])}) == [("p", "m", 0.6)]


def test_the_worst_memory_is_named_and_two_that_share_a_prompt_are_not_added_up() -> None:
    words = PROMPT.split()
    found = overlaps({"p": PROMPT}, {"half": " ".join(words[:9]), "rest": " ".join(words[3:]), "none": "nine"})
    assert found == []
    found = overlaps({"p": PROMPT}, {"most": " ".join(words[:11]), "all": PROMPT})
    assert found == [("p", "all", 1.0)]


def test_a_short_prompt_counts_as_one_sequence() -> None:
    assert overlaps({"p": "What is 2 + 3?"}, {"m": "I know what is 2 + 3, it is 5"}) == [("p", "m", 1.0)]
    assert overlaps({"p": "What is 2 + 3?"}, {"m": "what is 2 + 4"}) == []
    assert overlaps({"p": ""}, {"m": "anything"}) == []


@given(WORDS, WORDS)
def test_the_share_is_that_of_the_definition(prompt: str, memory: str) -> None:
    told, held = prompt.split(), memory.split()
    length = min(8, len(told))
    asked = {tuple(told[n : n + length]) for n in range(len(told) - length + 1)}
    there = {tuple(held[n : n + length]) for n in range(len(held) - length + 1)}
    share = len(asked & there) / len(asked)
    found = overlaps({"p": prompt}, {"m": memory})
    assert [each.share for each in found] == ([round(share, 4)] if share > FLAGGED_ABOVE else [])
