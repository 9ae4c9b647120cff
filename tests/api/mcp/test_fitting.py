"""Answers that fit: never more than was asked for, and what is left out is counted."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.mcp.fitting import cost, cut, fitted

TEXTS = st.text(max_size=400) | st.sampled_from(["x" * 3000, '"\\\n' * 700, "größe 🙂 " * 300, "שלום" * 500])
HOW = "get_memory with offset={next} reads on"


@given(st.lists(TEXTS, max_size=8), st.integers(0, 1500))
def test_what_is_kept_costs_no_more_than_allowed(texts: list[str], tokens: int) -> None:
    items = [{"memory": {"id": str(n), "content": text, "data": {"copy": text}}} for n, text in enumerate(texts)]
    shown = fitted(items, tokens, ("memory", "content"), HOW)
    assert sum(cost(item) for item in shown.items) <= tokens
    assert len(shown.items) + shown.items_left == len(items)
    whole = shown.items if not shown.characters_left else shown.items[:-1]
    assert whole == items[: len(whole)]
    if sum(cost(item) for item in items) <= tokens:
        assert (shown.items, shown.items_left, shown.characters_left) == (items, 0, 0)


@given(TEXTS, st.integers(60, 900), st.integers(0, 50))
def test_a_cut_text_is_its_beginning_and_says_where_it_goes_on(text: str, tokens: int, start: int) -> None:
    shown = cut(text, tokens, HOW, start)
    assert cost(shown.text) <= tokens or not text
    if shown.left:
        kept = len(text) - shown.left
        assert shown.text.startswith(text[:kept])
        assert (
            shown.text[kept:] == f"… [{shown.left} characters left out; get_memory with offset={start + kept} reads on]"
        )
    else:
        assert shown.text == text


def test_structured_data_goes_before_any_of_the_text_does() -> None:
    item: dict[str, Any] = {"memory": {"id": "1", "content": "short text", "data": {"long": "y" * 4000}}}
    shown = fitted([item], 100, ("memory", "content"), HOW)
    assert shown.items == [{"memory": {"id": "1", "content": "short text"}}]
    assert shown.characters_left > 4000


def test_an_item_without_a_text_fits_or_is_left_out() -> None:
    items = [{"name": "a" * 100}, {"name": "b" * 100}]
    assert fitted(items, 40).items == items[:1]
    assert fitted(items, 10).items_left == 2
