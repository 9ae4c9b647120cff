"""`make demo`: starts what `mneme serve` starts, asks three mathematics problems over HTTP, prints what happened.

The problems are ours. Each carries an equation that an answer can be put into, so the checker needs no gold answer and
nothing could leak one. Source: ours.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import anyio
import httpx
from anyio.abc import Process

from agents.tasks import parse_input
from agents.verifiers import open_verifiers
from agents.verifiers.base import Verifiers
from runtime.errors import MnemeError
from runtime.settings import PACKAGED_MODEL, Settings

READY_S: Final = 900.0
RUN_S: Final = 600.0
STOP_S: Final = 30.0


class Problem(NamedTuple):
    """A problem, and the equations that its answer `x` fulfils."""

    text: str
    equations: tuple[str, ...]

    def task(self) -> dict[str, Any]:
        """The `input` of a run."""
        return {
            "kind": "math",
            "problem": self.text,
            "check": {"equations": list(self.equations), "variable": "x"},
        }


PROBLEMS: Final = (
    Problem("Three bags of flour and a 4 kg melon weigh 19 kg together. How many kilograms is one bag?", ("3*x+4=19",)),
    Problem(
        "A garden is twice as long as it is wide, and the fence around it is 36 metres. How wide is it, in metres?",
        ("2*(x+2*x)=36",),
    ),
    Problem("A cube holds 343 cubic centimetres. How long is its edge, in centimetres?", ("x**3=343",)),
)
ASKS: Final = (("best-of-n", {"n": 3}), ("self-consistency", {"n": 3}))


async def main(settings: Settings) -> int:
    """Run the demo; returns 0 when every run ended and was judged."""
    port = settings.server.port if _is_free(settings.server.port) else _free_port()
    base = f"http://127.0.0.1:{port}"
    async with (
        _service(port) as process,
        httpx.AsyncClient(base_url=base, timeout=RUN_S, trust_env=False) as client,
        open_verifiers() as verifiers,
    ):
        print(f"starting the service on {base}; on CPU the model server needs about a minute", flush=True)
        model = await _wait_until_ready(client, process)
        print(f"ready: {model}")
        if settings.llm.base_url is None and settings.engine.model == PACKAGED_MODEL:
            print("This packaged model has 135 million parameters and is weak at mathematics: expect wrong answers.")
            print("What the demo shows is the work around it. For a real model set MNEME_LLM__BASE_URL.")
        ended = [
            await _ask(client, verifiers, agent, config, problem) for agent, config in ASKS for problem in PROBLEMS
        ]
        passed = sum(ended)
        print(f"\n{len(ended)} runs ended; {passed} answers passed their check")
    print_next(f"http://127.0.0.1:{settings.server.port}")
    return 0


async def _ask(
    client: httpx.AsyncClient, verifiers: Verifiers, agent: str, config: dict[str, Any], problem: Problem
) -> bool:
    """Run one problem and print its trace; True when the answer fulfils the equations."""
    print(f"\n── {agent} {json.dumps(config)}: {problem.text}", flush=True)
    begun = time.monotonic()
    response = await client.post(
        "/api/runs", json={"agent": agent, "input": problem.task(), "config": config, "seed": 7}
    )
    run_id = _good(response)["id"]
    async for event in _events(client, run_id):
        line = _trace_line(event["type"], event["data"])
        if line:
            print(f"   {time.monotonic() - begun:6.2f} s  {line}", flush=True)
    run = _good(await client.get(f"/api/runs/{run_id}"))
    if run["status"] != "succeeded":
        raise MnemeError(f"run {run_id!r} ended as {run['status']!r}: {run.get('error')}")
    output = run["output"]
    verdict = await verifiers.verify(parse_input(problem.task()), output["text"])
    passed = verdict is not None and verdict.score == 1.0
    print(f"   answer: {_short(output['text'])}")
    print(f"   check:  {'passed' if passed else 'not passed'}{f' ({verdict.detail})' if verdict else ''}")
    print(f"   log: {client.base_url}/ui/runs/{run_id}".replace("//ui", "/ui"))
    return passed


async def _events(client: httpx.AsyncClient, run_id: str) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("GET", f"/api/runs/{run_id}/stream") as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def _trace_line(kind: str, data: dict[str, Any]) -> str | None:
    match kind:
        case "run.started":
            return f"run.started     {data['model']}, seed {data['seed']}"
        case "llm.call":
            tokens = f"{data['usage']['prompt_tokens']} + {data['usage']['completion_tokens']} tokens"
            cached = f", {data['cached_tokens']} cached" if data["cached_tokens"] else ""
            return f"llm.call        {data['purpose']}: {tokens}{cached}, {data['ms'] / 1000:.2f} s"
        case "step.completed":
            score = "" if data.get("score") is None else f", score {data['score']:g}"
            return f"step.completed  {data['name']}{score}"
        case "check.failed":
            return f"check.failed    {data['name']}: {_short(data['detail'])}"
        case "run.finished" | "run.failed" | "run.cancelled":
            return f"{kind:<14}  {data.get('status') or data.get('message') or data.get('reason')}"
        case _:
            return None


def _short(text: str, limit: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _good(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise MnemeError(f"{response.request.url}: {response.status_code}: {response.text}")
    body: dict[str, Any] = response.json()
    return body


@asynccontextmanager
async def _service(port: int) -> AsyncIterator[Process]:
    process = await anyio.open_process(
        [sys.executable, "-m", "api.cli", "serve", "--host", "127.0.0.1", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=None,
        stderr=None,
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(STOP_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def _wait_until_ready(client: httpx.AsyncClient, process: Process) -> str:
    deadline = time.monotonic() + READY_S
    seen = "no answer yet"
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise MnemeError(f"the service ended with code {process.returncode}; the lines above say why")
        try:
            response = await client.get("/ready")
            seen = response.text
            if response.status_code == 200:
                return next((c["detail"] for c in response.json()["checks"] if c["name"].startswith("model")), "model")
        except httpx.TransportError as error:
            seen = type(error).__name__
        await anyio.sleep(0.5)
    raise MnemeError(f"the service is not ready after {READY_S:.0f} s: {seen}; `mneme doctor` says what is missing")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def print_next(base: str) -> None:
    """The lines to go on with."""
    print(
        f"""
To go on: start the service with `make serve`, then, for example,

curl {base}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"model": "best-of-n", "messages": [{{"role": "user", "content": "What is 17 times 23?"}}]}}'

.venv/bin/python -c '
from openai import OpenAI
client = OpenAI(base_url="{base}/v1", api_key="none")
chat = client.chat.completions.create(model="direct", messages=[{{"role": "user", "content": "Say hello."}}])
print(chat.choices[0].message.content)'

and look at every run on {base}/ui"""
    )
