"""SQLite as a service uses it: WAL, a few readers, and one writer that commits what waits together.

The async driver hands every cursor call to a thread, which made a transaction of three statements take 2 to 3 ms instead
of 0.3; here a transaction is one call on a thread. Transactions that wait while the disk is busy share the next commit,
so that many callers need few of them. If one of them fails, none is kept and each is run again on its own: a failure
stays with its owner, and `work` may be called twice, of which one call leaves a trace. Source: ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from runtime.db_errors import driver_errors
from runtime.errors import StorageError
from runtime.settings import Settings

T = TypeVar("T")
Work = Callable[[Connection], T]
READERS = 4
TOGETHER = 64


class Job(NamedTuple):
    """A transaction that waits, and who waits for it."""

    work: Work[Any]
    future: Future[Any]


class SQLite:
    """One file, one writer thread; other processes may have it open too. See `runtime.db.Database`."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, settings: Settings) -> None:
        self._engine = sqlite_engine(settings)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="db-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-reader")
        self._waiting: deque[Job] = deque()
        self._connection: Connection | None = None
        self._closed = False

    async def read(self, work: Work[T]) -> T:
        """See `Database`."""
        self._check_open()
        return await asyncio.wrap_future(self._readers.submit(self._read, work))

    async def write(self, work: Work[T]) -> T:
        """See `Database`. A caller that is cancelled does not tear the transaction: it ends one way or the other."""
        self._check_open()
        job = Job(work, Future())
        self._waiting.append(job)
        self._writer.submit(self._drain)
        result: T = await asyncio.wrap_future(job.future)
        return result

    async def scrub(self) -> bool:
        """See `Database`. Freed pages are overwritten when they are freed; this empties the write-ahead log."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._checkpoint)

    async def aclose(self) -> None:
        """See `Database`. What waits is written first."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._writer, self._disconnect)
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("database: it was closed, because the service stops; nothing was kept")

    def _read(self, work: Work[T]) -> T:
        with driver_errors(), self._engine.connect() as connection:
            return work(connection)

    # -- on the writer thread ------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        jobs: list[Job] = []
        while self._waiting and len(jobs) < TOGETHER:
            job = self._waiting.popleft()
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
        if jobs and not self._commit(jobs):
            for job in jobs:
                self._commit([job])

    def _commit(self, jobs: Sequence[Job]) -> bool:
        """Run all of them in one transaction. False: one of several failed, nobody was told, nothing was kept."""
        begun = False
        try:
            with driver_errors():
                connection = self._connected()
                with connection.begin():
                    begun = True
                    results = [job.work(connection) for job in jobs]
        except BaseException as error:  # noqa: BLE001 - it is raised where the transaction was asked for
            # A commit that was refused may leave the transaction open; the pool ends it before anybody gets it again.
            self._disconnect()
            if begun and len(jobs) > 1:
                return False
            for job in jobs:
                # An exception belongs to one raiser: each caller adds its own traceback to it.
                own = StorageError(error.message) if isinstance(error, StorageError) and len(jobs) > 1 else error
                job.future.set_exception(own)
            return True
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
        return True

    def _checkpoint(self) -> bool:
        with driver_errors():
            driver = self._connected().connection.driver_connection
            assert driver is not None
            # Waits for readers as long as any statement does; some reader may stay longer.
            busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(mneme_writer=True)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


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
            # Kilobytes of pages that each connection keeps; the default of 2 MB is less than one search reads.
            "cache_size=-8000",
            # What is deleted is overwritten with zeros, so that a purge leaves nothing behind.
            "secure_delete=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("mneme_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
