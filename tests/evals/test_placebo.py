"""Placebos: equal length, other words, found by the same data."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from evals.placebo import drafts, text
from memory.types import Draft


@given(st.integers(1, 3000), st.integers(0, 100))
def test_a_placebo_has_exactly_the_length_and_no_blank_at_its_ends(length: int, seed: int) -> None:
    made = text(length, random.Random(seed))
    assert len(made) == length
    assert made.strip() == made


def test_all_are_different_although_their_lengths_are_the_same() -> None:
    memories = [Draft(f"Zoe's locker code is {n:04}.") for n in range(200)]
    made = drafts(memories)
    assert len({draft.content for draft in made}) == 200
    assert [len(draft.content) for draft in made] == [len(draft.content) for draft in memories]
    assert made == drafts(memories), "the same every time"
    assert made != drafts(memories, seed=1)


def test_what_it_is_found_by_stays_and_the_real_text_goes() -> None:
    real = Draft(
        "Check the units first.",
        "experience",
        data={"keys": [{"text": "How long is it?"}], "detail": {"said": "He said: Check the units first."}},
        tags=("method:x",),
        title="Units",
    )
    (made,) = drafts([real])
    assert (made.semantic_type, made.tags) == ("experience", ("method:x",))
    assert made.data["keys"] == [{"text": "How long is it?"}]
    assert "units" not in str(made).lower()
