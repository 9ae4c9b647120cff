"""LangGraph's saver beside our own tables: one checkpoint per node, so that a graph goes on where it stood.

The serializer is strict: only plain values and LangGraph's own types are read back, never pickle. What a finished step
returned stands in `steps`; a checkpoint that is behind, or gone, costs nothing but passing through finished steps again.
Source: ours, over LangGraph 1.2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from runtime.errors import StorageError, boundary
from runtime.settings import Settings


@asynccontextmanager
async def open_saver(settings: Settings) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The saver of the settings, its tables made; closed behind. Raises `StorageError`."""
    serde = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
    if settings.database_url.startswith("sqlite"):
        with boundary("checkpoint database", StorageError):
            connection = await aiosqlite.connect(
                settings.database_folder / "checkpoints.db", timeout=settings.database.busy_timeout_s
            )
        try:
            # A checkpoint may be lost in a power cut without harm, so it need not wait for the disk.
            await connection.execute("PRAGMA synchronous=NORMAL")
            sqlite_saver = AsyncSqliteSaver(connection, serde=serde)
            await sqlite_saver.setup()
            yield sqlite_saver
        finally:
            await connection.close()
        return
    url = settings.database_url.replace("postgresql+psycopg://", "postgresql://")
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=settings.database.pool_size,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        open=False,
    )
    with boundary("checkpoint database", StorageError):
        await pool.open(wait=True, timeout=10.0)
    try:
        saver = AsyncPostgresSaver(pool, serde=serde)
        await saver.setup()
        yield saver
    finally:
        await pool.close()
