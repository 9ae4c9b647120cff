"""Carries what was committed into the indexes of vectors: the relay behind the outbox.

An entry only says that a memory has changed; what is written is the memory as it is when the entry is read, in every
space that is written to. A write into an index is conditional on the version, so doing it twice, or late, changes
nothing. An entry is taken away after the index has it; killed in between, the next relay does it again. A memory that may
not be found leaves a tombstone. Where an index belongs to this process alone no claim is needed; relays that share one
claim memories by a lease. Source: memos §3.13, §5; design storage §6.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import anyio
import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from memory import rows, store
from memory.codecs import blob
from memory.core import Core
from memory.indices.base import Vector, VectorOp, payload_of
from memory.spaces import Space, Spaces
from memory.tables import BlobRow, MemoryRow, OutboxRow
from memory.tx import Tx
from memory.types import INDEXED, MemCube
from memory.workers import SYSTEM
from runtime.errors import ModelError, SettingsError, StorageError
from runtime.telemetry import get_logger

BATCH: Final = 256
POLL_S: Final = 0.5
# What comes within this time shares a batch: one that follows every single write costs as much as the writes.
GATHER_S: Final = 0.03
WAIT_S: Final = 10.0
LEASE: Final = timedelta(seconds=60)
ATTEMPTS: Final = 8
BACKOFF_CAP_S: Final = 300.0
MAX_ERROR: Final = 2000

log = get_logger(__name__)


class Entry(NamedTuple):
    """A row of the outbox that is due."""

    seq: int
    memory_id: str
    attempts: int


@dataclass(slots=True)
class Batch:
    """What one step carries: the memories as they are, their stored vectors by (space, seq), and what had to be made."""

    entries: Sequence[Entry]
    cubes: Mapping[str, MemCube]
    vectors: dict[tuple[str, int], Vector]
    made: list[tuple[MemCube, str, Vector]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Relay:
    """Applies the outbox. `alone`: no other process writes to these indexes."""

    def __init__(
        self,
        core: Core,
        spaces: Spaces,
        *,
        name: str,
        alone: bool,
        follow: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`follow` opens the spaces that another process has made meanwhile (memory/reembed.py)."""
        self._core = core
        self._spaces = spaces
        self._name = name
        self._alone = alone
        self._follow = follow
        self._news = anyio.Event()
        self._step = anyio.Lock()

    async def run(self) -> None:
        """Apply what is due, soon after each write of this process and every half second, until cancelled."""
        self._core.on_commit(self._wake)
        while True:
            self._news = anyio.Event()
            try:
                if await self.step():
                    await anyio.sleep(GATHER_S)
                    continue
            except StorageError as error:
                log.warning("outbox.not_applied", error=error.message)
                await anyio.sleep(POLL_S)
            with anyio.move_on_after(POLL_S):
                await self._news.wait()
                await anyio.sleep(GATHER_S)

    def _wake(self) -> None:
        self._news.set()

    async def step(self) -> int:
        """Apply one batch; how many entries it had. Raises `StorageError` when database or index cannot be written."""
        async with self._step:
            entries = await self._due()
            if not entries:
                return 0
            await self._catch_up()
            spaces = self._spaces.written
            batch = await self._core.read(SYSTEM, lambda tx: _load(tx, entries, spaces))
            for space in spaces:
                await self._apply(batch, space)
            now = self._core.clock.now()
            await self._core.db.write(lambda connection: _done(connection, batch, now))
            return len(entries)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Apply nothing within the block."""
        async with self._step:
            yield

    async def _catch_up(self) -> None:
        """Open what the database says is written to: an entry that is carried into the others only would be lost to it.
        Asked after the entries are known, so that no space can be younger than all that this process knows of."""
        if self._follow is None:
            return
        try:
            await self._follow()
        except (ModelError, SettingsError, StorageError) as error:
            # What is open goes on being served; the reconciler finds what the other space lacks.
            log.warning("outbox.space_not_opened", code=error.code, error=error.message)

    async def _due(self) -> list[Entry]:
        now = self._core.clock.now()
        if self._alone:
            return await self._core.db.read(lambda connection: _look(connection, now))
        return await self._core.db.write(lambda connection: _claim(connection, now, self._name))

    async def _apply(self, batch: Batch, space: Space) -> None:
        """Write every memory of the batch into one space; those that could not be embedded are noted."""
        shown = [cube for cube in batch.cubes.values() if _is_indexed(cube)]
        lacking = [cube for cube in shown if (space.id, cube.seq) not in batch.vectors]
        if lacking:
            try:
                made = await space.encoder.encode([cube.content for cube in lacking], role="doc")
            except (ModelError, SettingsError) as error:
                log.warning("outbox.not_embedded", space=space.slug, count=len(lacking), error=error.message)
                batch.failed |= {cube.id: error.message for cube in lacking}
            else:
                for cube, vector in zip(lacking, made, strict=True):
                    if not np.isfinite(vector).all():
                        batch.failed[cube.id] = f"{space.slug}: the encoder gave a vector that is not finite"
                        continue
                    batch.vectors[space.id, cube.seq] = vector
                    batch.made.append((cube, space.id, vector))
        ops = []
        for cube in batch.cubes.values():
            vector = batch.vectors.get((space.id, cube.seq)) if _is_indexed(cube) else None
            if vector is not None or not _is_indexed(cube):
                ops.append(VectorOp(cube.id, cube.version, vector, payload_of(cube)))
        await space.index.apply(ops)


async def wait_for(core: Core, ids: Sequence[str], timeout_s: float = WAIT_S, *, poll_s: float = 0.02) -> bool:
    """Whether the indexes have all of these memories, whichever process carries them there."""
    query = select(MemoryRow.vector_state).distinct()

    def states(connection: Connection) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), rows.IN_ONE_QUERY):
            part = ids[start : start + rows.IN_ONE_QUERY]
            found.update(connection.execute(query.where(MemoryRow.id.in_(part))).scalars())
        return found

    with anyio.move_on_after(timeout_s):
        while True:
            found = await core.db.read(states)
            if "pending" not in found:
                return "failed" not in found
            await anyio.sleep(poll_s)
    return False


def pending(connection: Connection) -> int:
    """How many entries wait."""
    return connection.execute(select(func.count()).select_from(OutboxRow)).scalar_one()


def _is_indexed(cube: MemCube) -> bool:
    return cube.state in INDEXED and bool(cube.content)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return or_(OutboxRow.not_before.is_(None), OutboxRow.not_before <= now)


def _look(connection: Connection, now: datetime) -> list[Entry]:
    query = select(OutboxRow.seq, OutboxRow.memory_id, OutboxRow.attempts)
    return [Entry(*row) for row in connection.execute(query.where(_is_due(now)).order_by(OutboxRow.seq).limit(BATCH))]


def _claim(connection: Connection, now: datetime, name: str) -> list[Entry]:
    """Take all due entries of some memories that nobody has claimed; the row of the memory is the lock meanwhile."""
    other = aliased(OutboxRow)
    claimed = exists().where(
        other.memory_id == OutboxRow.memory_id, other.claimed_until > now, other.claimed_by != name
    )
    # What this relay claimed and could not write, it may try again at once.
    unclaimed = or_(OutboxRow.claimed_until.is_(None), OutboxRow.claimed_until <= now, OutboxRow.claimed_by == name)
    free = (_is_due(now), unclaimed, ~claimed)
    wanted = select(OutboxRow.memory_id).where(*free).order_by(OutboxRow.seq).limit(BATCH)
    ids = list(dict.fromkeys(connection.execute(wanted).scalars()))
    if not ids:
        return []
    locked = select(MemoryRow.id).where(MemoryRow.id.in_(ids)).order_by(MemoryRow.id)
    mine = set(connection.execute(locked.with_for_update(skip_locked=True, key_share=True)).scalars())
    mine |= set(ids) - set(connection.execute(select(MemoryRow.id).where(MemoryRow.id.in_(ids))).scalars())
    taken = connection.execute(
        update(OutboxRow)
        .where(OutboxRow.memory_id.in_(mine), *free)
        .values(claimed_by=name, claimed_until=now + LEASE)
        .returning(OutboxRow.seq, OutboxRow.memory_id, OutboxRow.attempts)
        .execution_options(synchronize_session=False)
    )
    return sorted(Entry(*row) for row in taken)


def _load(tx: Tx, entries: Sequence[Entry], spaces: Sequence[Space]) -> Batch:
    cubes = store.many(tx, list(dict.fromkeys(entry.memory_id for entry in entries)))
    dims = {space.id: space.encoder.profile.dim for space in spaces}
    seqs = [cube.seq for cube in cubes.values() if _is_indexed(cube)]
    vectors: dict[tuple[str, int], Vector] = {}
    for start in range(0, len(seqs), rows.IN_ONE_QUERY):
        query = select(BlobRow.memory_seq, BlobRow.profile_id, BlobRow.data, BlobRow.crc32).where(
            BlobRow.memory_seq.in_(seqs[start : start + rows.IN_ONE_QUERY]), BlobRow.profile_id.in_(dims)
        )
        for row in tx.connection.execute(query):
            vector = _intact(row, dims[row.profile_id])
            if vector is not None:
                vectors[row.profile_id, row.memory_seq] = vector
    return Batch(entries, cubes, vectors)


def _intact(row: Row[int, str, bytes, int], dim: int) -> Vector | None:
    """The stored vector; None for a damaged one, which is made again."""
    try:
        return blob.decode(row.data, row.crc32, dim)
    except StorageError as error:
        log.warning("outbox.damaged_vector", memory_seq=row.memory_seq, profile=row.profile_id, error=error.message)
        return None


def _done(connection: Connection, batch: Batch, now: datetime) -> None:
    """Keep the vectors that were made, take the entries away, and say which memories are in the indexes."""
    _keep(connection, batch)
    applied = [cube for cube in batch.cubes.values() if cube.id not in batch.failed]
    if applied:
        # Only those that still are what was written; of the others a newer entry is waiting.
        connection.execute(
            update(MemoryRow)
            .where(MemoryRow.seq == bindparam("of_seq"), MemoryRow.version == bindparam("of_version"))
            .values(vector_state=bindparam("to_state"), embedded_version=bindparam("to_version"))
            .execution_options(synchronize_session=False),
            [_marked(cube) for cube in sorted(applied, key=lambda cube: cube.seq)],
        )
    over = [entry for entry in batch.entries if entry.memory_id in batch.failed and entry.attempts + 1 >= ATTEMPTS]
    gone = [entry.seq for entry in batch.entries if entry.memory_id not in batch.failed] + [each.seq for each in over]
    for start in range(0, len(gone), rows.IN_ONE_QUERY):
        connection.execute(delete(OutboxRow).where(OutboxRow.seq.in_(gone[start : start + rows.IN_ONE_QUERY])))
    for entry in over:
        connection.execute(update(MemoryRow).where(MemoryRow.id == entry.memory_id).values(vector_state="failed"))
    for entry in batch.entries:
        if entry.memory_id in batch.failed and entry not in over:
            wait_s = min(BACKOFF_CAP_S, 2.0 ** (entry.attempts + 1))
            connection.execute(
                update(OutboxRow)
                .where(OutboxRow.seq == entry.seq)
                .values(
                    attempts=entry.attempts + 1,
                    not_before=now + timedelta(seconds=wait_s),
                    claimed_by=None,
                    claimed_until=None,
                    error=batch.failed[entry.memory_id][:MAX_ERROR],
                )
            )


def _marked(cube: MemCube) -> dict[str, object]:
    shown = _is_indexed(cube)
    return {
        "of_seq": cube.seq,
        "of_version": cube.version,
        "to_state": "synced" if shown else "none",
        "to_version": cube.version if shown else None,
    }


def _keep(connection: Connection, batch: Batch) -> None:
    """Store the vectors of the memories that are still what was embedded."""
    if not batch.made:
        return
    seqs = [cube.seq for cube, _, _ in batch.made]
    # The rows are changed below. Held for reading only, and in no order, two writers of vectors would wait for each other.
    query = (
        select(MemoryRow.seq, MemoryRow.version)
        .where(MemoryRow.seq.in_(seqs))
        .order_by(MemoryRow.seq)
        .with_for_update(key_share=True)
    )
    current = {row.seq: row.version for row in connection.execute(query)}
    made = [
        store.blob_row(cube, profile_id, vector)
        for cube, profile_id, vector in sorted(batch.made, key=lambda each: (each[0].seq, each[1]))
        if current.get(cube.seq) == cube.version
    ]
    if made:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = make(BlobRow)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["memory_seq", "profile_id"],
                set_={name: statement.excluded[name] for name in ("version", "data", "crc32")},
            ),
            made,
        )
