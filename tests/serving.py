"""`mneme serve` as a process, for tests that look at it from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# A machine that is shared starts slowly; how fast a start may be is measured elsewhere.
START_S = 180.0
FOREIGN = ("MNEME_", "OPENAI_", "DATABASE_URL", "QDRANT_")
# The service is on this machine: a proxy named by the environment has no business there.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def bare_environment() -> dict[str, str]:
    """The environment without any setting of this machine's, and with the encoder that needs no weights."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return bare | {"MNEME_EMBED__MODEL": "hashing-384"}


class Running(NamedTuple):
    """A process that stays, and where it answers."""

    process: subprocess.Popen[str]
    url: str
    remarks: Path

    def ask(self, agent: str) -> None:
        """One chat completion."""
        body = {"model": agent, "messages": [{"role": "user", "content": "Name a prime number."}]}
        request = urllib.request.Request(
            self.url + "/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _OPENER.open(request, timeout=60) as response:
            assert response.status == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with _OPENER.open(self.url + path, timeout=10) as response:
                return int(response.status), response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def serving(env: dict[str, str], folder: Path, *arguments: str) -> Iterator[Running]:
    """`mneme serve` on a free port, answering; killed behind the block when it is still there."""
    port = free_port()
    remarks = folder / "stderr"
    with (
        remarks.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(port), *arguments],
            env=env,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        running = Running(process, f"http://127.0.0.1:{port}", remarks)
        try:
            until(lambda: answers(running), f"the service to answer; it said: {remarks.read_text()}")
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def answers(running: Running) -> bool:
    assert running.process.poll() is None, running.remarks.read_text()
    try:
        return running.get("/health")[0] == 200
    except OSError:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {START_S} s for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
