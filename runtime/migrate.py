"""Brings a database to the schema of this release; the scripts are in the package. Source: ours, over Alembic.

Two processes may upgrade at once: on PostgreSQL an advisory lock, on SQLite the write lock lets one do it, and the other
finds it done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from runtime.db_errors import driver_errors
from runtime.errors import StorageError
from runtime.settings import Settings
from runtime.sqlite import sqlite_engine

SCRIPTS = Path(__file__).with_name("migrations")
LOCK = 7_640_901


def head() -> str:
    """The revision of this release."""
    revision = ScriptDirectory(str(SCRIPTS)).get_current_head()
    assert revision is not None
    return revision


def current(settings: Settings) -> str | None:
    """The revision of the database; None for an empty one. Raises `StorageError`."""
    if settings.database.url is None and not (settings.home / "mneme.db").exists():
        return None
    with _connection(settings) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(settings: Settings) -> str:
    """Bring the database to `head` and return it. Raises `StorageError`; then nothing has changed."""
    if settings.database_url.startswith("sqlite"):
        settings.home.mkdir(parents=True, exist_ok=True)
    with _connection(settings) as connection:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        config.attributes["connection"] = connection
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        found = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}
        if found is not None and found not in known:
            raise StorageError(
                f"database schema {found!r} is newer than this release (head {head()!r}); install the newer release"
            )
        command.upgrade(config, "head")
        connection.commit()
    return head()


@contextmanager
def _connection(settings: Settings) -> Iterator[Connection]:
    with driver_errors():
        sqlite = settings.database_url.startswith("sqlite")
        engine = sqlite_engine(settings) if sqlite else create_engine(settings.database_url)
        try:
            with engine.connect() as connection:
                yield connection.execution_options(mneme_writer=True)
        finally:
            engine.dispose()
