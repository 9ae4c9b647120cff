"""JSON schemas of tools."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tooling.schemas import fault_of_schema, faults, without

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/A"}, "key": {"type": "string"}},
    "required": ["a", "key"],
    "additionalProperties": False,
    "$defs": {"A": {"type": "integer", "minimum": 1}},
}


def test_a_schema_that_refers_to_its_own_parts_can_be_used() -> None:
    assert fault_of_schema(SCHEMA) is None
    assert faults(SCHEMA, {"a": 1, "key": "k"}) == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "expected 'object'"),
        ({"type": "array"}, "schema of type 'array'"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "not a JSON schema"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.org/a"}}}, "within the schema"),
        ({"type": "object", "allOf": [{"$ref": "file:///etc/a"}]}, "refers to 'file:///etc/a'"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: dict[str, Any], words: str) -> None:
    assert words in str(fault_of_schema(schema))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"key": "k"}, "'a' is a required property"),
        ({"a": 0, "key": "k"}, "a: 0 is less than the minimum of 1"),
        ({"a": 1, "key": "k", "b": 2}, "'b' was unexpected"),
        ({"a": "x" * 1000, "key": "k"}, "a: 'xxx"),
    ],
)
def test_what_is_wrong_names_the_place_and_is_short(parameters: dict[str, Any], words: str) -> None:
    (fault,) = faults(SCHEMA, parameters)
    assert words in fault
    assert len(fault) <= 300


def test_a_reference_to_nothing_is_a_fault_and_not_a_failure() -> None:
    assert faults({"type": "object", "properties": {"a": {"$ref": "#/$defs/B"}}}, {"a": 1}) == [
        "the schema of the tool refers to '/$defs/B', which does not exist"
    ]


def test_hidden_parameters_are_not_told() -> None:
    told: Any = without(SCHEMA, {"key"})
    assert list(told["properties"]) == ["a"]
    assert told["required"] == ["a"]
    assert faults(told, {"a": 1}) == []
    assert SCHEMA["required"] == ["a", "key"]
