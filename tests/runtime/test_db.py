"""The database: whole transactions or none, every refusal in words, and usable afterwards."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from runtime.db import Database, open_database
from runtime.errors import Conflict, InvalidInput, StorageError
from runtime.settings import Settings
from runtime.tables import Executor, Run, User
from tests.conftest import free_port, make_settings

pytestmark = pytest.mark.anyio

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def add(name: str) -> Callable[[Connection], None]:
    """A transaction that adds one user."""

    def work(connection: Connection) -> None:
        connection.execute(insert(User).values(id=f"usr_{name}", name=name, role="member", created_at=NOW))

    return work


async def names(db: Database) -> list[str]:
    query = select(User.name).order_by(User.name)
    return list(await db.read(lambda connection: connection.execute(query).scalars().all()))


@pytest.fixture
async def sqlite(settings: Settings) -> AsyncIterator[Database]:
    opened = open_database(settings)
    yield opened
    await opened.aclose()


# -- on both -----------------------------------------------------------------------------------------------------------


async def test_a_transaction_is_kept_when_it_returns_and_gives_its_result(db: Database) -> None:
    assert await db.write(lambda connection: (add("ann")(connection), "done")[1]) == "done"
    assert await names(db) == ["ann"]


async def test_what_a_transaction_raises_passes_and_nothing_of_it_is_kept(db: Database) -> None:
    def work(connection: Connection) -> None:
        add("ann")(connection)
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await db.write(work)
    assert await names(db) == []
    await db.write(add("bob"))
    assert await names(db) == ["bob"]


async def test_a_read_keeps_nothing(db: Database) -> None:
    await db.read(add("ann"))
    assert await names(db) == []


async def test_a_broken_rule_is_a_storage_error_with_its_cause(db: Database) -> None:
    await db.write(add("ann"))
    with pytest.raises(StorageError, match=r"(?i)unique") as caught:
        await db.write(add("ann"))
    assert isinstance(caught.value.__cause__, IntegrityError)


@pytest.mark.parametrize("value", ["\ud800", "half \udfff"])
async def test_text_that_no_column_can_hold_is_the_callers_fault(db: Database, value: str) -> None:
    with pytest.raises(InvalidInput, match="cannot hold"):
        await db.write(add(value))
    with pytest.raises(InvalidInput, match="cannot hold"):
        await db.read(lambda connection: connection.execute(select(User.id).where(User.name == value)).all())


async def test_a_number_that_no_column_can_hold_is_the_callers_fault(db: Database) -> None:
    values = {"id": "e", "host": "h", "pid": 2**70, "version": "1", "started_at": NOW, "heartbeat_at": NOW}
    with pytest.raises(InvalidInput, match="cannot hold"):
        await db.write(lambda connection: connection.execute(insert(Executor).values(values)))


async def test_what_is_not_json_is_the_callers_fault(db: Database) -> None:
    with pytest.raises(InvalidInput, match="cannot hold"):
        await db.write(lambda connection: connection.execute(select(Run.id).where(Run.spec == {"a": object()})))


async def test_times_come_back_in_utc_whatever_zone_they_had(db: Database) -> None:
    await db.write(add("ann"))
    query = select(User.created_at)
    back = await db.read(lambda connection: connection.execute(query).scalar_one())
    assert (back, back.tzinfo) == (NOW, UTC)


async def test_a_database_without_tables_says_what_to_do(
    tmp_path: Path, request: pytest.FixtureRequest, any_settings: Settings
) -> None:
    url = None if any_settings.database.url is None else request.getfixturevalue("postgres_url")
    opened = open_database(make_settings(tmp_path / "empty", database__url=url))
    with pytest.raises(StorageError, match="mneme db upgrade"):
        await opened.write(add("ann"))
    await opened.aclose()


async def test_many_writers_at_once_all_get_through(db: Database) -> None:
    await asyncio.gather(*(db.write(add(f"u{n:03}")) for n in range(100)))
    assert await names(db) == [f"u{n:03}" for n in range(100)]


# -- SQLite ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "number"), [("FULL", 2), ("NORMAL", 1)])
async def test_every_sqlite_connection_has_the_pragmas(tmp_path: Path, mode: str, number: int) -> None:
    opened = open_database(make_settings(tmp_path, database__synchronous=mode))

    def pragmas(connection: Connection) -> list[Any]:
        wanted = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted]

    assert await opened.write(pragmas) == ["wal", number, 1]
    assert await opened.read(pragmas) == ["wal", number, 1]
    await opened.aclose()


async def test_a_lock_held_for_too_long_refuses_everything_that_waits_and_then_passes(
    settings: Settings, tmp_path: Path
) -> None:
    opened = open_database(make_settings(tmp_path, database__busy_timeout_s=0.3))
    await opened.write(add("before"))
    holder = sqlite3.connect(settings.home / "mneme.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    refused = await asyncio.gather(*(opened.write(add(f"u{n}")) for n in range(20)), return_exceptions=True)
    assert time.monotonic() - begun < 3, "who waits together is refused together"
    assert all(isinstance(error, StorageError) and "locked" in error.message for error in refused)
    assert "try again" in str(refused[0])
    assert await names(opened) == ["before"], "reading goes on"
    holder.execute("ROLLBACK")
    holder.close()
    await opened.write(add("after"))
    assert await names(opened) == ["after", "before"]
    await opened.aclose()


async def test_a_full_disk_refuses_what_does_not_fit_and_keeps_nothing_of_it(sqlite: Database) -> None:
    def limit(connection: Connection, pages: int | None = None) -> None:
        used = pages or connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 2
        connection.exec_driver_sql(f"PRAGMA max_page_count={used}")

    def fill(connection: Connection) -> None:
        for number in range(2000):
            add(f"{number}-{'x' * 100}")(connection)

    await sqlite.write(limit)
    with pytest.raises(StorageError, match="the disk is full; the transaction was not kept"):
        await sqlite.write(fill)
    assert await names(sqlite) == []
    await sqlite.write(add("small"))
    assert await names(sqlite) == ["small"], "what fits is still taken"
    await sqlite.write(lambda connection: limit(connection, 1_000_000))
    await sqlite.write(fill)
    assert len(await names(sqlite)) == 2001


class Gate:
    """A transaction that stays open until it is told to end, so that others have to wait behind it."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def work(self, connection: Connection) -> None:
        self.entered.set()
        assert self.leave.wait(10)


