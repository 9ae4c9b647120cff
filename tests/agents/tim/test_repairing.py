"""Repairing: every cut of a reply keeps what was whole and nothing else, and says what is owed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agents.tim.repairing import close_string, remaining, repair
from runtime.types import JsonObject

OPEN: JsonObject = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "thought": {"type": "string"}, "action": {"type": "object"}},
    "required": ["thought", "action"],
    "additionalProperties": False,
}
WHOLE = '{"title":"t","thought":"one, {two}","action":{"kind":"conclude","conclusion":"c","more":false}}'
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=5)


def schema_of(value: JsonObject) -> JsonObject:
    return {"type": "object", "properties": {name: {} for name in value}, "required": [*value]}


@settings(max_examples=60)
@given(OBJECTS, st.data(), st.booleans(), st.sampled_from([None, 1]))
def test_every_prefix_keeps_whole_fields_only_and_names_the_next(
    value: JsonObject, data: st.DataObject, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    cut = data.draw(st.integers(0, len(text)))
    found = repair(text[:cut], schema_of(value))
    names = list(value)
    assert found.kept == {name: value[name] for name in names[: len(found.kept)]}
    assert list(found.kept) == names[: len(found.kept)]
    assert found.broken == next(iter(names[len(found.kept) :]), None)
    if cut == len(text):
        assert found.kept == value


@given(st.text(alphabet='{}[]":,\\u0d8a1etrufn -.\n`', max_size=60))
def test_nothing_makes_it_raise(text: str) -> None:
    found = repair(text, OPEN)
    assert set(found.kept) <= {"title", "thought", "action"}
    closed = close_string(text)
    assert closed == text or closed.endswith('"')


@pytest.mark.parametrize(
    ("text", "kept", "broken"),
    [
        (WHOLE, ["title", "thought", "action"], None),
        (WHOLE[:-1], ["title", "thought", "action"], None),
        (WHOLE[:-2], ["title", "thought"], "action"),
        (WHOLE[:25], ["title"], "thought"),
        (f"Here it is:\n```json\n{WHOLE[:-9]}", ["title", "thought"], "action"),
        (f"A set {{1, 2}} and {{}} first. {WHOLE}", ["title", "thought", "action"], None),
        ('{"thought":"line\nbreak" "action":{}}', ["thought"], "action"),
        ('{"thought":"a","tool_result":[1],"action":{},}', ["thought", "action"], None),
        ('{"action":{},"thought":"cut', ["action"], "thought"),
        ('{"title":', [], "title"),
        ('{"title":NaN,"thought":"a","action":{}}', [], "title"),
        ('{"thought":"a","thought":"b', [], "thought"),
        ("no object", [], "thought"),
        ("", [], "thought"),
        ('{"thought":' + "[" * 100_000, [], "thought"),
    ],
)
def test_what_is_kept_and_what_is_broken(text: str, kept: list[str], broken: str | None) -> None:
    found = repair(text, OPEN)
    assert (list(found.kept), found.broken) == (kept, broken)


@pytest.mark.parametrize("text", ['{"n":12', '{"n":12.', '{"n":1e', '{"n":-', '{"n":12-'])
def test_a_number_that_may_go_on_is_not_whole(text: str) -> None:
    assert repair(text, schema_of({"n": 1})).kept == {}
    assert repair('{"n":12}', schema_of({"n": 1})).kept == {"n": 12}


def test_a_lone_surrogate_becomes_text_that_can_be_stored() -> None:
    kept = repair('{"thought":"a\\ud83d","action":{"k\\ude00":["\\ud83d\\ude00\\ud83d"]}}', OPEN).kept
    assert kept == {"thought": "a\ufffd", "action": {"k\ufffd": ["😀\ufffd"]}}


def test_remaining_asks_for_what_is_not_kept_and_nothing_else() -> None:
    kept = repair(WHOLE[:-2], OPEN).kept
    assert remaining(OPEN, kept) == {**OPEN, "properties": {"action": {"type": "object"}}, "required": ["action"]}
    assert remaining(OPEN, {}) == OPEN


@given(st.text(), st.data(), st.booleans())
def test_a_string_is_closed_wherever_it_was_cut(text: str, data: st.DataObject, ascii_only: bool) -> None:
    document = json.dumps({"a": 'b"\\', "thought": text}, ensure_ascii=ascii_only)
    start = document.rindex('"thought": "') + len('"thought": "')
    cut = data.draw(st.integers(start, len(document) - 2))
    closed = json.loads(close_string(document[:cut]) + "}")
    assert closed["a"] == 'b"\\'
    assert text.startswith(closed["thought"])
    assert len(document[start:cut]) - len(json.dumps(closed["thought"], ensure_ascii=ascii_only)[1:-1]) <= 11 or (
        "\ufffd" in text
    )


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ('"abc', '"abc"'),
        ('"abc\\', '"abc"'),
        ('"abc\\\\', '"abc\\\\"'),
        ('"abc\\u00', '"abc"'),
        ('"abc\\\\u00', '"abc\\\\u00"'),
        ('"abc\\ud83d', '"abc"'),
        ('"abc\\ud83d\\u', '"abc"'),
        ('"abc\\ud83d\\ude00', '"abc\\ud83d\\ude00"'),
        ('"abc\ufffd', '"abc"'),
        ('{"a":"b"', '{"a":"b"'),
        ('{"a":1', '{"a":1'),
        ('{"a":"b","c":"', '{"a":"b","c":""'),
    ],
)
def test_a_half_character_is_dropped_and_a_closed_text_left_alone(text: str, closed: str) -> None:
    assert close_string(text) == closed
