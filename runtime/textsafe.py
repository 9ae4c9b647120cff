"""JSON text that every database can hold.

A model may write NUL characters and half of a surrogate pair. PostgreSQL text takes neither NUL nor anything that is
not valid UTF-8, and a fast JSON encoder refuses the surrogates. ASCII-escaped JSON holds both, since they stand in it
as the six characters of their escape, and reading gives the same string back. Source: RFC 8259 §7; ours.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Serialise; only strings that need it pay for the slower encoder. Raises `TypeError` for what is not JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def loads(text: str) -> Any:
    """Read what `dumps` wrote."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
