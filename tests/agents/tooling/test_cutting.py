"""Results that are too long."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agents.tooling.cutting import cut
from runtime.llm.estimate import estimate_tokens

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=30,
)


def size(data: JsonValue) -> int:
    return estimate_tokens(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


@settings(max_examples=50)
@given(data=VALUES, tokens=st.integers(64, 2000))
def test_what_fits_stays_and_what_does_not_fits_afterwards(data: JsonValue, tokens: int) -> None:
    shorter, truncated = cut(data, tokens)
    assert truncated == (size(data) > tokens)
    if not truncated:
        assert shorter == data
    assert size(shorter) <= tokens


@settings(max_examples=50)
@given(part=st.text('ab"\n\\é', min_size=20, max_size=60), tokens=st.integers(64, 400))
def test_a_text_keeps_its_beginning_and_its_end_and_says_what_is_missing(part: str, tokens: int) -> None:
    text = part * 100
    shorter, truncated = cut(text, tokens)
    assert truncated
    assert isinstance(shorter, str)
    assert f" of {len(text)} characters left out]" in shorter
    head, _, rest = shorter.partition("\n[cut: ")
    tail = rest.partition("left out]\n")[2]
    assert text.startswith(head)
    assert text.endswith(tail)
    assert tokens * 4 * 0.5 <= len(json.dumps(shorter, ensure_ascii=False)) <= tokens * 4


def test_an_object_keeps_its_shape_when_its_texts_are_what_is_long() -> None:
    shorter, truncated = cut({"stdout": "x" * 5000, "result": [1, 2], "detail": "y" * 50}, 300)
    assert truncated
    assert isinstance(shorter, dict)
    assert list(shorter) == ["stdout", "result", "detail"]
    assert (shorter["result"], shorter["detail"]) == ([1, 2], "y" * 50)
    assert "of 5000 characters left out]" in str(shorter["stdout"])


def test_a_long_list_becomes_a_text_that_is_cut() -> None:
    shorter, truncated = cut(list(range(5000)), 100)
    assert truncated
    assert isinstance(shorter, str)
    assert shorter.startswith("[0,1,2,")
    assert shorter.endswith("4999]")
