"""An index in the memory of this process that follows the database.

For codecs that no embedded index keeps, and for a process that finds the embedded index taken: it is filled from the stored
vectors when it is first asked, and before each search it takes in what has changed since. Nothing else has to tell
it, so any number of processes may have one. Source: design storage §1 (one process owns a shard); ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio
from sqlalchemy import Connection, and_, or_, select

from memory.codecs import blob
from memory.core import Core
from memory.indices.base import Filter, Payload, PointVersion, Vector, VectorHit, VectorIndex, VectorOp
from memory.tables import BlobRow, MemoryRow
from memory.types import INDEXED
from runtime.errors import StorageError
from runtime.telemetry import get_logger

PAGE: Final = 5000
# Transactions carry the time at which they began; one that began earlier may be committed later.
OVERLAP: Final = timedelta(seconds=10)

log = get_logger(__name__)


class Followed:
    """See `VectorIndex`. `index` is this process's own; what is applied to it directly is there at once."""

    def __init__(self, core: Core, profile_id: str, dim: int, index: VectorIndex) -> None:
        self._core = core
        self._profile_id = profile_id
        self._dim = dim
        self._index = index
        self._seen: datetime | None = None
        self._without: frozenset[int] = frozenset()
        self._refreshing = anyio.Lock()

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        """See `VectorIndex`. Survives nothing: the next process fills its own from the database."""
        await self._index.apply(ops)

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        """See `VectorIndex`."""
        await self.refresh()
        return await self._index.search(vector, limit, where)

    async def versions(self) -> AsyncIterator[PointVersion]:
        """See `VectorIndex`."""
        await self.refresh()
        async for point in self._index.versions():
            yield point

    async def remove(self, ids: Sequence[str]) -> None:
        """See `VectorIndex`."""
        await self._index.remove(ids)

    async def count(self) -> int:
        """See `VectorIndex`."""
        await self.refresh()
        return await self._index.count()

    async def aclose(self) -> None:
        """See `VectorIndex`."""
        await self._index.aclose()

    async def refresh(self) -> None:
        """Take in what has changed. Raises `StorageError`."""
        async with self._refreshing:
            since, now = self._seen, self._core.clock.now()
            without = sorted(self._without)
            missing: set[int] = set()
            after = 0
            while True:
                found = await self._core.db.read(
                    lambda connection, after=after: _changed(
                        connection, self._profile_id, self._dim, since, without, after
                    )  # type: ignore[misc]
                )
                # A vector that is still to be made will be of this version, so nothing may be in its place.
                late = {seq for op, seq in found if op.vector is None and op.payload.state in INDEXED}
                await self._index.apply([op for op, seq in found if seq not in late])
                missing |= late
                if len(found) < PAGE:
                    break
                after = found[-1][1]
            self._seen, self._without = now, frozenset(missing)


def _changed(
    connection: Connection, profile_id: str, dim: int, since: datetime | None, without: Sequence[int], after: int
) -> list[tuple[VectorOp, int]]:
    """What was written since then, and what had no vector yet, in the order of `seq`."""
    columns = (
        MemoryRow.seq,
        MemoryRow.id,
        MemoryRow.version,
        MemoryRow.vault_id,
        MemoryRow.state,
        MemoryRow.kind,
        MemoryRow.semantic_type,
        MemoryRow.tags,
        MemoryRow.session_id,
        BlobRow.data,
        BlobRow.crc32,
    )
    joined = and_(BlobRow.memory_seq == MemoryRow.seq, BlobRow.profile_id == profile_id)
    query = select(*columns).outerjoin(BlobRow, joined).where(MemoryRow.seq > after)
    if since is not None:
        query = query.where(or_(MemoryRow.updated_at >= since - OVERLAP, MemoryRow.seq.in_(without)))
    found = []
    for row in connection.execute(query.order_by(MemoryRow.seq).limit(PAGE)):
        payload = Payload(row.vault_id, row.state, row.kind, row.semantic_type, tuple(row.tags), row.session_id)
        vector = None
        if row.state in INDEXED and row.data is not None:
            try:
                vector = blob.decode(row.data, row.crc32, dim)
            except StorageError as error:
                log.warning("index.damaged_vector", memory_id=row.id, error=error.message)
        found.append((VectorOp(row.id, row.version, vector, payload), row.seq))
    return found