async def behind_a_gate(db: Database, *works: Callable[[Connection], Any]) -> list[Any]:
    """The outcomes of transactions that all wait at the same moment."""
    gate = Gate()
    first = asyncio.create_task(db.write(gate.work))
    await asyncio.to_thread(gate.entered.wait, 10)
    rest = [asyncio.create_task(db.write(work)) for work in works]
    await asyncio.sleep(0)  # each runs as far as its place in the queue
    gate.leave.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


async def test_transactions_that_wait_share_a_commit(sqlite: Database, settings: Settings) -> None:
    outside: list[int] = []

    def look(connection: Connection) -> int:
        with sqlite3.connect(settings.home / "mneme.db") as other:
            outside.append(other.execute("SELECT count(*) FROM users").fetchone()[0])
        other.close()
        return connection.execute(select(func.count()).select_from(User)).scalar_one()

    outcomes = await behind_a_gate(sqlite, add("a"), add("b"), look)
    assert outcomes == [None, None, 2]
    assert outside == [0], "the two before it were not committed yet"
    assert await names(sqlite) == ["a", "b"]


async def test_one_that_fails_does_not_hurt_those_that_share_its_commit(sqlite: Database) -> None:
    def fails(connection: Connection) -> None:
        add("half")(connection)
        raise Conflict("mine alone")

    outcomes = await behind_a_gate(sqlite, add("a"), fails, add("b"), add("a"), add("c"))
    assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None), StorageError, type(None)]
    assert isinstance(outcomes[3].__cause__, IntegrityError)
    assert await names(sqlite) == ["a", "b", "c"]


