"""The smallest value that a JSON schema allows, always the same one: what the scripted model answers when it must.

Covers the schemas that pydantic writes: types, enum, const, unions, references, bounds on size and number. A `pattern`
cannot be met in general and is left unmet. Source: JSON Schema 2020-12; ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from runtime.types import JsonObject

_MAX_DEPTH = 64


def minimal_instance(schema: JsonObject) -> JsonValue:
    """A value valid against `schema`: required properties only, empty where that is allowed.

    Raises `ValueError` for a reference that leads nowhere and for a schema that only an endless value could meet.
    """
    return _build(schema, schema, 0)


def _build(schema: JsonValue, root: JsonObject, depth: int) -> JsonValue:
    if depth > _MAX_DEPTH:
        raise ValueError("the schema has no finite instance: a required part contains itself")
    if not isinstance(schema, dict):
        return None  # `true`: anything goes.
    if "$ref" in schema:
        return _build(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    for choice in ("enum", "examples"):
        values = schema.get(choice)
        if isinstance(values, list) and values:
            return values[0]
    for union in ("anyOf", "oneOf"):
        options = schema.get(union)
        if isinstance(options, list) and options:
            return _smallest_option(options, root, depth)
    parts = schema.get("allOf")
    if isinstance(parts, list) and parts:
        return _build(_merged(schema, parts, root), root, depth + 1)
    return _of_type(schema, root, depth)


def _smallest_option(options: list[JsonValue], root: JsonObject, depth: int) -> JsonValue:
    """The first option that is not null and has an instance; an option may lead back to the union itself."""
    nothing = {"type": "null"}
    for option in [option for option in options if option != nothing]:
        try:
            return _build(option, root, depth + 1)
        except ValueError:
            continue  # Without a finite instance it is not an option.
    if nothing in options:
        return None
    raise ValueError(f"none of the options {options!r} has an instance")


def _of_type(schema: JsonObject, root: JsonObject, depth: int) -> JsonValue:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "string":
            return "x" * max(1, _whole(schema, "minLength"))
        case "boolean":
            return False
        case "integer":
            return math.ceil(_number(schema, step=1))
        case "number":
            return _number(schema, step=0.5)
        case None if "properties" in schema:
            return _object(schema, root, depth)
    return None


def _object(schema: JsonObject, root: JsonObject, depth: int) -> JsonValue:
    properties, required = schema.get("properties"), schema.get("required")
    known: Mapping[str, JsonValue] = properties if isinstance(properties, dict) else {}
    names = [str(name) for name in required] if isinstance(required, list) else []
    return {name: _build(known.get(name, True), root, depth + 1) for name in names}


def _array(schema: JsonObject, root: JsonObject, depth: int) -> JsonValue:
    first, least = schema.get("prefixItems"), _whole(schema, "minItems")
    items: list[JsonValue] = [_build(part, root, depth + 1) for part in first] if isinstance(first, list) else []
    while len(items) < least:
        items.append(_build(schema.get("items", True), root, depth + 1))
    return items


def _number(schema: JsonObject, *, step: float) -> float:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    lowest = max((float(cast(float, v)) for v in (low,) if v is not None), default=-math.inf)
    if above is not None:
        lowest = max(lowest, float(cast(float, above)) + step)
    highest = min((float(cast(float, v)) for v in (high,) if v is not None), default=math.inf)
    if below is not None:
        highest = min(highest, float(cast(float, below)) - step)
    value = min(max(0.0, lowest), highest)
    multiple = schema.get("multipleOf")
    if isinstance(multiple, int | float) and multiple:
        value = math.ceil(value / multiple) * multiple
    return value


def _whole(schema: JsonObject, name: str) -> int:
    value = schema.get(name)
    return value if isinstance(value, int) else 0


def _resolve(ref: str, root: JsonObject) -> JsonValue:
    found: JsonValue = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if key and (not isinstance(found, dict) or key not in found):
            raise ValueError(f"schema reference {ref!r} leads nowhere")
        found = found[key] if key and isinstance(found, dict) else found
    return found


def _merged(schema: JsonObject, parts: list[JsonValue], root: JsonObject) -> JsonObject:
    merged: JsonObject = {key: value for key, value in schema.items() if key != "allOf"}
    properties: JsonObject = {}
    required: list[JsonValue] = []
    for part in [*parts, dict(merged)]:
        resolved = _resolve(str(part["$ref"]), root) if isinstance(part, dict) and "$ref" in part else part
        if not isinstance(resolved, dict):
            continue
        merged = {**merged, **resolved}
        if isinstance(inner := resolved.get("properties"), dict):
            properties.update(inner)
        if isinstance(names := resolved.get("required"), list):
            required.extend(name for name in names if name not in required)
    if properties:
        merged["properties"] = properties
        merged["required"] = required
    return merged
