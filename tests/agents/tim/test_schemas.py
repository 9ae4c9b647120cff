"""The schema of a step offers what may be done and no more; what comes back is checked again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from agents.tim.schemas import (
    Answered,
    Can,
    Conclude,
    Concluded,
    Descend,
    Lengths,
    Opened,
    UseTool,
    after_list_schema,
    after_tool_schema,
    answer_schema,
    fits,
    open_schema,
    read,
)
from runtime.llm.instance import minimal_instance
from runtime.types import JsonObject, ToolSpec

LENGTHS = Lengths(thought=32, conclusion=16)
NESTED: JsonObject = {
    "type": "object",
    "properties": {"at": {"$ref": "#/$defs/place"}},
    "required": ["at"],
    "$defs": {"place": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
}
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
GO = ToolSpec("go", "Goes.", NESTED)
FREE = Can(tools=(LOOK, GO), descend=4)


def opening(action: JsonObject) -> JsonObject:
    return {"thought": "t", "action": action}


def valid(schema: JsonObject, value: object) -> bool:
    return bool(Draft202012Validator(schema).is_valid(value))


@pytest.mark.parametrize(
    ("action", "can"),
    [
        ({"kind": "conclude", "conclusion": "c", "more": False}, Can()),
        ({"kind": "conclude", "conclusion": "c"}, Can(more=False)),
        ({"kind": "descend"}, FREE),
        ({"kind": "descend", "parallel": ["a", "b"]}, FREE),
        ({"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}}, FREE),
        ({"kind": "tool", "tool_name": "go", "parameters": {"at": {"x": 1}}}, FREE),
    ],
)
def test_what_may_be_done_is_offered(action: JsonObject, can: Can) -> None:
    assert valid(open_schema([can], LENGTHS), opening(action))


@pytest.mark.parametrize(
    ("action", "can"),
    [
        ({"kind": "descend"}, Can(tools=(LOOK,))),
        ({"kind": "descend", "parallel": ["a", "b"]}, Can(descend=1)),
        ({"kind": "descend", "parallel": ["a"]}, FREE),
        ({"kind": "tool", "tool_name": "fly", "parameters": {}}, FREE),
        ({"kind": "tool", "tool_name": "look", "parameters": {"at": {"x": 1}}}, FREE),
        ({"kind": "tool", "tool_name": "go", "parameters": {"at": {"x": "one"}}}, FREE),
        ({"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}, "tool_result": 1}, FREE),
        ({"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}}, FREE.concluding()),
        ({"kind": "conclude", "conclusion": "c", "more": True}, Can(more=False)),
        ({"kind": "conclude", "conclusion": "c" * 65, "more": True}, Can()),
        ({"kind": "conclude", "conclusion": "c", "more": True}, Can(conclude=False, descend=2)),
    ],
)
def test_what_may_not_be_done_is_not(action: JsonObject, can: Can) -> None:
    assert not valid(open_schema([can], LENGTHS), opening(action))


def test_behind_a_tool_there_is_no_other_tool() -> None:
    use: JsonObject = {"action": {"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}}}
    assert not valid(after_tool_schema(FREE, LENGTHS), use)
    assert valid(after_tool_schema(FREE, LENGTHS), {"action": {"kind": "descend"}})


def test_a_tool_whose_schema_leads_elsewhere_takes_any_object() -> None:
    odd = ToolSpec("odd", "Odd.", {"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}})
    schema = open_schema([Can(tools=(odd,))], LENGTHS)
    assert valid(schema, opening({"kind": "tool", "tool_name": "odd", "parameters": {"a": 1}}))


def test_a_conclusion_behind_results_has_a_least_length() -> None:
    schema = after_list_schema(Can(more=False), Lengths(32, 16, least_conclusion=20))
    assert not valid(schema, {"conclusion": "short"})
    assert valid(schema, {"conclusion": "long enough to tell it"})


@pytest.mark.parametrize(
    "schema",
    [
        open_schema([FREE], LENGTHS),
        open_schema([Can(kind="a"), Can(kind="b", tools=(GO,))], LENGTHS),
        after_tool_schema(FREE, LENGTHS),
        after_list_schema(FREE, LENGTHS),
        answer_schema(None, 100),
        answer_schema(NESTED, 100),
    ],
)
def test_every_schema_is_a_schema_and_has_an_instance(schema: JsonObject) -> None:
    Draft202012Validator.check_schema(schema)
    assert valid(schema, minimal_instance(schema))


def test_a_reply_becomes_a_step_and_surplus_fields_are_dropped() -> None:
    use: JsonObject = {"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}, "tool_result": "made up"}
    got = read(json.dumps(opening(use)), "stop", Opened, open_schema([FREE], LENGTHS), cans=[FREE])
    assert got.reply is not None
    assert got.reply.action == UseTool(kind="tool", tool_name="look", parameters={"q": "x"})


def test_a_broken_reply_keeps_what_is_right_and_the_rest_completes_it() -> None:
    schema = open_schema([FREE], LENGTHS)
    first = read('{"title":"a","thought":"b","action":{"kind":"des', "length", Opened, schema, cans=[FREE])
    assert (first.reply, first.kept, first.broken) == (None, {"title": "a", "thought": "b"}, "action")
    second = read('{"action":{"kind":"descend"}}', "stop", Opened, schema, kept=first.kept, cans=[FREE])
    assert second.reply == Opened(title="a", thought="b", action=Descend(kind="descend"))


def test_an_action_that_is_not_offered_is_what_is_broken() -> None:
    can = Can(tools=(LOOK,))
    got = read(json.dumps(opening({"kind": "descend"})), "stop", Opened, open_schema([can], LENGTHS), cans=[can])
    assert (got.reply, got.kept, got.broken) == (None, {"thought": "t"}, "action")


def test_where_kind_and_action_do_not_go_together_the_action_counts() -> None:
    cans = [Can(kind="plan", descend=1, conclude=False), Can(kind="read", tools=(LOOK,), conclude=False)]
    use: JsonObject = {"kind": "tool", "tool_name": "look", "parameters": {"q": "x"}}
    said = {"task_kind": "plan", **opening(use)}
    got = read(json.dumps(said), "stop", Opened, open_schema(cans, LENGTHS), cans=cans)
    assert got.reply is not None
    assert got.reply.task_kind == "read"


def test_a_conclusion_of_nothing_is_none() -> None:
    got = read('{"conclusion":"  ","more":true}', "stop", Concluded, after_list_schema(Can(), LENGTHS))
    assert (got.reply, got.broken) == (None, "conclusion")


def test_the_list_goes_on_as_the_place_says_or_as_the_model_does() -> None:
    said = Conclude(kind="conclude", conclusion="c", more=True)
    assert [Can(more=more).goes_on(said) for more in (None, False, True)] == [True, False, True]


@pytest.mark.parametrize(
    ("answer", "wanted", "good"),
    [("a", None, True), (1, None, False), ({}, {"type": "object"}, True), ("a", {"type": "object"}, False)],
)
def test_an_answer_of_another_type_is_noticed(answer: Any, wanted: JsonObject | None, good: bool) -> None:
    assert fits(answer, wanted) is good


@given(st.text(), st.sampled_from(["stop", "length"]))
def test_whatever_comes_it_is_a_step_or_a_broken_field(text: str, finish: Any) -> None:
    got = read(text, finish, Opened, open_schema([FREE], LENGTHS), cans=[FREE])
    assert (got.reply is None) == bool(got.broken)


@given(st.integers(0, 200))
def test_a_reply_cut_anywhere_is_whole_only_when_every_owed_field_is(at: int) -> None:
    whole = json.dumps({"conclusion": 'it is "so" \\ 12', "more": True})
    got = read(whole[:at], "length", Concluded, after_list_schema(Can(), LENGTHS))
    assert (got.reply is not None) == (at >= len(whole) - 1)


def test_an_answer_is_read_as_it_is() -> None:
    got = read('{"answer":{"a":[1]}}', "stop", Answered, answer_schema(NESTED, 10))
    assert got.reply == Answered(answer={"a": [1]})
