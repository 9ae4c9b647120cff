"""LangGraph's items as memories: how an item is kept, how it is read back, and the queries over them.

    namespace   `subject`, its labels joined by dots (which no label holds), and one tag for each of its beginnings, by which
                the indexes can be asked for a namespace with all that is below it
    key         `attribute`
    value       `data`, with a note of our own under `NOTE`; its text, as langgraph_text.py writes it, is the content
    index       `fields` in the note; False there: shown to people, left out of what a question is compared with
    ttl         minutes in the note, and `expires_at`
    created_at  `recorded_at`

All carry the watermark `MARK`, so that other memories of the vault are never taken for items, and are pinned, because what
a graph put stays until it is deleted or its time is up. People may edit everything: a corrected text comes out as a
corrected value, another subject moves the item to another namespace. Source: ours; langgraph.store.base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import JsonValue

from memory.changes import MAX_CONTENT, MAX_NAME, plain
from memory.langgraph_text import WHOLE, corrected, render
from memory.payloads import checked
from memory.types import MemCube
from runtime.errors import InvalidInput

MARK: Final = "langgraph"
NOTE: Final = "$langgraph"
PAGE: Final = 200
Namespace = tuple[str, ...]
Fields = tuple[str, ...] | Literal[False]


class Ref(NamedTuple):
    """What names an item."""

    namespace: Namespace
    key: str


@dataclass(frozen=True, slots=True)
class Item:
    """A memory as LangGraph sees it. `updated_at` is the last put or the last correction by a person."""

    cube: MemCube
    ref: Ref
    value: dict[str, JsonValue]
    fields: Fields
    ttl_minutes: float | None
    updated_at: datetime


class Told(NamedTuple):
    """What a memory says as an item."""

    value: dict[str, JsonValue]
    fields: Fields
    ttl_minutes: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A value as it is stored: the text for people and indexes, and the data with its note."""

    content: str
    data: dict[str, JsonValue]


def subject_of(namespace: Namespace) -> str:
    """A namespace as it is stored; the labels hold no dot."""
    return ".".join(_named(label) for label in namespace)


def attribute_of(key: str) -> str:
    """A key as it is stored."""
    return _named(key)


def ref_of(subject: str | None, attribute: str | None) -> Ref:
    """The name that these stand for."""
    return Ref(namespace_of(subject or ""), _name(attribute or ""))


def namespace_of(subject: str) -> Namespace:
    """Back from `subject_of`."""
    return tuple(_name(part) for part in subject.split("."))


def check_name(ref: Ref) -> None:
    """Raise `InvalidInput` for a namespace or a key that cannot be stored."""
    plain("namespace", subject_of(ref.namespace), MAX_NAME)
    plain("key", attribute_of(ref.key), MAX_NAME)


def can_be(ref: Ref) -> bool:
    """Whether there can be an item of that name at all."""
    try:
        check_name(ref)
    except InvalidInput:
        return False
    return bool(ref.namespace)


def tags_of(namespace: Namespace) -> tuple[str, ...]:
    """One tag for every beginning of the namespace, the empty one first."""
    return tuple(tag_of(namespace[:depth]) for depth in range(len(namespace) + 1))


def tag_of(prefix: Namespace) -> str:
    """The tag of everything at and below a namespace; one that cannot stand in a tag as it is becomes a digest."""
    path = subject_of(prefix)
    if not path:
        return MARK
    tag = f"{MARK}:{path}"
    if len(tag) <= MAX_NAME and tag.isprintable() and tag == tag.strip():
        return tag
    return f"{MARK}#{hashlib.sha256(path.encode(errors='surrogatepass')).hexdigest()}"


def kept(ref: Ref, value: Mapping[str, Any], fields: Fields, ttl_minutes: float | None) -> Kept:
    """How a value is stored. Raises `InvalidInput` for one that is no JSON object, or holds what no database does."""
    data = _json(value)
    shown = (WHOLE,) if fields is False else fields
    content = render(data, shown)
    if not content.strip():
        content = f"{'.'.join(ref.namespace)} {ref.key}"
    note: dict[str, JsonValue] = {"text": _digest(content)}
    if fields != (WHOLE,):
        note["fields"] = False if fields is False else list(fields)
    if ttl_minutes is not None:
        note["ttl_minutes"] = ttl_minutes
    return Kept(plain("value", content, MAX_CONTENT), checked("document", {**data, NOTE: note}))


def told_of(content: str, data: Mapping[str, JsonValue]) -> Told:
    """What a text and its data say. Where a person has changed the text, the value says what the text says."""
    value = dict(data)
    note = value.pop(NOTE, None)
    told = note if isinstance(note, dict) else {}
    fields = _fields(told.get("fields"))
    shown = (WHOLE,) if fields is False else fields
    if told.get("text") != _digest(content) and content != render(value, shown):
        value = corrected(value, shown, content)
    ttl = told.get("ttl_minutes")
    return Told(value, fields, float(ttl) if isinstance(ttl, int | float) else None)


def item_of(cube: MemCube, updated_at: datetime) -> Item:
    """The memory as an item."""
    told = told_of(cube.content, cube.data)
    ttl = told.ttl_minutes if cube.expires_at is not None else None
    return Item(cube, ref_of(cube.subject, cube.attribute), told.value, told.fields, ttl, updated_at)


def is_item(cube: MemCube, prefix: Namespace = ()) -> bool:
    """Whether the memory is an item at or below the namespace."""
    path = subject_of(prefix)
    subject = cube.subject
    if cube.watermark != MARK or subject is None or cube.attribute is None:
        return False
    return not path or subject == path or subject.startswith(f"{path}.")


def _fields(told: JsonValue) -> Fields:
    if told is False:
        return False
    if isinstance(told, list):
        return tuple(str(field) for field in told)
    return (WHOLE,)


def _json(value: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The value as LangGraph's own database stores keep it: tuples become lists, times become text."""
    try:
        made = orjson.loads(orjson.dumps(dict(value)))
    except TypeError as error:
        raise InvalidInput(
            f"value: {error}; expected a dict with text as keys, of what JSON can say", param="value"
        ) from error
    if NOTE in made:
        raise InvalidInput(f"value: the key {NOTE!r} is the store's own; name yours otherwise", param=f"value.{NOTE}")
    if "\0" in orjson.dumps(made).decode().replace("\\\\", "").replace("\\u0000", "\0"):
        raise InvalidInput("value: holds a NUL character, which no text has; remove it", param="value")
    return dict(made)


def _named(name: str) -> str:
    """A name as a column holds it: quoted where its blanks at the ends, or that there is nothing, would be lost."""
    return name if name and name == name.strip() and name[0] != '"' else json.dumps(name, ensure_ascii=False)


def _name(stored: str) -> str:
    try:
        name = json.loads(stored) if stored.startswith('"') else stored
    except ValueError:
        return stored
    return name if isinstance(name, str) else stored


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:16]
