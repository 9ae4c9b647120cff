"""The database: one engine, short transactions, one kind of error.

`read()` gives a connection for queries, `write()` one transaction that commits when the block ends well. On SQLite
(WAL) there is one writer at a time: a lock in this process orders our own, `BEGIN IMMEDIATE` with a busy time-out
those of others. Whatever the driver raises becomes a `StorageError` that says what to do. Source: ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Literal

import anyio
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from runtime.errors import StorageError
from runtime.settings import Settings


class Database:
    """Opened lazily: the first statement connects."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._writer_lock = anyio.Lock()
        self._writer: AsyncConnection | None = None

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Make the engine for the configured URL."""
        url = settings.database_url
        if url.startswith("sqlite"):
            settings.home.mkdir(parents=True, exist_ok=True)
            engine = create_async_engine(
                url,
                connect_args={"timeout": settings.database.busy_timeout_s},
                pool_size=settings.database.pool_size,
                max_overflow=0,
            )
            _prepare_sqlite(engine, settings)
        else:
            engine = create_async_engine(
                url, pool_size=settings.database.pool_size, max_overflow=settings.database.pool_size, pool_pre_ping=True
            )
        return cls(engine)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite" if self.engine.dialect.name == "sqlite" else "postgresql"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries; nothing is committed."""
        with driver_errors():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction; rolled back when the block raises."""
        with driver_errors():
            async with AsyncExitStack() as stack:
                if self.dialect == "sqlite":
                    connection = await stack.enter_async_context(self._sqlite_writer())
                else:
                    connection = await stack.enter_async_context(self.engine.connect())
                async with connection.begin():
                    yield connection

    async def aclose(self) -> None:
        """Close every connection."""
        if self._writer is not None:
            await self._writer.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def _sqlite_writer(self) -> AsyncIterator[AsyncConnection]:
        # Our own writers wait for each other here, in order, instead of polling SQLite's lock.
        async with self._writer_lock:
            if self._writer is None:
                self._writer = await self.engine.connect()
                await self._writer.execution_options(mneme_writer=True)
            yield self._writer


@contextmanager
def driver_errors() -> Iterator[None]:
    """Turn what the driver raises into a `StorageError` that names cause and remedy."""
    try:
        yield
    except PoolTimeout as error:
        raise StorageError(f"database: no free connection; raise MNEME_DATABASE__POOL_SIZE: {error}") from error
    except OperationalError as error:
        raise StorageError(f"database: {_remedy(str(error.orig))}") from error
    except DBAPIError as error:
        raise StorageError(f"database: {type(error.orig).__name__}: {error.orig}") from error


def _remedy(text: str) -> str:
    lowered = text.lower()
    if "locked" in lowered or "busy" in lowered:
        return f"{text}: another process held the write lock for too long; the transaction was not kept, try again"
    if "full" in lowered or "no space" in lowered:
        return f"{text}: the disk is full; the transaction was not kept, free some space and try again"
    if "no such table" in lowered or "no such column" in lowered:
        return f"{text}: the schema is older than this release; run `mneme db upgrade`"
    return text


def _prepare_sqlite(engine: AsyncEngine, settings: Settings) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={settings.database.synchronous}",
            "foreign_keys=ON",
            f"busy_timeout={int(settings.database.busy_timeout_s * 1000)}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: object) -> None:
        options = connection.get_execution_options()  # type: ignore[attr-defined]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("mneme_writer") else "BEGIN")  # type: ignore[attr-defined]
