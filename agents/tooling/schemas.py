"""JSON schemas of tools: whether one can be used, without its hidden parameters, and what is wrong with parameters. Pure.

A schema may refer to its own parts only; nothing is fetched. Source: MCP 2025-11-25, tools; JSON Schema 2020-12; ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, Final

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from runtime.types import JsonObject

MAX_FAULTS: Final = 5
MAX_FAULT_CHARS: Final = 300


def fault_of_schema(schema: Mapping[str, Any]) -> str | None:
    """Why this cannot be the schema of parameters; None when it can."""
    if schema.get("type") != "object":
        return f"schema of type {schema.get('type')!r}, expected 'object'"
    if (wrong := malformed(schema)) is not None:
        return wrong
    foreign = next((ref for ref in _references(schema) if not ref.startswith("#")), None)
    return None if foreign is None else f"refers to {foreign!r}, expected references within the schema"


def malformed(schema: Mapping[str, Any]) -> str | None:
    """Why this is no JSON schema; None when it is one."""
    try:
        _kind(schema).check_schema(schema)
    except SchemaError as error:
        return f"not a JSON schema: {error.message[:MAX_FAULT_CHARS]}"
    return None


def without(schema: Mapping[str, Any], hidden: Collection[str]) -> JsonObject:
    """The schema without these properties."""
    kept = dict(schema)
    if hidden and isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {name: value for name, value in kept["properties"].items() if name not in hidden}
    if hidden and isinstance(kept.get("required"), list):
        kept["required"] = [name for name in kept["required"] if name not in hidden]
    return kept


def faults(schema: JsonObject, parameters: JsonValue) -> list[str]:
    """What is wrong with the parameters, or any value; at most five things in words that name the place, empty when
    nothing is. Raises what `jsonschema` raises for a schema that is `malformed`."""
    validator = _kind(schema)(schema, registry=Registry())
    found = []
    try:
        for error in validator.iter_errors(parameters):
            place = ".".join(map(str, error.absolute_path)) or "parameters"
            found.append(f"{place}: {error.message}"[:MAX_FAULT_CHARS])
            if len(found) == MAX_FAULTS:
                break
    except Unresolvable as error:
        found.append(f"the schema of the tool refers to {error.ref!r}, which does not exist")
    return found


_kind = partial(validator_for, default=Draft202012Validator)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name in ("$ref", "$dynamicRef"):
            if isinstance(value.get(name), str):
                yield value[name]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)
