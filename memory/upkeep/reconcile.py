"""Compares all that follows from the memories with the memories, and makes it agree.

What stands in SQL is compared in memory/upkeep/comparing.py; here the points of every index that is written to. What is
still in the outbox is no difference, and what changes meanwhile is looked at again. A point that is wrong is taken away
and carried again by the relay. Tombstones whose grace is over go too: no writer can be left that has not heard of them.
Source: memos §3.13 (3, 4), §5; contract §6 (1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import anyio

from memory.core import Core
from memory.indices.base import PointVersion
from memory.spaces import Space, Spaces
from memory.tx import Tx
from memory.types import INDEXED, MemCube
from memory.upkeep import comparing
from memory.upkeep.comparing import Drift
from memory.upkeep.outbox import wait_for
from memory.workers import SYSTEM
from runtime.errors import StorageError
from runtime.telemetry import get_logger

TOMBSTONE_KEPT: Final = timedelta(hours=24)
EVERY_S: Final = 3600.0
# A point may be behind for as long as the relay needs; what is behind every time is drift.
LOOKS: Final = 3
BETWEEN_S: Final = 0.5
REMOVED_AT_A_TIME: Final = 1000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared and what differed; `unchecked` names indexes that only another process can look into."""

    checked: int
    drift: tuple[Drift, ...]
    repaired: int = 0
    removed: int = 0
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees now."""
        return self.repaired == len(self.drift) and not self.unchecked


async def verify(core: Core, spaces: Spaces, *, repair: bool, owned: bool = True) -> Report:
    """Compare everything; with `repair` make it agree, as far as that can be done. Raises `StorageError`.

    `owned` is false in a process that searches its own copy because another one has the embedded index open.
    """
    checked, drift, again = await _rows(core, spaces.written, repair=repair)
    drift += await core.write(SYSTEM, lambda tx: comparing.strays(tx, repair=repair))
    drift += await core.read(SYSTEM, comparing.audits)
    removed = 0
    wrong: dict[str, set[str]] = {}
    for space in spaces.written if owned else ():
        found, old = await _points(core, space)
        drift += [Drift("vector", id_, detail) for id_, detail in found.items()]
        wrong[space.id] = set(found)
        if repair:
            removed += await _remove(space, old)
    mended = [each for each in drift if each.mendable]
    if repair and mended:
        for space in spaces.written:
            await _remove(space, sorted(wrong.get(space.id, ())))
        ids = sorted({*again, *(id_ for found in wrong.values() for id_ in found)})
        for start in range(0, len(ids), comparing.PAGE):
            part = ids[start : start + comparing.PAGE]
            await core.write(SYSTEM, lambda tx, part=part: comparing.send(tx, part))  # type: ignore[misc]
        if not await wait_for(core, ids, timeout_s=60.0 + 0.1 * len(ids)):
            raise StorageError("the index has not taken in what was repaired; see `mneme doctor`, then verify again")
    unchecked = () if owned else tuple(space.slug for space in spaces.written)
    return Report(checked, tuple(drift), len(mended) if repair else 0, removed, unchecked)


async def reconcile(core: Core, spaces: Spaces) -> dict[str, int]:
    """Mend the points of every index, and take old tombstones away; how many of each. Raises `StorageError`."""
    counts = {"mended": 0, "removed": 0}
    for space in spaces.written:
        found, old = await _points(core, space)
        counts["removed"] += await _remove(space, old)
        if found:
            await _remove(space, sorted(found))
            await core.write(SYSTEM, lambda tx, ids=list(found): comparing.send(tx, ids))  # type: ignore[misc]
            counts["mended"] += len(found)
    return counts


async def keep_reconciled(core: Core, spaces: Spaces) -> None:
    """Reconcile at once and then every hour, until cancelled."""
    while True:
        try:
            counts = await reconcile(core, spaces)
            if any(counts.values()):
                log.info("index.reconciled", **counts)
        except StorageError as error:
            log.warning("index.not_reconciled", error=error.message)
        await anyio.sleep(EVERY_S)


async def _rows(core: Core, spaces: Sequence[Space], *, repair: bool) -> tuple[int, list[Drift], list[str]]:
    """Look at every memory; how many there are, what differs beside it, and what the relay has to carry again."""
    after, checked = 0, 0
    drift: list[Drift] = []
    again: list[str] = []
    while True:

        def work(tx: Tx, after: int = after) -> tuple[list[MemCube], list[Drift], list[str]]:
            cubes = comparing.page(tx, after)
            late = comparing.waiting(tx, cubes)
            found = [
                each
                for each in comparing.compare(tx, cubes, spaces)
                if each.kind != "blob" or each.memory_id not in late
            ]
            return cubes, found, comparing.mend(tx, cubes, found) if repair and found else []

        cubes, found, sent = await (core.write if repair else core.read)(SYSTEM, work)
        if not cubes:
            return checked, drift, again
        checked += len(cubes)
        drift += found
        again += sent
        after = cubes[-1].seq


async def _points(core: Core, space: Space) -> tuple[dict[str, str], list[str]]:
    """The memories whose point is wrong, each with how, and the tombstones that have been kept long enough."""
    wrong: dict[str, str] = {}
    old: list[str] = []
    for look in range(LOOKS):
        if look:
            await anyio.sleep(BETWEEN_S)
        points = {point.memory_id: point async for point in space.index.versions()}
        found, old = await _against(core, points)
        wrong = found if not look else {id_: how for id_, how in found.items() if id_ in wrong}
        if not wrong:
            break
    return wrong, old


async def _against(core: Core, points: dict[str, PointVersion]) -> tuple[dict[str, str], list[str]]:
    wrong: dict[str, str] = {}
    old: list[str] = []
    unknown = set(points)
    oldest = core.clock.now() - TOMBSTONE_KEPT
    after = 0
    while True:

        def work(tx: Tx, after: int = after) -> tuple[list[MemCube], set[str]]:
            cubes = comparing.page(tx, after)
            return cubes, comparing.waiting(tx, cubes)

        cubes, late = await core.read(SYSTEM, work)
        if not cubes:
            break
        after = cubes[-1].seq
        for cube in cubes:
            unknown.discard(cube.id)
            point = points.get(cube.id)
            how = None if cube.id in late or cube.vector_state == "failed" else _difference(cube, point)
            if how is not None:
                wrong[cube.id] = how
            elif point is not None and point.tombstone and _is_over(cube, oldest):
                old.append(cube.id)
    return wrong | dict.fromkeys(sorted(unknown), "a point of no memory"), old


def _difference(cube: MemCube, point: PointVersion | None) -> str | None:
    shown = cube.state in INDEXED and bool(cube.content)
    if point is None:
        return "it has no point" if shown else None
    if point.version != cube.version:
        return f"its point is of version {point.version}, it is at {cube.version}"
    if shown and point.tombstone:
        return "its point is a tombstone, but it is in use"
    if not shown and not point.tombstone:
        return f"its point can be found, but it is {cube.state}"
    return None


def _is_over(cube: MemCube, oldest: datetime) -> bool:
    return cube.updated_at < oldest and not (cube.state in INDEXED and cube.content)


async def _remove(space: Space, ids: Iterable[str]) -> int:
    found = list(ids)
    for start in range(0, len(found), REMOVED_AT_A_TIME):
        await space.index.remove(found[start : start + REMOVED_AT_A_TIME])
    return len(found)
