"""Regular expressions for the remaining piece of a step, so that whatever a model writes the document stays whole.

A tree has no bound on its depth, but a piece has: a text up to its closing quote, the choice of what comes next, a tool
with parameters, whether a list goes on. Each piece ends exactly where the program writes on or cuts, so no token reaches
over a bracket. Optional white space does not exist. `\\u` escapes are left out: every character can be written as
itself, and half a surrogate pair cannot be written at all. A regular expression needs no recursion from the server, and
what came can be checked by the same expression. A schema becomes an expression as far as it is finite: where it says
nothing, a value may be any JSON of two levels; bounds of size and number are for the tool to check.
Source: tim §5, §8; ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from runtime.errors import InvalidInput
from runtime.types import JsonObject

CHAR: Final = r'(?:[^"\\\x00-\x1f\x7f]|\\["\\/bfnrt])'
STRING: Final = f'"{CHAR}*"'
INTEGER: Final = "-?(?:0|[1-9][0-9]{0,14})"
NUMBER: Final = INTEGER + r"(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?"
SCALAR: Final = f"(?:{STRING}|{NUMBER}|true|false|null)"
# Bounds of length above this make large automata and small difference.
LEAST: Final = 3
# How far references of a schema are followed before a value may be anything.
_FOLLOWED: Final = 12
_SPECIAL: Final = frozenset("\\^$.|?*+()[]{}/")

SUBTASKS: Final = ',"subtasks":['
CONCLUSION: Final = ',"conclusion":'
RESULT: Final = ',"tool_result":'


def text(least_chars: int = 1) -> str:
    """The rest of a string whose opening quote is written, with its closing quote."""
    return f'{CHAR}{{{least_chars},}}"' if least_chars > 1 else f'{CHAR}+"'


def tool(name: str) -> str:
    """How the call of a tool begins, up to its parameters."""
    return f',"tooluse":{{"tool_name":{_json(name)},"parameters":'


def one_of(options: Sequence[str]) -> str:
    """One of several literal texts."""
    return "|".join(quoted(option) for option in options)


def value(schema: JsonObject) -> str:
    """A JSON value that fits `schema` without white space."""
    return _value(schema, schema, 0)


def quoted(literal: str) -> str:
    """A literal text, in the dialect that both Python and the server read."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in literal)


def anything(depth: int = 2) -> str:
    """Any JSON value of at most that many levels."""
    if depth == 0:
        return SCALAR
    inner = anything(depth - 1)
    return f"(?:{SCALAR}|{_array(inner)}|{_dictionary(inner)})"


def _value(schema: JsonValue, root: JsonObject, depth: int) -> str:
    if not isinstance(schema, dict) or depth > _FOLLOWED:
        return anything()
    if isinstance(at := schema.get("$ref"), str):
        return _value(_definition(at, root), root, depth + 1)
    if "const" in schema:
        return quoted(_json(schema["const"]))
    if isinstance(values := schema.get("enum"), list) and values:
        return "(?:" + "|".join(quoted(_json(each)) for each in values) + ")"
    for several in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(several), list) and options:
            return "(?:" + "|".join(_value(each, root, depth + 1) for each in options) + ")"
    if isinstance(parts := schema.get("allOf"), list) and len(parts) == 1:
        return _value(parts[0], root, depth + 1)
    if isinstance(kinds := schema.get("type"), list):
        return "(?:" + "|".join(_value({**schema, "type": kind}, root, depth + 1) for kind in kinds) + ")"
    match kinds:
        case "object":
            return _object(schema, root, depth)
        case "array":
            least = schema.get("minItems")
            return _array(_value(schema.get("items"), root, depth + 1), empty=not least)
        case "string":
            least = schema.get("minLength")
            return f'"{text(least)}' if isinstance(least, int) and 0 < least <= LEAST else STRING
        case "integer":
            return INTEGER
        case "number":
            return NUMBER
        case "boolean":
            return "(?:true|false)"
        case "null":
            return "null"
        case _:
            return _object(schema, root, depth) if "properties" in schema else anything()


def _object(schema: JsonObject, root: JsonObject, depth: int) -> str:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not properties:
        more = schema.get("additionalProperties")
        return r"\{\}" if more is False else _dictionary(_value(more, root, depth + 1) if more else anything())
    needed = set(required) if isinstance(required, list) else set()
    pairs = {name: f"{quoted(_json(name))}:{_value(part, root, depth + 1)}" for name, part in properties.items()}
    first = ",".join(pair for name, pair in pairs.items() if name in needed)
    optional = [pair for name, pair in pairs.items() if name not in needed]
    if first:
        return r"\{" + first + "".join(f"(?:,{pair})?" for pair in optional) + r"\}"
    starts = [pair + "".join(f"(?:,{other})?" for other in optional[n + 1 :]) for n, pair in enumerate(optional)]
    return r"\{(?:" + "|".join(starts) + r")?\}"


def _array(inner: str, *, empty: bool = True) -> str:
    return rf"\[(?:{inner}(?:,{inner})*){'?' if empty else ''}\]"


def _dictionary(inner: str) -> str:
    return rf"\{{(?:{STRING}:{inner}(?:,{STRING}:{inner})*)?\}}"


def _definition(at: str, root: JsonObject) -> JsonValue:
    found: JsonValue = root
    for name in at.removeprefix("#/").split("/"):
        key = name.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise InvalidInput(f"schema: the reference {at!r} leads nowhere; expected one of its own '$defs'")
        found = found[key]
    return found


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def literal(text: str) -> str:
    """What a JSON string whose opening quote is left out says. Raises `ValueError` when it is none."""
    said = json.loads(f'"{text}')
    if not isinstance(said, str):
        raise ValueError(f"{text[:80]!r}: expected the rest of a JSON string")
    return said
