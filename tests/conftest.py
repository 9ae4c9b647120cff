"""Fixtures that every part uses: settings in a folder of their own, both databases, the data sets, no way out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runtime.db import Database, open_database
from runtime.migrate import upgrade
from runtime.settings import Settings, load

ROOT = Path(__file__).parent.parent
LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would leave this machine fails with a clear line."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address!r}; tests stay on this machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def shared_data() -> Path:
    """The data sets for tests and evaluations; a test that needs them fails without them."""
    folder = Path(os.environ.get("MNEME_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.fail(f"the data sets are not at {folder}; put them there or set MNEME_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of our own; gives the URL of its maintenance database."""
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="mneme-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(command, user=user, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode != 0:
            pytest.fail(f"{command[0]} failed: {done.stderr or done.stdout}")

    data = folder / "data"
    run(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
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
    quick = {"llm.model": "scripted/echo", "database.synchronous": "NORMAL", "telemetry.log_level": "WARNING"}
    return load({"home": str(home), **quick, **dotted}, env={}).settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """SQLite, the scripted model, migrated."""
    made = make_settings(tmp_path)
    upgrade(made)
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The same on both databases, migrated."""
    if request.param == "postgresql":
        made = make_settings(tmp_path, database__url=request.getfixturevalue("postgres_url"))
    else:
        made = make_settings(tmp_path)
    upgrade(made)
    return made


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


def _postgres_binaries() -> Path:
    found = shutil.which("pg_ctl")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found is not None:
        return Path(found).resolve().parent
    if not folders:
        pytest.fail("no PostgreSQL server on this machine; install the Debian package `postgresql`")
    return folders[0]
