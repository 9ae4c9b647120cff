"""What a profile still lacks: memories without a vector, and vectors without a point. And samples of what it has.

Queries and inserts of memory/reembed.py, each within the caller's transaction. A vector is kept only when its memory is
still the version that was embedded; what was edited meanwhile is embedded again. Source: embedding_storage §3 (migrate
codec), §5; ours.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from memory import profiles
from memory.codecs import blob
from memory.codecs.base import Vectors
from memory.encoders.base import Profile
from memory.indices.base import Vector
from memory.profiles import StoredProfile
from memory.tables import BlobRow, MemoryRow, OutboxRow
from memory.types import INDEXED
from runtime.errors import StorageError
from runtime.telemetry import get_logger

PAGE = 500
# Quarantined memories are embedded too: what is approved must be found at once.
EMBEDDED = INDEXED | {"quarantined"}

log = get_logger(__name__)


class Unembedded(NamedTuple):
    """A memory that has no vector in the profile."""

    seq: int
    id: str
    version: int
    content: str


class StoredVector(NamedTuple):
    """A row of `embedding_blobs`, not decoded."""

    seq: int
    data: bytes
    crc32: int


def missing(connection: Connection, profile_id: str, *, after: int, limit: int) -> list[Unembedded]:
    """The next memories, by `seq`, without a vector in the profile."""
    query = (
        select(MemoryRow.seq, MemoryRow.id, MemoryRow.version, MemoryRow.content)
        .where(MemoryRow.seq > after, _to_embed(), ~_has_vector(profile_id))
        .order_by(MemoryRow.seq)
        .limit(limit)
    )
    return [Unembedded(*row) for row in connection.execute(query)]


def count_missing(connection: Connection, profile_id: str) -> int:
    """How many memories have no vector in the profile."""
    query = select(func.count()).select_from(MemoryRow).where(_to_embed(), ~_has_vector(profile_id))
    return connection.execute(query).scalar_one()


def keep(
    connection: Connection, *, profile_id: str, batch: Sequence[Unembedded], vectors: Mapping[int, Vector]
) -> None:
    """Store the vectors (by `seq`), tell the relay, and move the cursor of the profile behind the batch."""
    query = select(MemoryRow.seq, MemoryRow.version).where(MemoryRow.seq.in_([row.seq for row in batch]))
    query = query.order_by(MemoryRow.seq)
    # On PostgreSQL the rows are held, so that no edit comes between this look and the write.
    versions = {row.seq: row.version for row in connection.execute(query.with_for_update(read=True))}
    same = [row for row in batch if versions.get(row.seq) == row.version]
    if same:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = []
        for row in same:
            data, crc32 = blob.encode(vectors[row.seq])
            kept = {"memory_seq": row.seq, "profile_id": profile_id, "version": row.version}
            values.append({**kept, "data": data, "crc32": crc32})
        connection.execute(make(BlobRow).on_conflict_do_nothing(), values)
        enqueue(connection, ids=[row.id for row in same])
    profiles.advance(connection, profile_id, batch[-1].seq)


def enqueue(connection: Connection, *, ids: Sequence[str]) -> None:
    """Have the memories carried into the indexes (memory/upkeep/outbox.py)."""
    for start in range(0, len(ids), PAGE):
        query = select(MemoryRow.id, MemoryRow.version).where(MemoryRow.id.in_(ids[start : start + PAGE]))
        rows = connection.execute(query).all()
        if rows:
            entries = [{"memory_id": r.id, "op": "sync", "version": r.version, "attempts": 0} for r in rows]
            connection.execute(insert(OutboxRow), entries)


def indexed(connection: Connection, *, profile_id: str, after: int) -> list[tuple[int, str]]:
    """The next memories, number and id, that must have a point of the profile: nothing in the outbox is to change them."""
    query = (
        select(MemoryRow.seq, MemoryRow.id)
        .where(MemoryRow.seq > after, MemoryRow.state.in_(INDEXED), MemoryRow.content != "", _has_vector(profile_id))
        .where(~exists().where(OutboxRow.memory_id == MemoryRow.id))
        .order_by(MemoryRow.seq)
        .limit(PAGE)
    )
    return [(row.seq, row.id) for row in connection.execute(query)]


def of_same_space(connection: Connection, *, profile: StoredProfile, seqs: Sequence[int]) -> dict[int, Vector]:
    """Vectors of these memories in another profile of the same encoder; damaged ones are left out, to be made again."""
    others = [p.id for p in profiles.written(connection) if p.space == profile.space and p.id != profile.id]
    query = _STORED.where(BlobRow.memory_seq.in_(seqs), BlobRow.profile_id.in_(others))
    found: dict[int, Vector] = {}
    for row in connection.execute(query):
        vector = intact(StoredVector(*row), profile.space.dim)
        if vector is not None:
            found[row.memory_seq] = vector
    return found


def some_vectors(connection: Connection, *, space: Profile, count: int, rng: random.Random) -> list[StoredVector]:
    """About `count` stored vectors of the space, spread over the store; all of them when there are fewer."""
    same = next((p for p in profiles.written(connection) if p.space == space), None)
    if same is None:
        return []
    mine = BlobRow.profile_id == same.id
    total = connection.execute(select(func.count()).select_from(BlobRow).where(mine)).scalar_one()
    step = max(1, total // count)
    query = _STORED.where(mine, BlobRow.memory_seq % step == rng.randrange(step)).order_by(BlobRow.memory_seq)
    return [StoredVector(*row) for row in connection.execute(query)]


def some_texts(connection: Connection, *, count: int, rng: random.Random) -> list[str]:
    """About `count` texts that are embedded, spread over the store; all of them when there are fewer."""
    total = connection.execute(select(func.count()).select_from(MemoryRow).where(_to_embed())).scalar_one()
    step = max(1, total // count)
    query = select(MemoryRow.content).where(_to_embed(), MemoryRow.seq % step == rng.randrange(step))
    return list(connection.execute(query.order_by(MemoryRow.seq)).scalars())


def decoded(rows: Sequence[StoredVector], dim: int) -> Vectors:
    """The vectors, float32 (n, dim), without the damaged ones."""
    vectors = [vector for vector in (intact(row, dim) for row in rows) if vector is not None]
    return np.stack(vectors) if vectors else np.empty((0, dim), np.float32)


def intact(row: StoredVector, dim: int) -> Vector | None:
    """The vector; None for a damaged one, which is made again and never scored."""
    try:
        return blob.decode(row.data, row.crc32, dim)
    except StorageError as error:
        log.warning("memory.damaged_vector", memory_seq=row.seq, error=error.message)
        return None


_STORED = select(BlobRow.memory_seq, BlobRow.data, BlobRow.crc32)


def _to_embed() -> ColumnElement[bool]:
    return and_(MemoryRow.state.in_(EMBEDDED), MemoryRow.content != "")


def _has_vector(profile_id: str) -> ColumnElement[bool]:
    return exists().where(BlobRow.memory_seq == MemoryRow.seq, BlobRow.profile_id == profile_id)
