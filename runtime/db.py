"""The database: transactions are plain functions over a SQLAlchemy `Connection`, run off the event loop.

`await db.write(f)` runs `f(connection)` in one transaction that commits when it returns and is rolled back when it
raises; `await db.read(f)` runs queries. On PostgreSQL that is SQLAlchemy's async engine; on SQLite it is threads over
the sync one (see runtime/sqlite.py). Whatever the driver raises becomes a `StorageError` that says what to do.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from runtime.db_errors import driver_errors
from runtime.settings import Settings
from runtime.sqlite import SQLite

T = TypeVar("T")
Work = Callable[[Connection], T]
CONNECT_TIMEOUT_S = 10
# A process that is stopped or cut off in the middle of a transaction keeps its locks no longer than this. Well above any
# pause between two statements of ours, well below `database.busy_timeout_s`, so that those who wait get the lock.
ABANDONED_AFTER_S = 10.0


class Database(Protocol):
    """What the stores need. Connections are made when they are first used."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    async def read(self, work: Work[T]) -> T:
        """Run queries; nothing is committed. Raises `StorageError`, `InvalidInput` for a value no column can hold."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run one transaction; what `work` raises rolls it back and passes through. Raises as `read` does.

        `work` may be called again after a failure, so it must do nothing but write.
        """
        ...

    async def scrub(self) -> bool:
        """See to it that what was deleted is in no file any more, now; False when it will only be later."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def open_database(settings: Settings) -> Database:
    """Give the database of the settings. Raises `StorageError` when `home` cannot be made."""
    if settings.database_url.startswith("sqlite"):
        with driver_errors():
            settings.home.mkdir(parents=True, exist_ok=True)
        return SQLite(settings)
    return PostgreSQL(settings)


class PostgreSQL:
    """A server shared by any number of processes."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, settings: Settings) -> None:
        size = settings.database.pool_size
        self._engine: AsyncEngine = create_async_engine(
            settings.database_url,
            pool_size=size,
            max_overflow=size,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )
        limits = {
            "lock_timeout": settings.database.busy_timeout_s,
            "idle_in_transaction_session_timeout": ABANDONED_AFTER_S,
        }

        @event.listens_for(self._engine.sync_engine, "connect")
        def on_connect(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            for name, seconds in limits.items():
                cursor.execute(f"SET {name} = {round(seconds * 1000)}")
            cursor.close()
            connection.commit()

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

    async def scrub(self) -> bool:
        """See `Database`. A deleted row stays in its page until the server's own vacuum."""
        return False

    async def aclose(self) -> None:
        """See `Database`."""
        await self._engine.dispose()
