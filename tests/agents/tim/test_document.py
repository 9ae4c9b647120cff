"""The schema of the document: which documents are valid, of a free tree and of a typed one."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from agents.tim.document import document_schema
from agents.tim.typed import TypedTree
from runtime.errors import InvalidInput
from runtime.llm.instance import minimal_instance
from runtime.types import JsonObject, ToolSpec

NUMBER: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WEB = ToolSpec(
    "web",
    "Search.",
    {
        "type": "object",
        "properties": {"q": {"$ref": "#/$defs/Query"}},
        "required": ["q"],
        "$defs": {"Query": {"type": "string", "minLength": 1}},
    },
)
ADD = ToolSpec("add", "Add one.", NUMBER)
TREE: JsonObject = {
    "root": {"tuple": ["search", "report"]},
    "kinds": {
        "search": {"tools": ["web"], "hint": "Which sources are needed?", "subtasks": {"list": "read"}},
        "read": {"conclusion": NUMBER, "subtasks": None},
        "report": {"subtasks": {"union": ["read", "check"]}},
        "check": {"tools": ["add"]},
    },
}
CYCLE: JsonObject = {
    "root": {"list": "split"},
    "kinds": {"split": {"subtasks": {"union": ["split", "work"]}}, "work": {}},
    "max_depth": 3,
}


def task(title: str | None = None, subtasks: list[JsonObject] | None = None, **fields: Any) -> JsonObject:
    made: JsonObject = {} if title is None else {"title": title}
    made["thought"] = "th"
    if subtasks is not None:
        made["subtasks"] = [*subtasks]
    return {**made, "conclusion": "c", **fields}


def valid(schema: JsonObject, *reasoning: JsonObject, answer: Any = "a") -> bool:
    return bool(Draft202012Validator(schema).is_valid({"reasoning": [*reasoning], "answer": answer}))


def test_a_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"tree.kinds.check.tools names 'add'; available: web"):
        document_schema([WEB], None, TypedTree.parse(TREE), max_depth=5)


@pytest.mark.parametrize("recursive", [True, False])
def test_a_free_document(recursive: bool) -> None:
    schema = document_schema([WEB, ADD], None, max_depth=3, recursive=recursive, max_children=2, max_plan=3)
    use: JsonObject = {"tool_name": "web", "parameters": {"q": "x"}, "tool_result": {"any": [1]}}
    assert valid(schema, task(), task("t", [task("s", [task(tooluse=use)])]), task(tooluse=None, subtasks=None))
    assert not valid(schema)
    assert not valid(schema, task(), task(), task(), task())
    assert not valid(schema, task(subtasks=[task(), task(), task()]))
    assert not valid(schema, task(subtasks=[]))
    assert not valid(schema, {"thought": "th"})
    assert not valid(schema, task(note="x"))
    assert not valid(schema, task(tooluse={**use, "tool_name": "rm"}))
    assert not valid(schema, task(tooluse={**use, "tool_name": "add"}))
    assert not valid(schema, task(tooluse={**use, "parameters": {"q": ""}}))
    assert not valid(schema, task(tooluse={"tool_name": "web", "parameters": {"q": "x"}}))
    assert valid(schema, task(subtasks=[task(subtasks=[task(subtasks=[task()])])])) is recursive


def test_the_fields_of_a_task_stand_in_the_order_in_which_they_are_written() -> None:
    order = ["title", "thought", "tooluse", "subtasks", "conclusion"]
    defs: Any = document_schema([], None, max_depth=2)["$defs"]
    assert list(defs["Task"]["properties"]) == order
    typed: Any = document_schema([WEB, ADD], None, TypedTree.parse(TREE), max_depth=5)["$defs"]
    assert all(list(typed[kind]["properties"]) == order for kind in ("search", "read", "report", "check"))


def test_without_tools_there_is_no_tool_use() -> None:
    schema = document_schema([], None, max_depth=2)
    assert valid(schema, task(tooluse=None))
    assert not valid(schema, task(tooluse={"tool_name": "web", "parameters": {}, "tool_result": 1}))


def test_an_unrolled_schema_never_refers_back() -> None:
    for typed in (None, TypedTree.parse(CYCLE)):
        defs: Any = document_schema([WEB], None, typed, max_depth=4, recursive=False)["$defs"]
        done: set[str] = set()
        while ready := [name for name in defs if name not in done and references(defs[name]) <= done]:
            done.update(ready)
        assert done == set(defs)


def references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(references, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].removeprefix("#/$defs/")} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(references, schema.values()))


@pytest.mark.parametrize("recursive", [True, False])
def test_a_typed_document(recursive: bool) -> None:
    schema = document_schema([WEB, ADD], NUMBER, TypedTree.parse(TREE), max_depth=5, recursive=recursive)
    use: JsonObject = {"tool_name": "web", "parameters": {"q": "x"}, "tool_result": "r"}
    read = task("read: page 2", conclusion={"n": 1})
    search, report = task("search", [read], tooluse=use), task("report", [task("check"), read, task("check: sum")])
    assert valid(schema, search, report, answer={"n": 2})
    assert not valid(schema, search, report, answer="2")
    assert not valid(schema, report, search, answer={"n": 2})
    assert not valid(schema, search, answer={"n": 2})
    assert not valid(schema, search, report, report, answer={"n": 2})
    wrongs: list[JsonObject] = [
        task("search", [task("check")]),
        task("search", [task("read")]),
        task("search", [task("reading", conclusion={"n": 1})]),
        task("search"),
        task("search", subtasks=[]),
        {**search, "tooluse": {"tool_name": "add", "parameters": {"n": 1}, "tool_result": 2}},
    ]
    for wrong in wrongs:
        assert not valid(schema, wrong, report, answer={"n": 2})


@pytest.mark.parametrize("recursive", [True, False])
def test_at_the_depth_cap_a_kind_with_a_shape_goes_without_subtasks(recursive: bool) -> None:
    schema = document_schema([], None, TypedTree.parse(CYCLE), max_depth=9, recursive=recursive)
    deep = task("split", [task("split", [task("split"), task("work")]), task("work")])
    assert valid(schema, deep)
    assert valid(schema, task("split")) is recursive
    capped = document_schema([WEB, ADD], None, TypedTree.parse(TREE), max_depth=1, recursive=recursive)
    assert valid(capped, task("search"), task("report"))
    assert not valid(capped, task("search", [task("read", conclusion={"n": 1})]), task("report"))


@pytest.mark.parametrize("typed", [None, TREE, CYCLE])
@pytest.mark.parametrize("recursive", [True, False])
def test_every_reference_leads_somewhere(typed: JsonObject | None, recursive: bool) -> None:
    tree = None if typed is None else TypedTree.parse(typed)
    for depth in (1, 2, 4):
        schema: Any = document_schema([WEB, ADD], NUMBER, tree, max_depth=depth, recursive=recursive)
        assert references(schema) <= set(schema["$defs"])
    Draft202012Validator.check_schema(schema)
    if typed is None:
        assert Draft202012Validator(schema).is_valid(minimal_instance(schema))
