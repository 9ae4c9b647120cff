"""The reference at /docs, made from the OpenAPI description and without anything fetched from outside. Source: ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Operation(NamedTuple):
    """One request that can be made."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, str]]
    fields: list[dict[str, str]]
    answers: list[tuple[str, str]]


def groups(spec: Mapping[str, Any]) -> list[tuple[str, list[Operation]]]:
    """Operations by tag, in the order of the description."""
    found: dict[str, list[Operation]] = {}
    for path, methods in spec["paths"].items():
        for method, one in methods.items():
            found.setdefault((one.get("tags") or ["other"])[0], []).append(_operation(spec, path, method, one))
    return list(found.items())


def _operation(spec: Mapping[str, Any], path: str, method: str, one: Mapping[str, Any]) -> Operation:
    body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return Operation(
        method=method.upper(),
        path=path,
        summary=one.get("summary", ""),
        description=one.get("description", ""),
        parameters=[
            {
                "name": parameter["name"],
                "where": parameter["in"],
                "type": _type(spec, parameter["schema"]),
                "needed": "yes" if parameter.get("required") else "",
            }
            for parameter in one.get("parameters", ())
        ],
        fields=_fields(spec, body),
        answers=[(code, answer.get("description", "")) for code, answer in one.get("responses", {}).items()],
    )


def _fields(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    whole = _resolved(spec, schema)
    return [
        {
            "name": name,
            "type": _type(spec, part),
            "needed": "yes" if name in whole.get("required", ()) else "",
            "default": json.dumps(part["default"]) if part.get("default") not in (None, [], {}) else "",
        }
        for name, part in whole.get("properties", {}).items()
    ]


def _resolved(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        found: Mapping[str, Any] = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    for part in schema.get("anyOf", ()):
        if part.get("type") != "null":
            return _resolved(spec, part)
    return schema


def _type(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(_type(spec, part) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return str(schema.get("type", "any JSON"))
