"""JSON text: whatever goes in comes out, and the text is one that every database takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime import textsafe

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None))
    | st.sampled_from(["\0", "\ud800", "\udc00\ud800", "\\u0000", " ", "\u2028", "😀"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner), max_leaves=8
)


@given(JSON)
@example(2**64)
@example({"big": -(2**200), "half": "\ud83d"})
@example(" leading")
def test_every_json_value_comes_back_the_same_and_of_the_same_type(value: object) -> None:
    text = textsafe.dumps(value)
    back = textsafe.loads(text)
    assert back == value
    assert repr(back) == repr(value), "an integer stays one, whatever its size"


@given(JSON)
def test_the_text_is_utf8_without_nul(value: object) -> None:
    text = textsafe.dumps(value)
    assert "\0" not in text
    assert text.encode("utf-8").decode("utf-8") == text


def test_a_deep_value_comes_back() -> None:
    value: object = "core"
    for _ in range(400):
        value = [value]
    assert textsafe.loads(textsafe.dumps(value)) == value


def test_a_number_that_json_does_not_have_becomes_null() -> None:
    assert textsafe.loads(textsafe.dumps([math.nan, math.inf, 1.5])) == [None, None, 1.5]


def test_json_that_others_wrote_is_read() -> None:
    assert textsafe.loads('{"half": "\\ud83d", "whole": "\\ud83d\\ude00"}') == {"half": "\ud83d", "whole": "😀"}


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        textsafe.dumps({"a": object()})
    with pytest.raises(ValueError, match="Expecting"):
        textsafe.loads("{half")
