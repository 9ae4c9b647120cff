"""What can be saved of a reply that was cut off or is not quite JSON: everything before the first fault.

A reply is one JSON object, bound to the flat schema of its step. `repair` reads it field by field and stops at the
first fault; `remaining` is the schema that asks for the rest. A field is whole or it is not there, an object too: half
an action is no action. Nothing is invented, and nothing behind a fault is believed. Whether a whole field is of the
right type is for the one to say who reads it. Source: TIM §5, rows 1-3.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from pydantic import JsonValue

from runtime.types import JsonObject

NO_THOUGHT: Final = "(no thought)"
UNPARSABLE: Final = "error: unparsable step"
"""What stands in the place of a thought and of a conclusion that could not be read."""

_CANDIDATES: Final = 32
_OBJECT = re.compile(r'\{(?=\s*(?:"|\}|$))')
_SPACE = re.compile(r"\s*")
_NUMBER_ENDS = re.compile(r"[\s,}]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|(?P<open>\\?\Z))', re.DOTALL)
_HALF = re.compile(r"(?:\\u[0-9a-fA-F]{0,3}|\\|\\u[dD][89abAB][0-9a-fA-F]{2}|[\ud800-\udbff]|\ufffd)\Z")
_LONE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Repair:
    """`kept`: the whole fields in the order of the reply. `broken`: the first of the schema that is cut or missing."""

    kept: JsonObject
    broken: str | None


@dataclass(frozen=True, slots=True)
class _Read:
    """An object as far as it could be read. `cut`: the name of a field whose value could not."""

    fields: JsonObject
    cut: str | None = None


def repair(text: str, schema: JsonObject) -> Repair:
    """Read the object that `text` holds or begins, also after prose or a code fence. Never raises.

    Of several objects the first with a field of `schema` counts; fields that `schema` does not know are dropped. When
    every required field is there and none is cut, nothing is broken, even if the closing brace is missing.
    """
    known = _known(schema)
    read = _Read({})
    for match in list(_OBJECT.finditer(text))[:_CANDIDATES]:
        found = _read(text, match.start())
        if found.cut in known or any(name in known for name in found.fields):
            read = found
            break
    kept = {name: value for name, value in read.fields.items() if name in known and name != read.cut}
    owed = [name for name in known if name not in kept and (name == read.cut or name in _required(schema))]
    return Repair(kept, owed[0] if owed else None)


def remaining(schema: JsonObject, kept: JsonObject) -> JsonObject:
    """The schema of what a broken reply still owes: `schema` without the fields that are kept."""
    properties = schema.get("properties")
    rest: JsonObject = {} if not isinstance(properties, dict) else {**properties}
    required: list[JsonValue] = [name for name in _required(schema) if name not in kept]
    return {
        **schema,
        "properties": {name: part for name, part in rest.items() if name not in kept},
        "required": required,
    }


def close_string(text: str) -> str:
    """`text` with the closing quote of the JSON string that is open at its end; a half character or escape is dropped.

    `text` is JSON up to somewhere: the literal alone or the document around it. Without an open string it is unchanged.
    """
    if not any(match["open"] is not None for match in _STRING.finditer(text)):
        return text
    while half := _half(text):
        text = text[: -len(half)]
    return f'{text}"'


def _half(text: str) -> str:
    """What stands at the end of an open string and is not a whole character yet; empty when it is one."""
    match = _HALF.search(text)
    if match is None:
        return ""
    half, before = match.group(), text[: match.start()]
    # A backslash that is itself escaped begins nothing.
    escaped = half.startswith("\\") and (len(before) - len(before.rstrip("\\"))) % 2 == 1
    return "" if escaped else half


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Not strict: a line break within a string is what models that are not bound to a grammar write most often.
_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)


def _read(text: str, start: int) -> _Read:
    """Read the object that opens at `start`, as far as it is JSON."""
    fields: JsonObject = {}
    at = _skip(text, start + 1)
    while text[at : at + 1] == '"':
        try:
            name, at = _DECODER.raw_decode(text, at)
        except ValueError:
            break
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            break
        begin = _skip(text, at + 1)
        try:
            value, at = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return _Read(fields, name)
        # A number may go on behind a cut: it is whole only when something follows that cannot belong to it.
        if text[begin] in "-0123456789" and not _NUMBER_ENDS.match(text, at):
            return _Read(fields, name)
        fields[name] = _sound(value)
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            break
        at = _skip(text, at + 1)
    return _Read(fields)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _sound(value: JsonValue) -> JsonValue:
    """`value` without lone surrogates, which an escape can write and no encoding can store."""
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_sound(part) for part in value]
    if isinstance(value, dict):
        return {_LONE.sub("\ufffd", name): _sound(part) for name, part in value.items()}
    return value


def _known(schema: JsonObject) -> dict[str, None]:
    """The names of the schema in its order."""
    properties = schema.get("properties")
    return dict.fromkeys([*(properties if isinstance(properties, dict) else ()), *_required(schema)])


def _required(schema: JsonObject) -> list[str]:
    required = schema.get("required")
    return [str(name) for name in required] if isinstance(required, list) else []
