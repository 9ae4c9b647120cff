"""A value as text and the way back: nothing is lost without an edit, and an edit says what it changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import get_text_at_path

from memory.langgraph_text import corrected, leaves, render

WHOLE = ("$",)
NAMES = st.text(max_size=6) | st.sampled_from(["text", "a", "a.b", "a: ", "[0]", '"', "größe"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | st.text(max_size=12)
TEXTS = st.sampled_from(["a: b", "\n", "one\n\n two", "  lead", "text: x\na: y", "ends\n"])
VALUES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS | TEXTS,
        lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(VALUES)
def test_a_text_that_nobody_edited_gives_the_value_back(value: dict[str, Any]) -> None:
    if leaves(value, WHOLE):
        assert corrected(value, WHOLE, render(value, WHOLE)) == value


@given(VALUES, st.sampled_from(["a", "text", "a.b", "a[0]", "a[*]", "*", "{a,text}", "a[-1].text", "[0]", "nothing"]))
def test_paths_lead_where_langgraph_says_they_do(value: dict[str, Any], path: str) -> None:
    theirs = get_text_at_path(value, path)
    shown = leaves(value, [path])
    assert bool(shown) <= bool(theirs)  # an empty object inside another says nothing here
    # One text each, but for objects, which LangGraph takes as one text and this takes apart.
    if all(isinstance(leaf.value, str) for leaf in shown) and not any(text.startswith("{") for text in theirs):
        assert {leaf.text for leaf in shown} == set(theirs)


@pytest.mark.parametrize(
    ("value", "fields", "text"),
    [
        ({"text": "Likes tea"}, WHOLE, "Likes tea"),
        ({"text": "Likes tea", "score": 2}, ("text",), "Likes tea"),
        (
            {"who": {"name": "Ann"}, "likes": ["tea", "rain"], "age": 7},
            WHOLE,
            'who.name: Ann\nlikes: ["tea", "rain"]\nage: 7',
        ),
        ({"notes": [{"say": "a"}, {"say": "b"}]}, ("notes[*].say",), "notes[0].say: a\nnotes[1].say: b"),
        ({"poem": "one\ntwo", "by": "Ann"}, WHOLE, "poem: one\n  two\nby: Ann"),
        ({"odd name": "x", "b": "y"}, WHOLE, '"odd name": x\nb: y'),
        ({"nothing": None}, WHOLE, ""),
    ],
)
def test_people_read_texts_and_not_json(value: dict[str, Any], fields: tuple[str, ...], text: str) -> None:
    assert render(value, fields) == text


@pytest.mark.parametrize(
    ("value", "fields", "text", "after"),
    [
        ({"text": "Likes tea", "n": 1}, ("text",), "Likes coffee", {"text": "Likes coffee", "n": 1}),
        ({"a": "x", "b": "y"}, WHOLE, "a: x\nb: z", {"a": "x", "b": "z"}),
        ({"a": "x", "n": 1}, WHOLE, "a: x\nn: 2", {"a": "x", "n": 2}),
        ({"a": "x", "n": 1}, WHOLE, "a: x\nn: many", {"a": "x", "n": "many"}),
        ({"a": "x", "b": "y", "c": None}, WHOLE, "a: x", {"a": "x", "c": None}),
        ({"a": "x", "b": "y"}, WHOLE, "just words", {"a": "just words"}),
        ({"a": "x", "b": "y"}, WHOLE, "a: x\nand more\n\nof it\n\nb: y\n", {"a": "x\nand more\n\nof it", "b": "y"}),
        ({"l": ["p", "q", "r"]}, ("l[*]",), "l[0]: p\nl[2]: R", {"l": ["p", "R"]}),
        ({"hidden": 1}, ("text",), "said by a person", {"hidden": 1, "text": "said by a person"}),
    ],
)
def test_an_edited_text_is_the_value(
    value: dict[str, Any], fields: tuple[str, ...], text: str, after: dict[str, Any]
) -> None:
    before = {**value}
    assert corrected(value, fields, text) == after
    assert value == before
