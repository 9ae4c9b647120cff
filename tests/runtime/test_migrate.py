"""Migrations: from nothing to the schema of this release, once, whoever else tries."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

import memory.tables  # noqa: F401 - the store's tables are part of the one schema
from runtime.db import open_database
from runtime.errors import StorageError
from runtime.migrate import current, head, upgrade
from runtime.settings import Settings
from runtime.tables import Base
from tests.conftest import make_settings

# Made by hand in the migration, with the tables that FTS5 keeps behind its own.
FULL_TEXT = ("memory_fts", "memory_text", "memory_words")
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a database without anything in it."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return make_settings(tmp_path / "home", database__url=url)


def test_an_empty_database_has_no_revision_and_asking_makes_none(empty: Settings) -> None:
    assert current(empty) is None
    assert not (empty.home / "mneme.db").exists()


def test_upgrading_reaches_the_head_and_again_changes_nothing(empty: Settings) -> None:
    assert upgrade(empty) == head() == current(empty)
    assert upgrade(empty) == head()


async def test_the_migrations_make_the_tables_that_the_code_declares(any_settings: Settings) -> None:
    db = open_database(any_settings)

    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, _: kind != "table" or not str(name).startswith(FULL_TEXT)}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    assert await db.read(differences) == []
    await db.aclose()


UPGRADE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from runtime.migrate import upgrade
from tests.conftest import make_settings

settings = make_settings(Path(sys.argv[1]), database__url=sys.argv[2] or None)
sys.stdin.readline()
print(upgrade(settings))
"""


def test_processes_that_upgrade_at_once_all_find_it_done(empty: Settings, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-c", UPGRADE, str(empty.home), empty.database.url or ""]
    started = [
        subprocess.Popen(command, cwd=request.config.rootpath, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        for _ in range(3)
    ]
    with ThreadPoolExecutor(len(started)) as threads:
        for output, errors in threads.map(lambda process: process.communicate("go\n"), started):
            assert output.strip() == head(), errors
    assert current(empty) == head()


async def test_a_schema_of_a_newer_release_is_left_alone(empty: Settings) -> None:
    upgrade(empty)
    db = open_database(empty)
    await db.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await db.aclose()
    with pytest.raises(StorageError, match=r"'9999' is newer than this release.*install the newer release"):
        upgrade(empty)
    assert current(empty) == "9999"


def test_an_upgrade_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, database__busy_timeout_s=0.2)
    holder = sqlite3.connect(tmp_path / "mneme.db", isolation_level=None)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        upgrade(settings)
    assert holder.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    holder.execute("ROLLBACK")
    holder.close()
    assert upgrade(settings) == head()
