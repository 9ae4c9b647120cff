"""The typed part of a memory (`data`) as a person reads it: the signature of a concept, the situation of a lesson, the
arguments of a tool. Pure: wire values in, values for templates out. Source: design ui (Memory); arc_memo §3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

# In this order; what is not named here follows as it is.
ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "concept": ("description", "cues", "implementation", "used_in"),
    "lesson": ("situation", "suggestion", "source"),
    "experience": ("insight", "problem", "category", "op", "reward", "method", "keys", "lineage"),
    "tool_trace": ("tool", "arguments", "result", "ok"),
    "file": ("path", "language"),
    "memory_point": ("vertices", "passages", "order"),
}
IN_SIGNATURE: Final = frozenset({"concept", "kind", "routine_subtype", "output_typing", "parameters"})


@dataclass(frozen=True, slots=True)
class Part:
    """A name with a text, a list of texts, or something that is best read as JSON (`code`)."""

    name: str
    text: str = ""
    items: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a concept."""

    name: str
    typing: str
    description: str


@dataclass(frozen=True, slots=True)
class Typed:
    """`signature`: how a concept is called, for a concept that says it."""

    signature: str
    parameters: tuple[Parameter, ...]
    parts: tuple[Part, ...]


def shown_data(semantic_type: str, data: Mapping[str, JsonValue]) -> Typed:
    """The parts of `data` in the order in which they are read; whatever a model wrote there can be shown."""
    signature = ""
    parameters: tuple[Parameter, ...] = ()
    names = list(data)
    if semantic_type == "concept" and isinstance(data.get("concept"), str):
        signature, parameters = _signature(data)
        names = [name for name in names if name not in IN_SIGNATURE]
    order = ORDER.get(semantic_type, ())
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return Typed(
        signature, parameters, tuple(_part(name, data[name]) for name in names if data[name] not in (None, "", [], {}))
    )


def _signature(data: Mapping[str, JsonValue]) -> tuple[str, tuple[Parameter, ...]]:
    given = data.get("parameters")
    parameters = tuple(
        Parameter(str(one.get("name", "?")), str(one.get("typing") or "?"), str(one.get("description") or ""))
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict)
    )
    inside = ", ".join(f"{one.name}: {one.typing.partition(':=')[0].strip()}" for one in parameters)
    result = data.get("output_typing")
    return f"{data['concept']}({inside})" + (f" → {result}" if result else ""), parameters


def _part(name: str, value: JsonValue) -> Part:
    label = name.replace("_", " ")
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return Part(label, items=tuple(str(one) for one in value))
    if isinstance(value, str) and "\n" in value:
        return Part(label, code=value)
    if isinstance(value, dict | list):
        return Part(label, code=json.dumps(value, ensure_ascii=False, indent=2))
    return Part(label, text=str(value) if not isinstance(value, bool) else ("yes" if value else "no"))
