"""Expressions for pieces of a document: what they let through is JSON without white space, and what fits gets through."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agents.tim import grammar
from runtime.errors import InvalidInput
from runtime.llm.shortest import shortest
from runtime.types import JsonObject


class Inner(BaseModel):
    a: int
    b: str | None = None


class Outer(BaseModel):
    items: list[Inner] = []
    name: str
    mode: str = "x"
    more: dict[str, float] = {}


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(st.text(alphabet=st.characters(exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]), min_size=1))
def test_every_text_can_be_written(text: str) -> None:
    written = compact(text)[1:]
    assert re.fullmatch(grammar.text(), written)
    assert grammar.literal(written) == text


@given(st.from_regex(grammar.text(), fullmatch=True))
def test_what_is_let_through_is_the_rest_of_a_json_string(written: str) -> None:
    assert grammar.literal(written)


@pytest.mark.parametrize("text", ['"', "no end", 'a"b"', 'line\nbreak"', '\\u0041"', '\\x"', 'half\\"'])
def test_what_is_no_text_is_not_let_through(text: str) -> None:
    assert not re.fullmatch(grammar.text(), text)


def test_a_least_length_counts_characters() -> None:
    assert re.fullmatch(grammar.text(3), 'abc"')
    assert not re.fullmatch(grammar.text(3), 'ab"')


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (Outer.model_json_schema(), {"name": "n"}, {"items": []}),
        (Inner.model_json_schema(), {"a": -3}, {"a": 1.5}),
        (Inner.model_json_schema(), {"a": 3, "b": None}, {"b": None}),
        ({"type": "object", "properties": {"x": {"type": "boolean"}, "y": {"type": "null"}}}, {"y": None}, {"z": 1}),
        ({"type": "object", "properties": {"x": {"enum": ["a.b", 7]}}, "required": ["x"]}, {"x": "a.b"}, {"x": "a_b"}),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1.25, "b": -2}, {"a": "x"}),
        ({"type": "object"}, {"any": ["x", None, 2]}, [1]),
        ({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}, ["x", "y"], []),
        ({"type": ["string", "null"]}, None, 3),
        ({"const": {"a": [1]}}, {"a": [1]}, {"a": [2]}),
        ({}, {"a": [1, 2]}, "\n"),
    ],
)
def test_a_schema_takes_what_fits_it(schema: JsonObject, good: Any, bad: Any) -> None:
    pattern = grammar.value(schema)
    assert re.fullmatch(pattern, compact(good))
    assert not re.fullmatch(pattern, compact(bad) if bad != "\n" else " 1")
    json.loads(shortest(pattern))


@given(st.data())
def test_what_a_schema_lets_through_is_valid_for_it(data: st.DataObject) -> None:
    text = data.draw(st.from_regex(grammar.value(Outer.model_json_schema()), fullmatch=True))
    Outer.model_validate_json(text)


def test_a_model_that_holds_itself_ends_where_references_are_followed_no_more() -> None:
    node: JsonObject = {
        "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "additionalProperties": False}},
        "$ref": "#/$defs/N",
    }
    pattern = grammar.value(node)
    assert len(pattern) < 100_000
    assert re.fullmatch(pattern, '{"n":{"n":{}}}')


def test_a_reference_to_nowhere_is_named() -> None:
    with pytest.raises(InvalidInput, match="leads nowhere"):
        grammar.value({"$ref": "#/$defs/Gone"})


def test_choices_are_literal_and_names_of_tools_cannot_break_out() -> None:
    options = ["]", ",", grammar.CONCLUSION, grammar.SUBTASKS, grammar.tool('a"b.c*')]
    pattern = grammar.one_of(options)
    for option in options:
        assert re.fullmatch(pattern, option)
    assert not re.fullmatch(pattern, grammar.tool('a"bxc*'))
    assert json.loads("{" + grammar.tool('a"b.c*')[1:] + "1}}")["tooluse"]["tool_name"] == 'a"b.c*'
