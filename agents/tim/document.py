"""The schema of a finished document, of a free tree or a typed one.

The order of the properties is the order in which the fields are written. A tool's name decides on its parameters. A
document that is still being written may hold a pruned list, which is empty and valid only there. A conclusion that could
not be read is said to be so, whatever its kind asks for. Source: TIM §2.1, §5, §8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from agents.tim.repairing import UNPARSABLE
from agents.tim.typed import Shape, TypedTree, embedded
from runtime.types import JsonObject, ToolSpec

_NULL: Final[JsonObject] = {"type": "null"}


def document_schema(
    tools: Sequence[ToolSpec],
    answer_schema: JsonObject | None,
    typed: TypedTree | None = None,
    *,
    max_depth: int,
    recursive: bool = True,
    max_children: int | None = None,
    max_plan: int | None = None,
) -> JsonObject:
    """The JSON schema of the finished document: `{"reasoning": [task, …], "answer": …}`.

    `answer_schema`: None for text. `recursive`: a task refers to itself and the depth of a free tree is not bound by the
    schema; else every level has its own definition down to `max_depth`, for servers that refuse recursion.
    `max_children` bounds lists of subtasks, `max_plan` the top list; a tuple has the length that it has.
    Raises `InvalidInput` for a kind whose tool is not among `tools`, and for schemas with references that cannot move.
    """
    defs: JsonObject = {}
    uses = {tool.name: _use(tool, f"tool{at}", defs) for at, tool in enumerate(tools, 1)}
    if typed is not None:
        typed.check_tools(list(uses))
        levels = typed.levels(max_depth)
        for place in _rolled(typed, levels) if recursive else _unrolled(levels):
            defs[place.name] = _typed_task(typed, place, uses, max_children, defs)
        reasoning = _list(typed.root, "" if recursive else "_1", max_plan)
    elif recursive:
        defs["Task"] = _task(list(uses.values()), _or_null(_items(_ref("Task"), max_children)))
        reasoning = _items(_ref("Task"), max_plan)
    else:
        for depth in range(1, max_depth + 1):
            below = _or_null(_items(_ref(f"Task_{depth + 1}"), max_children)) if depth < max_depth else dict(_NULL)
            defs[f"Task_{depth}"] = _task(list(uses.values()), below)
        reasoning = _items(_ref("Task_1"), max_plan)
    answer: JsonObject = {"type": "string"} if answer_schema is None else embedded(answer_schema, "answer", defs)
    return {"$defs": defs, **_object({"reasoning": reasoning, "answer": answer}, ["reasoning", "answer"])}


class _Place(NamedTuple):
    """A definition: its name, its kind, what the names of its children end in, and what may stand below it."""

    name: str
    kind: str
    suffix: str
    shape: bool
    nothing: bool


def _rolled(typed: TypedTree, levels: Sequence[Sequence[str]]) -> Iterator[_Place]:
    """One definition for each kind, whatever its depth."""
    *above, cap = [set(level) for level in levels]
    for kind in typed.kinds:
        inside = any(kind in level for level in above)
        if inside or kind in cap:
            yield _Place(kind, kind, "", shape=inside, nothing=kind in cap)


def _unrolled(levels: Sequence[Sequence[str]]) -> Iterator[_Place]:
    """One definition for each kind at each depth where it can stand."""
    for depth, kinds in enumerate(levels, 1):
        last = depth == len(levels)
        for kind in kinds:
            yield _Place(f"{kind}_{depth}", kind, f"_{depth + 1}", shape=not last, nothing=last)


def _typed_task(
    typed: TypedTree, place: _Place, uses: Mapping[str, JsonValue], most: int | None, defs: JsonObject
) -> JsonObject:
    kind = typed.kinds[place.kind]
    below: JsonObject = dict(_NULL)
    must = False
    if kind.subtasks is not None and place.shape:
        shaped = _list(kind.subtasks, place.suffix, most)
        below, must = (_or_null(shaped), False) if place.nothing else (shaped, True)
    task = _task([uses[tool] for tool in kind.tools], below)
    properties = task["properties"]
    assert isinstance(properties, dict)
    properties["title"] = {"type": "string", "pattern": f"^{place.kind}(:.*)?$"}
    if kind.hint:
        properties["thought"] = {"type": "string", "description": kind.hint}
    if kind.conclusion is not None:
        own = embedded(kind.conclusion, f"{place.name}.conclusion", defs)
        properties["conclusion"] = {"anyOf": [own, {"const": UNPARSABLE}]}
    task["required"] = ["title", "thought", *(["subtasks"] if must else []), "conclusion"]
    return task


def _task(uses: Sequence[JsonValue], subtasks: JsonObject) -> JsonObject:
    """A task; the order of the properties is the order in which they are written."""
    properties: JsonObject = {
        "title": {"type": "string"},
        "thought": {"type": "string"},
        "tooluse": {"anyOf": [*uses, dict(_NULL)]} if uses else dict(_NULL),
        "subtasks": subtasks,
        "conclusion": {"type": "string"},
    }
    return _object(properties, ["thought", "conclusion"])


def _use(tool: ToolSpec, name: str, defs: JsonObject) -> JsonObject:
    """A call of `tool`: its name decides on its parameters. The result is the runtime's and may be anything."""
    properties: JsonObject = {
        "tool_name": {"const": tool.name},
        "parameters": embedded(tool.parameters, name, defs),
        "tool_result": {},
    }
    defs[name] = _object(properties, ["tool_name", "parameters", "tool_result"])
    return _ref(name)


def _list(shape: Shape, suffix: str, most: int | None) -> JsonObject:
    refs: list[JsonValue] = [_ref(f"{kind}{suffix}") for kind in (shape.order or shape.kinds)]
    if shape.order is not None:
        return {"type": "array", "prefixItems": refs, "items": False, "minItems": len(refs), "maxItems": len(refs)}
    return _items(refs[0] if len(refs) == 1 else {"anyOf": refs}, most)


def _items(task: JsonValue, most: int | None) -> JsonObject:
    bound: JsonObject = {} if most is None else {"maxItems": most}
    return {"type": "array", "minItems": 1, **bound, "items": task}


def _or_null(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, dict(_NULL)]}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: JsonObject, required: Sequence[str]) -> JsonObject:
    return {"type": "object", "additionalProperties": False, "required": [*required], "properties": properties}
