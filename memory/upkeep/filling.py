"""Brings an index up to date with the database directly: a new one, one that was built aside, one that was not followed.

Every memory whose point is missing or of another version is written from its stored vector; what has no stored vector is
left to the relay, which embeds it. Source: design storage §6 (3).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import and_, select

from memory import store
from memory.codecs import blob
from memory.core import Core
from memory.indices.base import PointVersion, VectorOp, payload_of
from memory.spaces import Space
from memory.tables import BlobRow
from memory.tx import Tx
from memory.types import INDEXED, MemCube
from memory.upkeep import comparing
from memory.workers import SYSTEM
from runtime.errors import StorageError

Progress = Callable[[int], None]


async def fill(core: Core, space: Space, progress: Progress | None = None) -> int:
    """Write what is missing or older; how many points were written. Raises `StorageError`."""
    points = {point.memory_id: point async for point in space.index.versions()}
    after, seen, written = 0, 0, 0
    while True:

        def work(tx: Tx, after: int = after) -> tuple[list[MemCube], list[VectorOp], list[MemCube]]:
            cubes = comparing.page(tx, after)
            return cubes, *_operations(tx, space, cubes, points)

        cubes, ops, lacking = await core.read(SYSTEM, work)
        if not cubes:
            return written
        await space.index.apply(ops)
        if lacking:
            await core.write(SYSTEM, lambda tx, cubes=lacking: store.enqueue(tx, cubes))  # type: ignore[misc]
        after, seen, written = cubes[-1].seq, seen + len(cubes), written + len(ops)
        if progress is not None:
            progress(seen)


def operations(tx: Tx, profile_id: str, dim: int, cubes: list[MemCube]) -> tuple[list[VectorOp], list[MemCube]]:
    """What an empty index has to be given for these memories, and those that lack an intact vector."""
    shown = [cube for cube in cubes if cube.state in INDEXED and cube.content]
    query = select(BlobRow.memory_seq, BlobRow.data, BlobRow.crc32).where(
        and_(BlobRow.profile_id == profile_id, BlobRow.memory_seq.in_([cube.seq for cube in shown]))
    )
    stored = {row.memory_seq: row for row in tx.connection.execute(query)}
    ops: list[VectorOp] = []
    lacking: list[MemCube] = []
    for cube in shown:
        row = stored.get(cube.seq)
        try:
            vector = None if row is None else blob.decode(row.data, row.crc32, dim)
        except StorageError:
            vector = None  # embedded again, as if it had none
        if vector is None:
            lacking.append(cube)
        else:
            ops.append(VectorOp(cube.id, cube.version, vector, payload_of(cube)))
    return ops, lacking


def _operations(
    tx: Tx, space: Space, cubes: list[MemCube], points: dict[str, PointVersion]
) -> tuple[list[VectorOp], list[MemCube]]:
    behind = [cube for cube in cubes if (point := points.get(cube.id)) is None or point.version < cube.version]
    ops, lacking = operations(tx, space.id, space.encoder.profile.dim, behind)
    gone = [cube for cube in behind if cube.id in points and not (cube.state in INDEXED and cube.content)]
    late = comparing.waiting(tx, lacking)
    ops += [VectorOp(cube.id, cube.version, None, payload_of(cube)) for cube in gone]
    return ops, [cube for cube in lacking if cube.id not in late]
