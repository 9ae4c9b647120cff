"""JSON text that every database can hold.

A model may write NUL characters and half of a surrogate pair. PostgreSQL text takes neither NUL nor anything that is
not valid UTF-8, and a fast JSON encoder refuses the surrogates and integers beyond 64 bits. ASCII-escaped JSON holds all
of them, and reading gives the same value back. A number that JSON does not have (NaN, infinity) becomes null.
Source: RFC 8259 §7; ours.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

# In front of what the slower encoder wrote, and never of what the fast one did; to JSON it is only white space.
SLOW = " "


def dumps(value: Any) -> str:
    """Serialise; only values that need it pay for the slower encoder. Raises `TypeError` for what is not JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return SLOW + json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def loads(text: str) -> Any:
    """Read what `dumps` wrote, or the JSON of others. Raises `ValueError` for what is not JSON."""
    if text.startswith(SLOW):
        return json.loads(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # half of a surrogate pair, or nested deeply
