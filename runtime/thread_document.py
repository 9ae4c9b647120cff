"""The JSON document that the outline of a thread tree and its records make.

The words are in the records of the working memory, one for each field, with the id `path.field` and the path as owner; a
field in a shorter form is a later record of the same owner and kind. The kind is the field, with `_json` behind it where a
conclusion or the answer is a JSON value and no text. The document is built from both, so the whole one and the live one
come from the same facts. Field order is fixed. Source: tim §2.1.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from pydantic import JsonValue

from runtime.errors import Conflict
from runtime.thread_outline import Node
from runtime.types import JsonObject
from runtime.working_memory import Record

Field = Literal["title", "thought", "parameters", "result", "conclusion", "answer"]
ORDER: tuple[Field, ...] = ("title", "thought", "parameters", "result", "conclusion")
ANSWER = "answer"
Values = Mapping[tuple[str, str], JsonValue]  # (owner, field) → what it says
_JSON = "_json"


def kind_of(field: Field, *, as_json: bool) -> str:
    """The kind of the record of a field."""
    return f"{field}{_JSON}" if as_json else field


def is_json(kind: str) -> bool:
    """Whether the text of a record of this kind is a JSON value."""
    return kind in ("parameters", "result") or kind.endswith(_JSON)


def value_of(record: Record) -> JsonValue:
    """What the record of a field says: its text, or the value that its text is."""
    value: JsonValue = json.loads(record.text) if is_json(record.kind) else record.text
    return value


def record_id(path: str, field: str) -> str:
    """The id of the record of a field as it was first written."""
    return f"{path}.{field}"


def must_fit(node: Node, field: Field, written: Collection[str]) -> None:
    """Raises `Conflict` when a field cannot be written next in a task of which these fields are written."""
    if any(later in written for later in ORDER[ORDER.index(field) :]) or (node.has_list and field != "conclusion"):
        raise Conflict(f"{field!r} of task {node.path!r}: expected each field once, in the order {ORDER!r}")
    if field in ("title", "thought") and node.tool is not None:
        raise Conflict(f"{field!r} of task {node.path!r}: expected before the tool call")
    if field == "parameters" and node.tool is None:
        raise Conflict(f"{field!r} of task {node.path!r}: expected its tool to be named before")
    if field == "result" and "parameters" not in written:
        raise Conflict(f"{field!r} of task {node.path!r}: expected its parameters to be written before")
    if field == "conclusion" and node.tool is not None and "result" not in written:
        raise Conflict(f"{field!r} of task {node.path!r}: expected the result of its tool to be written before")


def live_values(records: Iterable[Record]) -> Values:
    """What the model sees: shortened forms where there are some."""
    return {(record.owner, _field(record)): value_of(record) for record in records}


def original_values(records: Iterable[Record]) -> Values:
    """Everything as it was first written."""
    return {
        (record.owner, _field(record)): value_of(record)
        for record in records
        if record.id in (ANSWER, record_id(record.owner, _field(record)))
    }


def _field(record: Record) -> str:
    return record.kind.removesuffix(_JSON)


def task_json(nodes: Mapping[str, Node], path: str, values: Values, *, live: bool) -> JsonObject:
    """One task with its subtasks. Fields that are not written yet are left out; `live`: a pruned list is empty."""
    node = nodes[path]
    task: JsonObject = {}
    for field in ("title", "thought"):
        if (path, field) in values:
            task[field] = values[path, field]
    if node.tool is not None:
        tool: JsonObject = {"tool_name": node.tool}
        for field, key in (("parameters", "parameters"), ("result", "tool_result")):
            if (path, field) in values:
                tool[key] = values[path, field]
        task["tooluse"] = tool
    if live and node.has_list and node.list_pruned:
        task["subtasks"] = []
    elif node.children or (live and node.has_list):
        task["subtasks"] = [task_json(nodes, child, values, live=live) for child in node.children]
    if (path, "conclusion") in values:
        task["conclusion"] = values[path, "conclusion"]
    return task


def document_json(nodes: Mapping[str, Node], top: Iterable[str], values: Values, *, live: bool) -> JsonObject:
    """`{"reasoning": [tasks], "answer"}` as far as it is written."""
    document: JsonObject = {"reasoning": [task_json(nodes, path, values, live=live) for path in top]}
    if ("", ANSWER) in values:
        document[ANSWER] = values["", ANSWER]
    return document


def parsed(text: str) -> JsonValue:
    """Strict JSON. Raises `ValueError` for anything else: no NaN, nothing behind the value, no nesting without bounds."""
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
