"""Starts the scripted server as a process and talks to its back door. Used by tests, demos and benchmarks. Source: ours."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.errors import EngineError

_LISTENING = "listening on "
_STOP_S = 5.0
# The back door is on this machine: a proxy named by the environment has no business there.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ScriptedProcess:
    """A running scripted server. `url` is the base URL for an OpenAI client, with `/v1`."""

    def __init__(self, process: subprocess.Popen[str], origin: str) -> None:
        self.url = f"{origin}/v1"
        self._origin = origin
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self._origin.rpartition(":")[2])

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked so far: `purpose`, `run`, `headers`, `body`, and whether the answer was
        `finished` or the client `disconnected`."""
        with _OPENER.open(self._origin + "/__requests", timeout=_STOP_S) as response:
            return list(json.load(response))

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone."""
        self._process.kill()
        self._process.wait()


@contextmanager
def scripted_process(script: str = "", *, port: int = 0) -> Iterator[ScriptedProcess]:
    """A server that answers from the TOML text `script`, stopped behind the block.

    Raises `EngineError` when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="mneme-script-") as folder:
        path = Path(folder) / "script.toml"
        path.write_text(script, encoding="utf-8")
        command = [sys.executable, "-m", "runtime.llm.scripted_server", "--port", str(port), "--script", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline().strip()
                if not line.startswith(_LISTENING):
                    raise EngineError(f"scripted server {command!r} did not start; its own message stands above")
                yield ScriptedProcess(process, line.removeprefix(_LISTENING))
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
