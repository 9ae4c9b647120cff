"""LangGraph's saver beside our own tables: one checkpoint per node, so that a graph goes on where it stood.

The serializer is strict: only plain values and LangGraph's own types are read back, never pickle. What a finished step
returned stands in `steps`; a checkpoint that is behind, or gone, costs nothing but passing through finished steps again.
What a model wrote does not belong into a graph's state: the savers do not hold every string (half of a surrogate pair
becomes `?`), our own tables do.
Source: ours, over LangGraph 1.2.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
import anyio
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_fixed

from runtime.errors import StorageError, boundary
from runtime.settings import Settings

CONNECT_TIMEOUT_S = 10.0
SETUP_TIMEOUT_S = 60.0
SETUP_LOCK = 7_640_902
POLL_S = 0.05

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


@asynccontextmanager
async def open_saver(settings: Settings) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The saver of the settings, its tables made; closed behind. Raises `StorageError`."""
    serde = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
    if settings.database_url.startswith("sqlite"):
        with boundary("checkpoint database", StorageError):
            settings.home.mkdir(parents=True, exist_ok=True)
            connection = await aiosqlite.connect(
                settings.home / "checkpoints.db", timeout=settings.database.busy_timeout_s
            )
        try:
            with boundary("checkpoint database", StorageError):
                # A checkpoint may be lost in a power cut without harm, so it need not wait for the disk.
                await connection.execute("PRAGMA synchronous=NORMAL")
                sqlite_saver = AsyncSqliteSaver(connection, serde=serde)
                await _set_up_file(sqlite_saver, settings.database.busy_timeout_s)
            yield sqlite_saver
        finally:
            await connection.close()
        return
    pool: Pool = AsyncConnectionPool(
        settings.database_url.replace("postgresql+psycopg://", "postgresql://"),
        min_size=1,
        max_size=max(2, settings.database.pool_size),  # one holds the lock while the other makes the tables
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        open=False,
    )
    try:
        with boundary("checkpoint database", StorageError):
            await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
            postgres_saver = AsyncPostgresSaver(pool, serde=serde)
            await _set_up(postgres_saver, pool)
        yield postgres_saver
    finally:
        await pool.close()


async def forget(saver: BaseCheckpointSaver[str], run_id: str) -> None:
    """Remove the checkpoints of a run that has ended. Raises `StorageError`."""
    with boundary(f"checkpoints of run {run_id!r}", StorageError):
        await saver.adelete_thread(run_id)


async def _set_up_file(saver: AsyncSqliteSaver, patience_s: float) -> None:
    """Make the tables. A new file goes over to a write-ahead log, and SQLite does not wait for another process that does
    so at the same moment, whatever its timeout."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(_is_locked),
        stop=stop_after_delay(patience_s),
        wait=wait_fixed(POLL_S),
        reraise=True,
    ):
        with attempt:
            await saver.setup()


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


async def _set_up(saver: AsyncPostgresSaver, pool: Pool) -> None:
    """Make the tables, one process at a time.

    The lock is polled: a session that waits for it inside a statement would hold up `CREATE INDEX CONCURRENTLY` of the
    one that has it, and both would wait for each other.
    """
    async with pool.connection() as holder:
        with anyio.fail_after(SETUP_TIMEOUT_S):
            while True:
                row = await (await holder.execute("SELECT pg_try_advisory_lock(%s) AS got", (SETUP_LOCK,))).fetchone()
                if row is not None and row["got"]:
                    break
                await anyio.sleep(POLL_S)
        try:
            await saver.setup()
        finally:
            await holder.execute("SELECT pg_advisory_unlock(%s)", (SETUP_LOCK,))
