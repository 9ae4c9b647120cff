"""Repetitions give way, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memory.ranking.diverse import varied


def test_a_repetition_falls_behind_less_relevant_texts() -> None:
    said = [
        "the heron nests in the willow",
        "The heron nests, in the willow!",
        *(f"text of number {n}" for n in range(8)),
    ]
    order = varied(said)
    assert order[:4] == [0, 2, 3, 4]
    assert 1 < order.index(1) < len(said) - 1


def test_texts_that_differ_in_a_name_or_a_date_keep_their_order() -> None:
    said = [f"We met {who} on {day} May for lunch in the garden" for who in ("Ann", "Bob") for day in (3, 4)]
    assert varied(said) == [0, 1, 2, 3]


@given(st.lists(st.text(alphabet="ab c", max_size=8), max_size=12))
def test_every_text_is_shown_once(said: list[str]) -> None:
    order = varied(said)
    assert sorted(order) == list(range(len(said)))
    if said:
        assert order[0] == 0


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=12))
def test_different_texts_stay_in_order(numbers: list[int]) -> None:
    assert varied([f"number {n}" for n in numbers]) == list(range(len(numbers)))
