"""The service on a real socket, over a scripted model server that is a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from agents.registry import AGENTS
from api.child import serve_child
from runtime import telemetry
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from runtime.settings import Settings
from tests.conftest import make_settings
from tests.migrated import migrate
from tests.serving import START_S


class Served:
    """A running service, its address and process, and clients for it."""

    def __init__(self, settings: Settings, url: str, model: ScriptedProcess | None, pid: int | None = None) -> None:
        self.settings = settings
        self.pid = pid
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
# A service is a process of its own: DBOS is one per process, and a module may have several services going. It is a fork
# of one that has imported the application and its agents, which is most of a start.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["api.app", "api.model_server", *(where.partition(":")[0] for where in AGENTS.values()), "tests.api.conftest"]
)


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
    migrate(settings)
    reader, writer = _PROCESSES.Pipe(duplex=False)
    with socket.socket() as bound, reader, writer:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        process = _PROCESSES.Process(target=_child, args=(settings, bound, reader, dict(os.environ)))
        process.start()
        served = Served(settings, f"http://127.0.0.1:{bound.getsockname()[1]}", model, process.pid)
        try:
            assert served.http.get("/health", timeout=START_S).status_code == 200
            yield served
        finally:
            served.close()
            process.terminate()
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()


def _child(settings: Settings, bound: socket.socket, parent: Connection, env: dict[str, str]) -> None:
    """What `python -m api.child` does, behind its imports. It stops when the other end of `parent` is closed."""
    os.environ.clear()
    os.environ.update(env)
    os.dup2(parent.fileno(), sys.stdin.fileno())
    telemetry.configure(settings)
    anyio.run(serve_child, settings, bound, backend_options={"use_uvloop": True})


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
