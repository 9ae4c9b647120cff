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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import JsonValue
from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from memory import rows
from memory.access import Access
from memory.changes import MAX_CONTENT, MAX_NAME, plain
from memory.langgraph_text import WHOLE, corrected, render
from memory.lifecycle import lifetime_over
from memory.payloads import checked
from memory.tables import MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import SEARCHABLE, MemCube, State
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


def ref_of(cube: MemCube) -> Ref:
    """The name of an item."""
    return Ref(tuple(_name(part) for part in (cube.subject or "").split(".")), _name(cube.attribute or ""))


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


def item_of(cube: MemCube, updated_at: datetime | None = None) -> Item:
    """The memory as an item. Where a person has changed the text, the value says what the text says."""
    value = dict(cube.data)
    note = value.pop(NOTE, None)
    told = note if isinstance(note, dict) else {}
    fields = _fields(told.get("fields"))
    shown = (WHOLE,) if fields is False else fields
    if told.get("text") != _digest(cube.content) and cube.content != render(value, shown):
        value = corrected(value, shown, cube.content)
    ttl = told.get("ttl_minutes")
    return Item(
        cube,
        ref_of(cube),
        value,
        fields,
        float(ttl) if isinstance(ttl, int | float) and cube.expires_at is not None else None,
        updated_at or cube.updated_at,
    )


def is_item(cube: MemCube, prefix: Namespace = ()) -> bool:
    """Whether the memory is an item at or below the namespace."""
    path = subject_of(prefix)
    subject = cube.subject
    if cube.watermark != MARK or subject is None or cube.attribute is None:
        return False
    return not path or subject == path or subject.startswith(f"{path}.")


def is_there(cube: MemCube, now: datetime) -> bool:
    """Whether a graph may see it: not held back, and its time is not up."""
    return cube.state in SEARCHABLE and not lifetime_over(cube.state, cube.expires_at, cube.sensitivity, now)


def find(
    tx: Tx, allowed: Access, refs: Collection[Ref], states: Collection[State] = SEARCHABLE
) -> dict[Ref, list[MemCube]]:
    """The memories of these names, the newest first: in the end one each, two while two processes put it at once."""
    found: dict[Ref, list[MemCube]] = {}
    for namespace, keys in _grouped(refs).items():
        for start in range(0, len(keys), PAGE):
            query = rows.SELECT.where(
                _marked(allowed),
                MemoryRow.state.in_(sorted(states)),
                MemoryRow.subject == subject_of(namespace),
                MemoryRow.attribute.in_([attribute_of(key) for key in keys[start : start + PAGE]]),
            )
            for row in tx.connection.execute(_ordered(query)):
                cube = rows.cube(row, tx.now)
                if allowed.sees(cube.sensitivity):
                    found.setdefault(ref_of(cube), []).append(cube)
    return found


def newest(
    tx: Tx, allowed: Access, prefix: Namespace, fits: Callable[[Item], bool], without: Collection[Ref] = ()
) -> Iterator[MemCube]:
    """The memories at and below a namespace whose item fits, the last changed first, each name once."""
    seen = set(without)
    ordered = _ordered(select(MemoryRow.seq).where(_marked(allowed), MemoryRow.state.in_(sorted(SEARCHABLE))))
    query = ordered.where(_below(prefix))
    start, size = 0, PAGE
    while True:
        seqs = list(tx.connection.execute(query.offset(start).limit(size)).scalars())
        for part in range(0, len(seqs), PAGE):
            cubes = rows.cubes_by_seq(tx, seqs[part : part + PAGE])
            for cube in (cubes[seq] for seq in seqs[part : part + PAGE] if seq in cubes):
                if not (allowed.sees(cube.sensitivity) and is_there(cube, tx.now)):
                    continue
                item = item_of(cube)
                if item.ref not in seen:
                    seen.add(item.ref)
                    if fits(item):
                        yield cube
        if len(seqs) < size:
            return
        # Few pages in a large namespace, and no more than is needed of it in the usual case.
        start, size = start + size, size * 8


def items_of(tx: Tx, cubes: Sequence[MemCube]) -> list[Item]:
    """The memories as items. Putting off the end of one that was read is a version, but no change of the item."""
    mortal = [cube.id for cube in cubes if cube.expires_at is not None]
    changed: dict[str, datetime] = {}
    for start in range(0, len(mortal), rows.IN_ONE_QUERY):
        query = (
            select(VersionRow.memory_id, func.max(VersionRow.sys_from).label("at"))
            .where(VersionRow.memory_id.in_(mortal[start : start + rows.IN_ONE_QUERY]), VersionRow.change != "state")
            .group_by(VersionRow.memory_id)
        )
        changed |= {row.memory_id: row.at for row in tx.connection.execute(query)}
    return [item_of(cube, changed.get(cube.id)) for cube in cubes]


def namespaces(tx: Tx, allowed: Access, prefix: Namespace = ()) -> set[Namespace]:
    """Every namespace at or below `prefix` that holds an item which the actor may see."""
    columns = (MemoryRow.subject, MemoryRow.sensitivity) if allowed.masked else (MemoryRow.subject,)
    query = select(*columns).where(
        _marked(allowed),
        MemoryRow.state.in_(SEARCHABLE),
        # A frozen one is never over but for a sensitive text, and that is for the sweep to say here.
        or_(MemoryRow.expires_at.is_(None), MemoryRow.expires_at > tx.now, MemoryRow.state == "frozen"),
        _below(prefix),
    )
    if not allowed.masked:
        query = query.distinct()
    found = tx.connection.execute(query)
    return {
        tuple(_name(part) for part in row.subject.split("."))
        for row in found
        if not allowed.masked or allowed.sees(row.sensitivity)
    }


def _ordered(query: Select[Any]) -> Select[Any]:
    return query.order_by(MemoryRow.updated_at.desc(), MemoryRow.seq.desc())


def _marked(allowed: Access) -> ColumnElement[bool]:
    return and_(
        MemoryRow.vault_id == allowed.vault.id,
        MemoryRow.watermark == MARK,
        MemoryRow.subject.is_not(None),
        MemoryRow.attribute.is_not(None),
    )


def _below(prefix: Namespace) -> ColumnElement[bool]:
    path = subject_of(prefix)
    if not path:
        return and_(True)
    # Not LIKE: SQLite's knows no difference between upper and lower case.
    return or_(MemoryRow.subject == path, func.substr(MemoryRow.subject, 1, len(path) + 1) == f"{path}.")


def _grouped(refs: Collection[Ref]) -> dict[Namespace, list[str]]:
    grouped: dict[Namespace, list[str]] = {}
    for ref in dict.fromkeys(refs):
        grouped.setdefault(ref.namespace, []).append(ref.key)
    return grouped


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
