"""The service on a real socket, over a scripted model server that is a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from api.workers import settings_to_line
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from runtime.migrate import upgrade
from runtime.settings import Settings
from tests.conftest import make_settings
from tests.serving import START_S


class Served:
    """A running service, its address, and clients for it."""

    def __init__(self, settings: Settings, url: str, model: ScriptedProcess | None) -> None:
        self.settings = settings
        self.url = url
        self.model = model
        self._clients: list[openai.OpenAI] = []
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def openai(self, key: str = "none", **options: Any) -> openai.OpenAI:
        """The unmodified client."""
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60, **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close every client that was given out."""
        self.http.close()
        for client in self._clients:
            client.close()

    def ended(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""
        waiting = {"timeout_s": 60}
        run: dict[str, Any] = self.http.post(f"/api/runs/{run_id}/wait", json=waiting, timeout=START_S).json()
        return run

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Its log."""
        return list(self.http.get(f"/api/runs/{run_id}/events").json()["items"])


Serve = Callable[..., AbstractContextManager[Served]]


@contextmanager
def serving(home: Path, script: str | None = "", **flags: Any) -> Iterator[Served]:
    """Serve until the block ends; without a script the model is the scripted one in process."""
    if script is None:
        with _service(make_settings(home, **flags), None) as served:
            yield served
        return
    with scripted_process(script) as model:
        settings = make_settings(home, llm__model="scripted", llm__base_url=model.url, llm__retry_base_s=0.01, **flags)
        with _service(settings, model) as served:
            yield served


@contextmanager
def _service(settings: Settings, model: ScriptedProcess | None) -> Iterator[Served]:
    # A process of its own: DBOS is one per process, and a module may have several services going.
    upgrade(settings)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        command = [sys.executable, "-m", "api.child", str(bound.fileno())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(bound.fileno(),)) as process:
            assert process.stdin is not None
            process.stdin.write(settings_to_line(settings))
            process.stdin.flush()
            served = Served(settings, f"http://127.0.0.1:{bound.getsockname()[1]}", model)
            try:
                assert served.http.get("/health", timeout=START_S).status_code == 200
                yield served
            finally:
                served.close()
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serve with a script of one's own: `with serve('[[rule]] …') as served`."""

    def start(script: str | None = "", **flags: Any) -> AbstractContextManager[Served]:
        return serving(tmp_path, script, **flags)

    return start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the tests of a module that need nothing special."""
    with serving(tmp_path_factory.mktemp("served"), SCRIPT) as running:
        yield running


SCRIPT = """
[[rule]]
contains = "weather"
tool_calls = [{ name = "get_weather", arguments = { city = "Oslo" } }]
[[rule]]
contains = "think"
reasoning = "Let me see. It is four."
reply = "Four."
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten eleven twelve"
delay_ms = 100
[[rule]]
contains = "broken"
fault = "500"
[[rule]]
contains = "refused"
fault = "400"
[[rule]]
contains = "dies"
reply = "half of a sentence that never ends well"
fault = "die"
"""
