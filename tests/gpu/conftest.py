"""A fake engine on a free port, below a home of its own, and a way to wait for what another process does."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import psutil
import pytest

from runtime.settings import EngineSettings, Settings

HERE = Path(__file__).parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Fake(NamedTuple):
    """Settings whose engine port is free, and the command that serves there."""

    settings: Settings
    command: list[str]

    @property
    def port(self) -> int:
        return self.settings.engine.port

    async def get(self, path: str) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.get(f"http://127.0.0.1:{self.port}{path}")
            return dict(reply.json())

    async def die(self) -> None:
        """Make the running engine exit at once with status 7."""
        with pytest.raises(httpx.HTTPError):
            await self.get("/die")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    port = free_port()
    yield Fake(
        Settings(home=tmp_path, engine=EngineSettings(port=port, ready_timeout_s=10)),
        [sys.executable, str(HERE / "fake_engine.py"), "--port", str(port)],
    )
    # Whatever a failed test leaves behind works in this folder.
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(tmp_path):
                process.kill()
        except psutil.Error:
            continue


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`await eventually(condition)`: until it holds, looked at often; fails with what it was waiting for after 10 s."""

    async def wait(condition: Callable[[], object], what: str = "the condition") -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true within 10 s"
            await anyio.sleep(0.02)

    return wait


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """True when no such process runs; a zombie does not."""

    def check(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return check