async def test_a_caller_that_gives_up_while_waiting_leaves_no_trace(sqlite: Database) -> None:
    gate = Gate()
    first = asyncio.create_task(sqlite.write(gate.work))
    await asyncio.to_thread(gate.entered.wait, 10)
    given_up = asyncio.create_task(sqlite.write(add("given up")))
    stays = asyncio.create_task(sqlite.write(add("stays")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    gate.leave.set()
    await asyncio.gather(first, stays)
    assert given_up.cancelled()
    assert await names(sqlite) == ["stays"]


async def test_a_caller_that_gives_up_in_the_middle_does_not_tear_its_transaction(sqlite: Database) -> None:
    gate = Gate()

    def work(connection: Connection) -> None:
        add("a")(connection)
        gate.work(connection)
        add("b")(connection)

    task = asyncio.create_task(sqlite.write(work))
    await asyncio.to_thread(gate.entered.wait, 10)
    task.cancel()
    gate.leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sqlite.write(add("c"))
    assert await names(sqlite) == ["a", "b", "c"]


async def test_closing_writes_what_waits_and_refuses_what_comes_later(settings: Settings) -> None:
    opened = open_database(settings)
    writing = [asyncio.create_task(opened.write(add(f"u{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    await opened.aclose()
    await opened.aclose()
    await asyncio.gather(*writing)
    for refused in (opened.read(add("late")), opened.write(add("late"))):
        with pytest.raises(StorageError, match="closed"):
            await refused
    again = open_database(settings)
    assert len(await names(again)) == 5
    await again.aclose()


ACKNOWLEDGED = """
import asyncio, os, signal, sys
from pathlib import Path
from runtime.db import open_database
from tests.conftest import make_settings
from tests.runtime.test_db import add

async def main():
    db = open_database(make_settings(Path(sys.argv[1])))
    for number in range(50):
        await db.write(add(f"u{number:02}"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_is_there_after_a_kill(settings: Settings, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-c", ACKNOWLEDGED, str(settings.home)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=request.config.rootpath, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    opened = open_database(settings)
    assert len(await names(opened)) == 50
    await opened.aclose()


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "mneme.db").write_bytes(b"certainly no database " * 100)
    opened = open_database(make_settings(tmp_path))
    with pytest.raises(StorageError, match="not a database"):
        await opened.write(add("ann"))
    await opened.aclose()


async def test_a_home_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        open_database(make_settings(tmp_path / "file" / "home"))


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


async def test_a_row_locked_for_too_long_is_refused(migrated_postgres: str, tmp_path: Path) -> None:
    opened = open_database(make_settings(tmp_path, database__url=migrated_postgres, database__busy_timeout_s=0.2))
    with psycopg.connect(migrated_postgres) as holder:
        holder.execute("LOCK TABLE users")
        with pytest.raises(StorageError, match=r"lock timeout.*try again"):
            await opened.write(add("ann"))
    await opened.write(lambda connection: connection.execute(text("SELECT 1")))
    await opened.aclose()


async def test_who_stands_still_in_a_transaction_loses_it_and_others_get_the_lock(
    migrated_postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.db.ABANDONED_AFTER_S", 0.2)
    opened = open_database(make_settings(tmp_path, database__url=migrated_postgres))

    def sleeper(connection: Connection) -> None:
        connection.execute(text("LOCK TABLE users"))
        with psycopg.connect(migrated_postgres) as other:
            other.execute("SET lock_timeout = '20s'")
            other.execute("LOCK TABLE users")
        connection.execute(text("SELECT 1"))

    with pytest.raises(StorageError, match=r"stood still.*try again"):
        await opened.write(sleeper)
    await opened.write(add("ann"))
    await opened.aclose()


async def test_connections_that_the_server_closed_are_replaced(migrated_postgres: str, tmp_path: Path) -> None:
    opened = open_database(make_settings(tmp_path, database__url=migrated_postgres))
    own = await opened.read(lambda connection: connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    with psycopg.connect(migrated_postgres, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (own,))
    new = await opened.read(lambda connection: connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    assert new != own
    await opened.aclose()


async def test_a_server_that_is_not_there_is_said_to_be_unreachable(tmp_path: Path) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/mneme"
    opened = open_database(make_settings(tmp_path, database__url=url))
    with pytest.raises(StorageError, match=r"cannot be reached.*DATABASE_URL"):
        await opened.read(lambda connection: None)
    await opened.aclose()
