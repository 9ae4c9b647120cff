"""The event log when the database refuses: a clear error, nothing half-written, and the run goes on afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import Pool

from runtime.db import Database, open_database
from runtime.errors import StorageError
from runtime.events import Event, RunFinished, TextDelta
from runtime.ids import SYSTEM
from runtime.run_types import RunRecord
from runtime.runs import RunStore
from runtime.settings import Settings
from tests.conftest import make_settings
from tests.storing import call, claim, queued, types

pytestmark = pytest.mark.anyio

Write = Callable[[], Awaitable[object]]
BIG = TextDelta(text="x" * 200_000)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    db = open_database(settings)
    try:
        yield db
    finally:
        await db.aclose()


async def everything(store: RunStore, run_id: str) -> tuple[RunRecord, list[Event]]:
    return await store.get(run_id, owner=None), await store.events(run_id)


def writes(store: RunStore, run_id: str, epoch: int) -> list[Write]:
    """Each way in which a running run writes."""
    return [
        lambda: store.append(run_id, epoch, [(BIG, "s"), (call(), "s")]),
        lambda: store.finish_step(run_id, epoch, "s", {"text": BIG.text}, [(call(), "s")]),
        lambda: store.finish(run_id, epoch, RunFinished(status="succeeded", output=BIG.text), items=[(call(), None)]),
    ]


async def refused_then_taken(
    store: RunStore, run_id: str, epoch: int, words: str, *, refuse: Write, allow: Write
) -> None:
    """Every write fails as a whole while the database refuses, and the same writes succeed afterwards."""
    before = await everything(store, run_id)
    await refuse()
    for write in writes(store, run_id, epoch):
        with pytest.raises(StorageError, match=words):
            await write()
    assert await everything(store, run_id) == before
    await allow()
    for write in writes(store, run_id, epoch):
        await write()
    record, events = await everything(store, run_id)
    assert record.status == "succeeded"
    assert types(events)[2:] == ["text.delta", "llm.call", "llm.call", "llm.call", "run.finished"]
    assert [event.seq for event in events] == list(range(1, 8))
    assert record.usage["direct.answer"].calls == 3


@asynccontextmanager
async def disk_of(db: Database, pages: int) -> AsyncIterator[None]:
    """Let the file grow to so many pages; SQLite keeps the limit per connection, so each one is told."""

    def limit(connection: DBAPIConnection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(Pool, "checkout", limit)
    await db.write(lambda connection: limit(cast(DBAPIConnection, connection.connection.dbapi_connection)))
    try:
        yield
    finally:
        event.remove(Pool, "checkout", limit)


async def test_a_full_disk(settings: Settings) -> None:
    async with opened(settings) as db, AsyncExitStack() as stack:
        store = RunStore(db, SYSTEM)
        run_id = await queued(store)
        taken = await claim(store, run_id)
        used = await db.read(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())

        async def refuse() -> None:
            await stack.enter_async_context(disk_of(db, used + 4))

        async def allow() -> None:
            await stack.enter_async_context(disk_of(db, used + 10_000))

        words = "the disk is full; the transaction was not kept"
        await refused_then_taken(store, run_id, taken.epoch, words, refuse=refuse, allow=allow)


async def test_a_database_locked_by_another_connection(settings: Settings, tmp_path: Path) -> None:
    async with opened(make_settings(tmp_path, database__busy_timeout_s=0.1)) as db:
        store = RunStore(db, SYSTEM)
        run_id = await queued(store)
        taken = await claim(store, run_id)
        holder = sqlite3.connect(settings.home / "mneme.db", isolation_level=None)

        async def refuse() -> None:
            holder.execute("BEGIN IMMEDIATE")

        async def allow() -> None:
            holder.execute("ROLLBACK")

        await refused_then_taken(store, run_id, taken.epoch, "locked.*try again", refuse=refuse, allow=allow)
        holder.close()


async def test_a_row_locked_by_another_connection(migrated_postgres: str, tmp_path: Path) -> None:
    async with opened(make_settings(tmp_path, database__url=migrated_postgres, database__busy_timeout_s=0.1)) as db:
        store = RunStore(db, SYSTEM)
        run_id = await queued(store)
        taken = await claim(store, run_id)
        with psycopg.connect(migrated_postgres) as holder:

            async def refuse() -> None:
                holder.execute("SELECT id FROM runs WHERE id = %s FOR UPDATE", (run_id,))

            async def allow() -> None:
                holder.rollback()

            await refused_then_taken(store, run_id, taken.epoch, "lock timeout.*try again", refuse=refuse, allow=allow)
