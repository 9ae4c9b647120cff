"""Uses are counted beside the request, added up, and never lost while the process lives."""

from __future__ import annotations

import anyio
import pytest
from sqlalchemy import select

from memory import store, uses
from memory.core import Core
from memory.opening import open_memory
from memory.tables import MemoryUse
from memory.types import Draft, Query
from memory.uses import Uses
from runtime.db import Database
from runtime.errors import StorageError
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


class Refusing:
    """A database whose writes fail while `refuses`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.refuses = True
        self.dialect = db.dialect
        self.read = db.read
        self.aclose = db.aclose

    async def write(self, work: object) -> object:
        if self.refuses:
            raise StorageError("the disk is full")
        return await self._db.write(work)  # type: ignore[arg-type]


async def counts(core: Core) -> dict[str, int]:
    query = select(MemoryUse.memory_id, MemoryUse.uses)
    return {row.memory_id: row.uses for row in await core.db.read(lambda c: c.execute(query).all())}


async def test_uses_add_up_over_flushes_and_leave_the_version_alone(core: Core, clock: SetClock) -> None:
    a, b = await put(core, "Ana lives in Porto"), await put(core, "Ben lives in Rome")
    counted = Uses(core)
    counted.note([a.id, b.id])
    counted.note([a.id])
    await counted.flush()
    assert await counts(core) == {a.id: 2, b.id: 1}
    clock.pass_by(60)
    counted.note([a.id])
    await counted.flush()
    now = await core.read(ANN, lambda tx: store.get(tx, a.id))
    assert (now.uses, now.last_used_at, now.version, now.heat) == (3, clock.now(), 1, 3.0)
    unused = await core.read(ANN, lambda tx: store.get(tx, b.id))
    assert (unused.uses, unused.last_used_at) == (1, b.recorded_at)


async def test_nothing_noted_writes_nothing(core: Core) -> None:
    core.db = Refusing(core.db)  # type: ignore[assignment]
    await Uses(core).flush()


async def test_what_could_not_be_written_is_kept_for_the_next_time(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto")
    db = Refusing(core.db)
    core.db = db  # type: ignore[assignment]
    counted = Uses(core)
    counted.note([cube.id])
    with pytest.raises(StorageError):
        await counted.flush()
    counted.note([cube.id])
    db.refuses = False
    await counted.flush()
    assert await counts(core) == {cube.id: 2}
    await counted.flush()
    assert await counts(core) == {cube.id: 2}


async def test_the_task_flushes_by_itself_and_once_more_at_its_end(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "EVERY_S", 0.01)
    cube = await put(core, "Ana lives in Porto")
    db = Refusing(core.db)
    core.db = db  # type: ignore[assignment]
    counted = Uses(core)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(counted.run)
        counted.note([cube.id])
        await anyio.sleep(0.05)
        assert await counts(core) == {}
        db.refuses = False
        with anyio.fail_after(5):
            while not await counts(core):
                await anyio.sleep(0.01)
        monkeypatch.setattr(uses, "EVERY_S", 3600)
        await anyio.sleep(0.05)
        counted.note([cube.id])
        tasks.cancel_scope.cancel()
    assert await counts(core) == {cube.id: 2}


async def test_a_search_counts_its_hits_unless_the_caller_does(core: Core) -> None:
    async with open_memory(core.settings, core.db, core.clock) as memory:
        (added,) = await memory.add(ANN, [Draft("Ana lives in Porto")])
        assert added.memory is not None
        for counting in (False, True):
            found = await memory.search(ANN, Query("Porto", mode="lexical"), counts=counting)
            assert [hit.memory.id for hit in found.hits] == [added.memory.id]
            await memory.uses.flush()
            assert await counts(core) == ({added.memory.id: 1} if counting else {})


async def test_two_processes_that_count_at_once_lose_nothing(core: Core) -> None:
    cubes = [await put(core, f"fact {n}") for n in range(5)]
    counters = [Uses(core) for _ in range(8)]
    async with anyio.create_task_group() as tasks:
        for counted in counters:
            counted.note(cube.id for cube in cubes)
            tasks.start_soon(counted.flush)
    assert set((await counts(core)).values()) == {8}
