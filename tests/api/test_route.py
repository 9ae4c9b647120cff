"""Reading bodies: what is JSON, what is not, and what is too deep."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import json_bytes
from api.route import MAX_DEPTH, read_json
from runtime.errors import InvalidInput

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(TREES)
def test_what_is_written_is_read(value: Any) -> None:
    assert read_json(json_bytes(value)) == value


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff", "x\0y"])
def test_text_that_utf8_cannot_carry_goes_as_its_escape(text: str) -> None:
    assert read_json(json_bytes({"text": text})) == {"text": text}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"NaN",
        b"[Infinity]",
        b'"\xff"',
        b'{"a": 1,}',
        b'["\\ud800", NaN]',
        b"[" * 5000,
        b'["\\ud800",' + b"[" * 5000,
    ],
)
def test_what_is_not_json_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="body"):
        read_json(body)


def test_depth_has_a_limit() -> None:
    good = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert read_json(good)
    with pytest.raises(InvalidInput, match="nested deeper"):
        read_json(b"[" + good + b"]")
    assert len(read_json(b"[" + b",".join([b"[]"] * 500) + b"]")) == 500, "wide is not deep"
