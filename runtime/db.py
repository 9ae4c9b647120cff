"""The database: transactions are plain functions over a SQLAlchemy `Connection`, run off the event loop.

`await db.write(f)` runs `f(connection)` in one transaction that commits when it returns and is rolled back when it
raises; `await db.read(f)` runs queries. On PostgreSQL that is SQLAlchemy's async engine. On SQLite (WAL) it is one
writer thread and a few readers with the sync engine: the async driver hands every cursor call to a thread, which made a
transaction of three statements take 2 to 3 ms instead of 0.3. Whatever the driver raises becomes a `StorageError` that
says what to do. Source: ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from runtime.errors import StorageError
from runtime.settings import Settings

T = TypeVar("T")
Work = Callable[[Connection], T]
READERS = 4


class Database(Protocol):
    """What the stores need. Connections are made when they are first used."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    async def read(self, work: Work[T]) -> T:
        """Run queries; nothing is committed. Raises `StorageError`."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run one transaction; what `work` raises rolls it back and passes through. Raises `StorageError`."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def open_database(settings: Settings) -> Database:
    """Give the database of the settings."""
    if settings.database_url.startswith("sqlite"):
        settings.home.mkdir(parents=True, exist_ok=True)
        return SQLite(settings)
    return PostgreSQL(settings)


class SQLite:
    """One file, one writer thread; other processes may have it open too."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, settings: Settings) -> None:
        self._engine = sqlite_engine(settings)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="db-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-reader")

    async def read(self, work: Work[T]) -> T:
        """See `Database`."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Work[T]) -> T:
        """See `Database`. A caller that is cancelled does not tear the transaction: it ends one way or the other."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    async def aclose(self) -> None:
        """See `Database`."""
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._engine.dispose()

    def _read(self, work: Work[T]) -> T:
        with driver_errors(), self._engine.connect() as connection:
            return work(connection)

    def _write(self, work: Work[T]) -> T:
        with driver_errors(), self._engine.connect() as connection:
            connection = connection.execution_options(mneme_writer=True)
            with connection.begin():
                return work(connection)


class PostgreSQL:
    """A server shared by any number of processes."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, settings: Settings) -> None:
        size = settings.database.pool_size
        self._engine: AsyncEngine = create_async_engine(
            settings.database_url, pool_size=size, max_overflow=size, pool_pre_ping=True
        )

    async def read(self, work: Work[T]) -> T:
        """See `Database`."""
        with driver_errors():
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        """See `Database`."""
        with driver_errors():
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def aclose(self) -> None:
        """See `Database`."""
        await self._engine.dispose()


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
        raise StorageError(f"database: {type(error.orig).__name__}: {_remedy(str(error.orig))}") from error


def sqlite_engine(settings: Settings) -> Engine:
    """The sync engine over the file, with our pragmas; a writer begins with `BEGIN IMMEDIATE`."""
    engine = create_engine(
        settings.database_url.replace("sqlite+aiosqlite", "sqlite"),
        pool_size=READERS + 1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": settings.database.busy_timeout_s},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={settings.database.synchronous}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("mneme_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _remedy(text: str) -> str:
    lowered = text.lower()
    if "locked" in lowered or "busy" in lowered:
        return f"{text}: another process held the write lock for too long; the transaction was not kept, try again"
    if "full" in lowered or "no space" in lowered:
        return f"{text}: the disk is full; the transaction was not kept, free some space and try again"
    if "no such table" in lowered or "no such column" in lowered or "does not exist" in lowered:
        return f"{text}: the schema is not the one of this release; run `mneme db upgrade`"
    return text
