"""The facts: the only writer of memories and of all that follows from them.

Each function works inside the caller's transaction. A change of a memory writes its row, a version, its nodes in the
hypergraph, its full-text row, its vector and the outbox entry together, so that after a crash either all of it is there
or none. `version` is the optimistic lock: an edit names the version that it saw. Source: memos §2.2, §3.1, §3.4; design
storage §6.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from memory import incidence, payloads, rows, text, versions
from memory.codecs import blob
from memory.indices import lexical
from memory.lifecycle import next_state
from memory.tables import ArtifactRow, BlobRow, EdgeRow, MemoryRow, OutboxRow, SourceRow, VersionRow
from memory.tx import Tx
from memory.types import LIVE, ChangeKind, Draft, EdgeType, MemCube, Source, Version
from runtime.errors import Conflict, Gone, InvalidInput, Stale, UnknownName
from runtime.ids import new_id

Vectors = Mapping[str, NDArray[np.float32]]
DELETED_KEPT = timedelta(days=30)
EXPIRED_KEPT = timedelta(days=7)
# Changes of these alter what the full-text row or the vector is made from.
LEXICAL = frozenset({"content", "title", "speaker", "entities", "subject", "attribute", "tags", "data"})
IDENTITY = frozenset({"content", "semantic_type", "subject", "attribute", "session_id", "position"})
# Of these there is one current statement about an attribute of a subject; a newer one takes its place.
SLOTTED = ("fact", "preference")
CUBE = frozenset(item.name for item in fields(MemCube))
SOURCE = tuple(item.name for item in fields(Source))
# Made once: building a statement takes longer than the database does for it.
INSERT_VERSIONS = insert(VersionRow)
INSERT_SOURCES = insert(SourceRow)
INSERT_BLOBS = insert(BlobRow)
INSERT_OUTBOX = insert(OutboxRow)
INSERT_MEMORIES = {
    dialect: make(MemoryRow)
    .on_conflict_do_nothing(
        index_elements=["vault_id", "content_hash"], index_where=MemoryRow.content_hash.is_not(None)
    )
    .returning(MemoryRow.id, MemoryRow.seq)
    for dialect, make in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


@dataclass(frozen=True, slots=True)
class Past:
    """What a memory was before it came into this vault: every version, the oldest first, of which the last is what the draft
    says, and the sources of each by its number."""

    versions: tuple[Version, ...]
    sources: tuple[tuple[int, Source], ...]
    created_by: str
    placed: bool


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A draft that was admitted, with its id and its vector in every profile that is written. With a `past` it goes on at
    the version it had, and history and times are those it had."""

    id: str
    vault_id: str
    draft: Draft
    provenance_id: str
    vectors: Vectors = field(default_factory=dict)
    reason: str = ""
    past: Past | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of a draft: the new memory, or the live one of the same words that was there."""

    cube: MemCube
    duplicate: bool


def insert_all(tx: Tx, new: Sequence[NewMemory]) -> list[Inserted]:
    """Store memories; the answer is in their order. An exact duplicate gives the memory that is there already."""
    positions = _positions(tx, new)
    values = [_row_of(tx, item, position) for item, position in zip(new, positions, strict=True)]
    seqs = _insert_rows(tx, values)
    fresh = [item for item in new if item.id in seqs]
    by_id = {row["id"]: row for row in values}
    made = {item.id: _made(by_id[item.id], seqs[item.id]) for item in fresh}
    if fresh:
        tx.connection.execute(
            INSERT_VERSIONS,
            [row for i in fresh for row in _history(tx, i, made[i.id], by_id[i.id]["digest_key"])],
        )
        _write_sources(tx, [given for i in fresh for given in _sources(i, made[i.id])])
        incidence.add(tx, [made[i.id] for i in fresh])
        lexical.add_many(tx.connection, [text_row(made[item.id]) for item in fresh])
        _write_blobs(tx, [(made[item.id], item.vectors) for item in fresh])
        enqueue(tx, [made[item.id] for item in fresh])
    return [
        Inserted(made[item.id], duplicate=False)
        if item.id in made
        else Inserted(_duplicate_of(tx, by_id[item.id]), duplicate=True)
        for item in new
    ]


def get(tx: Tx, memory_id: str) -> MemCube:
    """The memory as it is, without an access decision. Raises `UnknownName`."""
    cube = rows.cubes(tx, [memory_id]).get(memory_id)
    if cube is None:
        raise UnknownName(f"memory {memory_id!r}: not found")
    return cube


def many(tx: Tx, ids: Sequence[str]) -> dict[str, MemCube]:
    """The memories as they are; unknown ids are left out."""
    return rows.cubes(tx, ids)


def change(
    tx: Tx,
    cube: MemCube,
    *,
    kind: ChangeKind,
    reason: str = "",
    expect: int | None = None,
    vectors: Vectors | None = None,
    sources: Sequence[Source] = (),
    **new: Any,
) -> MemCube:
    """Make the next version of `cube` with the header fields and `content` in `new`, and return it.

    `expect` is the version that the caller saw; None takes that of `cube`. Without a vector for a new text the relay
    embeds it. Raises `Stale` when somebody else was faster, `Conflict` for a frozen memory or a text that another live
    memory of the vault already has.
    """
    if expect is not None and expect != cube.version:
        raise stale(cube, expect)
    if not cube.content:
        raise Gone(f"memory {cube.id!r} was purged; nothing of it is left")
    if cube.state == "frozen" and kind != "state":
        raise Conflict(f"memory {cube.id!r} is frozen; unfreeze it before you change it", param="state")
    after = replace(cube, version=cube.version + 1, updated_at=tx.now, **new)
    changed = {name for name in new if getattr(after, name) != getattr(cube, name)}
    values: dict[str, Any] = {name: _stored(after, name) for name in changed}
    if changed & (IDENTITY | {"state"}):
        values |= identity(tx, cube, after)
    if "content" in changed:
        values["simhash"] = text.simhash(after.content)
    done = tx.connection.execute(
        update(MemoryRow)
        .where(MemoryRow.seq == cube.seq, MemoryRow.version == cube.version)
        .values(version=after.version, updated_at=tx.now, vector_state="pending", **values)
    )
    if done.rowcount != 1:
        raise stale(get(tx, cube.id), cube.version)
    versions.add(tx, after, change=kind, reason=reason)
    _write_sources(tx, [(after, source) for source in sources])
    if "entities" in changed:
        incidence.remove(tx, [cube.seq])
        incidence.add(tx, [after])
    if changed & LEXICAL:
        lexical.put_many(tx.connection, [text_row(after)])
    if "content" in changed or vectors:
        _replace_blobs(tx, after, vectors or {})
        tx.connection.execute(
            update(ArtifactRow)
            .where(ArtifactRow.memory_id == cube.id, ArtifactRow.state != "evicted")
            .values(state="stale")
        )
    enqueue(tx, [after])
    return replace(after, vector_state="pending")


def move(
    tx: Tx,
    cube: MemCube,
    event: str,
    *,
    expect: int | None = None,
    reason: str = "",
    by_owner: bool = True,
    kind: ChangeKind = "state",
    vectors: Vectors | None = None,
    **new: Any,
) -> MemCube:
    """Let `event` happen to the memory (memory/lifecycle.py). Raises `Conflict` for a move that there is not, `Stale`."""
    if expect is not None and expect != cube.version:
        raise stale(cube, expect)
    state = next_state(cube.state, event, superseded=cube.superseded_at is not None, by_owner=by_owner)
    if state == "deleted":
        new |= {"deleted_at": tx.now, "purge_after": tx.now + DELETED_KEPT}
    elif state == "expired":
        new |= {"purge_after": tx.now + EXPIRED_KEPT}
    elif state == "activated":
        new = {"superseded_at": None, "deleted_at": None, "purge_after": None} | new
        if cube.state == "expired" and cube.expires_at is not None and cube.expires_at <= tx.now:
            new.setdefault("expires_at", None)
    if state in {"deleted", "expired"}:
        # A vector tells nearly as much as the text; after a restore it is made again.
        tx.connection.execute(delete(BlobRow).where(BlobRow.memory_seq == cube.seq))
        # Its files were made from a text that may not be used any more.
        tx.connection.execute(
            update(ArtifactRow)
            .where(ArtifactRow.memory_id == cube.id, ArtifactRow.state != "evicted")
            .values(state="stale")
        )
    return change(tx, cube, kind=kind, reason=reason or event, vectors=vectors, state=state, **new)


def supersede(tx: Tx, old: MemCube, new: MemCube, *, reason: str = "") -> MemCube:
    """Close `old` because `new` is true from its `valid_from` on; both stay readable. Raises as `move` does."""
    closed = new.valid_from or new.occurred_at or tx.now
    link(tx, new.id, old.id, "SUPERSEDES")
    return move(tx, old, "supersede", reason=reason or f"superseded by {new.id}", valid_to=closed, superseded_at=tx.now)


def same_slot(tx: Tx, cube: MemCube) -> list[MemCube]:
    """The other current statements of the vault about the same attribute of the same subject."""
    if cube.subject is None or cube.attribute is None or cube.semantic_type not in SLOTTED:
        return []
    query = rows.SELECT.where(
        MemoryRow.vault_id == cube.vault_id,
        MemoryRow.subject == cube.subject,
        MemoryRow.attribute == cube.attribute,
        MemoryRow.semantic_type == cube.semantic_type,
        MemoryRow.state == "activated",
        MemoryRow.seq != cube.seq,
    )
    return [rows.cube(row, tx.now) for row in tx.connection.execute(query)]


def link(tx: Tx, src_id: str, dst_id: str, edge: EdgeType, weight: float = 1.0) -> None:
    """Link two memories; the same link twice is one, with the later weight. Raises `InvalidInput`."""
    if src_id == dst_id:
        raise InvalidInput(f"memory {src_id!r}: cannot be linked to itself", param="to")
    make = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    row = make(EdgeRow).values(src_id=src_id, dst_id=dst_id, type=edge, weight=weight, at=tx.now)
    tx.connection.execute(
        row.on_conflict_do_update(index_elements=["src_id", "dst_id", "type"], set_={"weight": weight, "at": tx.now})
    )


def enqueue(tx: Tx, cubes: Sequence[MemCube]) -> None:
    """Have the memories carried into the indexes (memory/upkeep/outbox.py); part of every change, and of a repair."""
    if cubes:
        tx.connection.execute(
            INSERT_OUTBOX, [{"memory_id": c.id, "op": "sync", "version": c.version, "attempts": 0} for c in cubes]
        )


def text_row(cube: MemCube) -> lexical.LexicalRow:
    """What full text holds of the memory."""
    named = (cube.title, cube.speaker, cube.subject, cube.attribute, *cube.entities, *cube.tags)
    named += payloads.names(cube.semantic_type, cube.data)
    return lexical.LexicalRow(cube.seq, cube.vault_id, cube.content, " ".join(name for name in named if name))


def words_hash(item: Draft | MemCube, placed: bool) -> str:
    """Two live memories of a vault cannot have the same: it is the same words about the same thing. `placed`: the writer
    gave the position in the session, so that the same words at another place are another memory. Methods that learn apart
    in one vault (`data.method`) may each have learned the same."""
    place = (item.session_id, item.position) if placed else (None, None)
    method = item.data.get("method") if item.semantic_type == "experience" else None
    kind = item.semantic_type if method is None else f"{item.semantic_type} of {method}"
    return text.content_hash(item.content, repr((kind, item.subject, item.attribute, *place)))


def stale(cube: MemCube, expected: int) -> Stale:
    """The error for an edit of a version that is not the current one."""
    return Stale(
        f"memory {cube.id!r} is at version {cube.version}, you expected {expected}; read it and edit again",
        expected=expected,
        current=cube.version,
    )


def _row_of(tx: Tx, item: NewMemory, position: int | None) -> dict[str, Any]:
    draft, past = item.draft, item.past
    placed = past.placed if past else draft.session_id is not None and draft.position is not None
    last = past.versions[-1] if past else None
    return {
        "id": item.id,
        "vault_id": item.vault_id,
        "version": last.version if last else 1,
        "state": draft.state,
        "content": draft.content,
        "content_hash": words_hash(draft, placed) if draft.state in LIVE else None,
        "simhash": text.simhash(draft.content),
        "digest_key": secrets.token_bytes(32),
        "kind": draft.kind,
        "semantic_type": draft.semantic_type,
        "data": dict(draft.data),
        "subject": draft.subject,
        "attribute": draft.attribute,
        "title": draft.title,
        "speaker": draft.speaker,
        "entities": list(draft.entities),
        "tags": list(draft.tags),
        "sensitivity": list(draft.sensitivity),
        "origin": draft.origin,
        "provenance_id": item.provenance_id,
        "confidence": draft.confidence,
        "priority": draft.priority,
        "pinned": draft.pinned,
        "watermark": draft.watermark,
        "valid_from": draft.valid_from,
        "valid_to": draft.valid_to,
        "occurred_at": draft.occurred_at,
        "recorded_at": past.versions[0].sys_from if past else tx.now,
        "updated_at": last.sys_from if last else tx.now,
        "superseded_at": rows.fields_of(last.header)["superseded_at"] if last else None,
        "expires_at": draft.expires_at,
        "session_id": draft.session_id,
        "position": position,
        "placed": placed,
        "created_by": past.created_by if past else tx.actor.user_id,
        "deleted_at": None,
        "purge_after": None,
        "vector_state": "pending",
        "embedded_version": None,
    }


def _made(row: Mapping[str, Any], seq: int) -> MemCube:
    values = {name: value for name, value in row.items() if name in CUBE}
    for name in rows.LISTS:
        values[name] = tuple(values[name])
    return MemCube(seq=seq, **values)


def _history(tx: Tx, item: NewMemory, cube: MemCube, key: bytes) -> list[dict[str, Any]]:
    if item.past is not None:
        return versions.linked(cube.id, key, item.past.versions)
    return [versions.first(cube, key, actor_id=tx.actor.user_id, reason=item.reason)]


def _sources(item: NewMemory, cube: MemCube) -> list[tuple[MemCube, Source]]:
    then = [(replace(cube, version=number), source) for number, source in item.past.sources] if item.past else []
    return [*then, *((cube, source) for source in item.draft.sources)]


def _insert_rows(tx: Tx, values: list[dict[str, Any]]) -> dict[str, int]:
    """Insert what is no duplicate; the sequence number of each id that is new."""
    if not values:
        return {}
    made = tx.connection.execute(INSERT_MEMORIES[tx.dialect], values if len(values) > 1 else values[0])
    return {row.id: row.seq for row in made}


def _duplicate_of(tx: Tx, row: Mapping[str, Any]) -> MemCube:
    query = rows.SELECT.where(MemoryRow.vault_id == row["vault_id"], MemoryRow.content_hash == row["content_hash"])
    return rows.cube(tx.connection.execute(query).one(), tx.now)


def identity(tx: Tx, before: MemCube, after: MemCube) -> dict[str, Any]:
    """The content hash of the next version. Raises `Conflict` when another live memory has it."""
    if after.state not in LIVE:
        return {"content_hash": None}
    placed: bool = tx.connection.execute(select(MemoryRow.placed).where(MemoryRow.seq == before.seq)).scalar_one()
    hashed = words_hash(after, placed)
    other = tx.connection.execute(
        select(MemoryRow.id).where(
            MemoryRow.vault_id == after.vault_id, MemoryRow.content_hash == hashed, MemoryRow.seq != before.seq
        )
    ).scalar_one_or_none()
    if other is not None:
        raise Conflict(
            f"memory {before.id!r}: {other!r} of the same vault already says this; edit or merge that one",
            param="content",
        )
    return {"content_hash": hashed}


def _positions(tx: Tx, new: Sequence[NewMemory]) -> list[int | None]:
    """Where each one stands in its session; the next free place for those that do not say."""
    following: dict[tuple[str, str], int] = {}
    places: list[int | None] = []
    for item in new:
        session, place = item.draft.session_id, item.draft.position
        if session is None or place is not None:
            places.append(place)
            continue
        key = (item.vault_id, session)
        if key not in following:
            last = tx.connection.execute(
                select(func.max(MemoryRow.position)).where(
                    MemoryRow.vault_id == item.vault_id, MemoryRow.session_id == session
                )
            ).scalar_one()
            following[key] = 0 if last is None else last + 1
        places.append(following[key])
        following[key] += 1
    return places


def _stored(cube: MemCube, name: str) -> Any:
    value = getattr(cube, name)
    if name in rows.LISTS:
        return list(value)
    return dict(value) if name == "data" else value


def _write_sources(tx: Tx, sources: Sequence[tuple[MemCube, Source]]) -> None:
    if sources:
        tx.connection.execute(INSERT_SOURCES, [_source_row(cube, source) for cube, source in sources])


def _source_row(cube: MemCube, source: Source) -> dict[str, Any]:
    told = {name: getattr(source, name) for name in SOURCE}
    digest = hashlib.sha256(repr(sorted(told.items(), key=lambda item: item[0])).encode(errors="surrogatepass"))
    return {
        "id": new_id("src"),
        "memory_id": cube.id,
        "version": cube.version,
        "provenance_id": cube.provenance_id,
        "digest": digest.hexdigest(),
        **told,
    }


def _write_blobs(tx: Tx, vectors: Sequence[tuple[MemCube, Vectors]]) -> None:
    made = [blob_row(cube, profile, vector) for cube, given in vectors for profile, vector in given.items()]
    if made:
        tx.connection.execute(INSERT_BLOBS, made)


def _replace_blobs(tx: Tx, cube: MemCube, vectors: Vectors) -> None:
    tx.connection.execute(delete(BlobRow).where(BlobRow.memory_seq == cube.seq))
    _write_blobs(tx, [(cube, vectors)])


def blob_row(cube: MemCube, profile_id: str, vector: NDArray[np.float32]) -> dict[str, Any]:
    """The stored vector of one version in one profile."""
    data, crc32 = blob.encode(vector)
    return {"memory_seq": cube.seq, "profile_id": profile_id, "version": cube.version, "data": data, "crc32": crc32}
