"""The real thing: vLLM with the packaged model, in the environment that set-up makes below the user's MNEME_HOME."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gpu.packaged_models import verify_model
from gpu.prepare import is_prepared, prepare
from gpu.server import ModelServer
from runtime.settings import EngineSettings, Settings, load

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.engine]
ROOT = Path(__file__).parents[2]
OWNER = """
import sys, anyio
from gpu.server import ModelServer
from runtime.settings import EngineSettings, Settings
async def main():
    settings = Settings(home=sys.argv[1], engine=EngineSettings(port=int(sys.argv[2])))
    async with ModelServer(settings) as server:
        await server.wait_ready()
        print(server.state.pid, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


@pytest.fixture
async def own_port(tmp_path: Path) -> Settings:
    """The user's engine and model, with records, logs and a port of this test's own."""
    user = load().settings
    engine, model = await prepare(user)
    (tmp_path / "engines").mkdir()
    engine.folder(tmp_path).symlink_to(engine.folder(user.home))
    (tmp_path / "models").symlink_to(Path(model.path).parent)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Settings(home=tmp_path, engine=EngineSettings(port=probe.getsockname()[1]))


@pytest.fixture
async def client(own_port: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        ModelServer(own_port) as server,
        httpx.AsyncClient(base_url=await server.wait_ready(), timeout=120, trust_env=False) as http,
    ):
        yield http


def owner_process(settings: Settings) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OWNER, str(settings.home), str(settings.engine.port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


async def ask(client: httpx.AsyncClient, content: str, **fields: object) -> dict[str, Any]:
    body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": content}], "temperature": 0}
    reply = await client.post("/chat/completions", json=body | fields)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def test_it_answers_counts_cached_tokens_and_binds_a_schema(client: httpx.AsyncClient) -> None:
    models = (await client.get("/models")).json()["data"]
    assert [model["id"] for model in models] == ["smollm2-135m-instruct"]

    # As plain text and with this wording the weak model is sure of itself; elsewhere it is not.
    text = {"model": "smollm2-135m-instruct", "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    assert " Paris" in (await client.post("/completions", json=text)).json()["choices"][0]["text"]
    question = "What is the capital of France? Answer in one sentence."
    first = await ask(client, question, max_tokens=24)
    assert "Paris" in first["choices"][0]["message"]["content"]
    again = await ask(client, question, max_tokens=24)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32

    shape = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": shape | {"additionalProperties": False}}}
    bound = await ask(client, question, response_format=schema, max_tokens=60)
    assert set(json.loads(bound["choices"][0]["message"]["content"])) == {"city"}


async def test_preparing_again_changes_nothing_and_the_model_is_what_was_converted(own_port: Settings) -> None:
    news: list[object] = []
    began = time.monotonic()
    await prepare(own_port, news.append)
    assert time.monotonic() - began < 1
    assert news == []
    assert is_prepared(own_port)
    assert await verify_model(own_port) == []


async def test_kill_9_of_the_owner_leaves_no_vllm_process(
    own_port: Settings, eventually: Callable[..., Awaitable[None]], gone: Callable[[int], bool]
) -> None:
    with owner_process(own_port) as owner:
        assert owner.stdout is not None
        supervisor = psutil.Process(int(owner.stdout.readline()))
        tree = [supervisor.pid, *(process.pid for process in supervisor.children(recursive=True))]
        assert len(tree) >= 3, "supervisor, API server, engine core"
        os.kill(owner.pid, signal.SIGKILL)
        for pid in tree:
            await eventually(lambda pid=pid: gone(pid), f"process {pid} to end")
