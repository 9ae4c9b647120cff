"""Fixtures that every part uses: settings in a folder of their own, both databases, the data sets, no way out."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import memory.tables  # noqa: F401 - every table that is emptied between tests
from memory.indices import lexical
from runtime.db import Database, open_database
from runtime.migrate import upgrade
from runtime.settings import Settings, load
from runtime.tables import Base

E = TypeVar("E", Engine, AsyncEngine)
ROOT = Path(__file__).parent.parent
LOOPBACK = ("127.", "::1", "localhost")
# How long examples take to make says something of the machine only.
hypothesis.settings.register_profile("ours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ours")
DATA = Path(os.environ.get("MNEME_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """Engines of one kind share what SQLAlchemy has compiled, as the one engine of a service does over its life.

    Nearly every test opens a database of its own; to compile the same statements in each took a third of all the time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runtime.sqlite.create_engine", _sharing(create_engine))
        patch.setattr("runtime.db.create_async_engine", _sharing(create_async_engine))
        yield


def _sharing(create: Callable[..., E]) -> Callable[..., E]:
    shared: list[Engine] = []

    def made(*args: Any, **options: Any) -> E:
        engine = create(*args, query_cache_size=5000, **options)
        sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        if shared:
            # A statement is kept under the dialect that it was compiled for.
            sync.dialect, sync._compiled_cache = shared[0].dialect, shared[0]._compiled_cache
        else:
            # The dialect asks the server what it can do when it first connects.
            event.listen(sync, "connect", lambda *_: shared.append(sync), once=True)
        return engine

    return made


@pytest.fixture(autouse=True)
def no_test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests read from the environment is an unknown setting to the service, which refuses to start with one."""
    for name in ("MNEME_TEST_DATA", "MNEME_TEST_KILLS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would leave this machine, or ask a name server, fails with a clear line."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", "0.0.0.0", "::") and not str(name).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {name!r}; tests stay on this machine")

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return connect_ex(self, address)

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
def shared_data() -> Path:
    """The data sets for tests and evaluations; a test that needs them fails without them."""
    if not DATA.is_dir():
        pytest.fail(f"the data sets are not at {DATA}; put them there or set MNEME_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of our own; gives the URL of its maintenance database."""
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="mneme-postgres-"))
    # The server refuses to run as root.
    user, group = _unprivileged() if os.geteuid() == 0 else (None, None)
    if user is not None and group is not None:
        shutil.chown(folder, user, group)
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(command, user=user, group=group, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode != 0:
            pytest.fail(f"{command[0]} failed: {done.stderr or done.stdout}")

    data = folder / "data"
    run(
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-A",
        "trust",
        "-U",
        "postgres",
        "--no-sync",
        "-E",
        "UTF8",
        "--no-locale",
    )
    options = (
        f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=200 "
        "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"
    )
    run(str(binaries / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty database on the server."""
    name = f"t{os.urandom(6).hex()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield postgres_server.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def make_settings(home: Path, **flags: Any) -> Settings:
    """Settings for a test: nothing comes from the environment, runs are quick to move."""
    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    quick = {
        "runs.model_wait_s": 2.0,
        "llm.model": "scripted/echo",
        "embed.model": "hashing-384",
        "database.synchronous": "NORMAL",
        "telemetry.log_level": "WARNING",
    }
    return load({"home": str(home), **quick, **dotted}, env={}).settings


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database to copy."""
    made = make_settings(tmp_path_factory.mktemp("migrated"))
    upgrade(made)
    return made.home / "mneme.db"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> str:
    """A migrated PostgreSQL database, which is emptied for every test that uses it."""
    url = postgres_server.rsplit("/", 1)[0] + "/migrated"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    upgrade(load({"database.url": url}, env={}).settings)
    return url


@pytest.fixture
def settings(tmp_path: Path, migrated_file: Path) -> Settings:
    """SQLite, the scripted model, migrated."""
    made = make_settings(tmp_path)
    shutil.copy(migrated_file, made.home)
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The same on both databases, migrated."""
    if request.param == "sqlite":
        made: Settings = request.getfixturevalue("settings")
        return made
    url: str = request.getfixturevalue("migrated_postgres")
    names = (*Base.metadata.tables, *lexical.TABLES["postgresql"])
    with psycopg.connect(url, autocommit=True) as connection:
        # Deleting a few rows is ten times quicker than truncating; without the triggers the order does not matter.
        connection.execute("SET lock_timeout = '5s'; SET session_replication_role = replica")
        connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in names))
    return make_settings(tmp_path, database__url=url)


@pytest.fixture
async def db(any_settings: Settings) -> AsyncIterator[Database]:
    """A migrated database, each kind in turn."""
    opened = open_database(any_settings)
    yield opened
    await opened.aclose()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _unprivileged() -> tuple[int, int]:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return entry.pw_uid, entry.pw_gid


def _postgres_binaries() -> Path:
    found = shutil.which("pg_ctl")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found is not None:
        return Path(found).resolve().parent
    if not folders:
        pytest.fail("no PostgreSQL server on this machine; install the Debian package `postgresql`")
    return folders[0]
