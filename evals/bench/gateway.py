"""What the gateway costs: `direct` behind Mneme against the same model server called without it.

    python -m evals.bench.gateway                    # the scripted server, which answers at once
    python -m evals.bench.gateway --peer             # optillm's pass-through beside it, in an environment of its own
    python -m evals.bench.gateway --base-url http://127.0.0.1:8643/v1    # a vLLM that runs already (`make serve`)

For each concurrency (1, 8, 32), streamed and not: median and 95th percentile of a request, requests per second, the time
to the first token, what Mneme adds to the median, and the memory of the service. One run, one client, the targets in
turn request by request blocks, so that a slow moment of the machine hits all of them. Source: ours.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

CONCURRENCY = (1, 8, 32)
OPTILLM = "optillm==0.4.0"


@dataclass
class Target:
    """One server under test, and what was seen of it."""

    name: str
    base_url: str
    model: str
    pid: int | None = None
    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    wall: float = 0.0


async def one(client: httpx.AsyncClient, target: Target, *, stream: bool, max_tokens: int, n: int) -> None:
    """Ask once and note how long it took; an answer that is not a 200 ends the bench."""
    body = {
        "model": target.model,
        "messages": [{"role": "user", "content": f"Say something about the number {n}."}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": stream,
    }
    begin = time.perf_counter()
    first: float | None = None
    async with client.stream("POST", f"{target.base_url}/chat/completions", json=body) as response:
        async for chunk in response.aiter_bytes():
            if first is None and b'"content"' in chunk:
                first = time.perf_counter() - begin
        if response.status_code != 200:
            raise SystemExit(f"{target.name} answered {response.status_code}")
    target.seconds.append(time.perf_counter() - begin)
    if first is not None:
        target.first.append(first)


async def block(target: Target, *, stream: bool, concurrency: int, count: int, max_tokens: int, offset: int) -> None:
    """Ask `count` times with `concurrency` requests under way."""
    numbers = iter(range(offset, offset + count))
    async with httpx.AsyncClient(timeout=300, headers={"Authorization": "Bearer none"}) as client:
        await one(client, Target(target.name, target.base_url, target.model), stream=stream, max_tokens=max_tokens, n=0)

        async def worker() -> None:
            for n in numbers:
                await one(client, target, stream=stream, max_tokens=max_tokens, n=n)

        begin = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        target.wall += time.perf_counter() - begin


def measure(targets: Sequence[Target], requests: int, max_tokens: int, blocks: int, console: Console) -> None:
    """Run every cell of the table and print it."""
    for stream in (False, True):
        table = Table(title=f"{'streamed' if stream else 'whole'} answers, {max_tokens} tokens at most")
        for column in (
            "concurrency",
            "target",
            "p50 ms",
            "p95 ms",
            "added p50 ms",
            "first token ms",
            "req/s",
            "of raw",
        ):
            table.add_column(column, justify="left" if column == "target" else "right")
        for concurrency in CONCURRENCY:
            cells = [Target(t.name, t.base_url, t.model) for t in targets]
            per_block = max(requests // blocks, concurrency)
            for number in range(blocks):
                for cell in cells:
                    asyncio.run(
                        block(
                            cell,
                            stream=stream,
                            concurrency=concurrency,
                            count=per_block,
                            max_tokens=max_tokens,
                            offset=number * per_block,
                        )
                    )
            raw = cells[0]
            for cell in cells:
                rate, raw_rate = len(cell.seconds) / cell.wall, len(raw.seconds) / raw.wall
                table.add_row(
                    str(concurrency),
                    cell.name,
                    f"{_ms(cell.seconds):.2f}",
                    f"{_ms(cell.seconds, 0.95):.2f}",
                    "" if cell is raw else f"{_ms(cell.seconds) - _ms(raw.seconds):.2f}",
                    f"{_ms(cell.first):.2f}" if stream else "",
                    f"{rate:.1f}",
                    f"{rate / raw_rate:.0%}",
                )
        console.print(table)


def _ms(seconds: Sequence[float], quantile: float = 0.5) -> float:
    if len(seconds) < 2:
        return 1000 * (seconds[0] if seconds else float("nan"))
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[int(quantile * 100) - 1]


@contextmanager
def process(command: Sequence[str], env: dict[str, str], ready_url: str, timeout_s: float) -> Iterator[int]:
    """Run a server until the block ends; `ready_url` must answer 200 first."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        child = subprocess.Popen(list(command), env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + timeout_s
            while not _answers(ready_url):
                if child.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} did not come up:\n{log.read()[-3000:]}")
                time.sleep(0.1)
            yield child.pid
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _peer_python(home: Path) -> Path:
    """An environment of its own for the peer, made once."""
    folder = home / "bench" / OPTILLM.replace("==", "-")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", OPTILLM, "torch==2.13.0"], check=True)
    return python


def _rss_mb(pid: int) -> float:
    me = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [me, *me.children(recursive=True)] if "vllm" not in p.name().lower()) / 1e6


def main() -> None:
    """Start the servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="a model server that is running; default: the scripted one, started here")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--blocks", type=int, default=5, help="turns that each target gets per cell")
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--peer", action="store_true", help="measure optillm's pass-through too")
    parser.add_argument("--home", type=Path, default=Path("~/.mneme").expanduser())
    options = parser.parse_args()
    console = Console(width=130)
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        if options.base_url:
            raw_url = options.base_url
        else:
            port = free_port()
            raw_url = f"http://127.0.0.1:{port}/v1"
            command = [sys.executable, "-m", "runtime.llm.scripted_server", "--port", str(port)]
            stack.enter_context(process(command, {}, f"{raw_url}/models", 30))
        model = httpx.get(f"{raw_url}/models").json()["data"][0]["id"]
        targets = [Target("model server", raw_url, model)]

        port = free_port()
        env = {
            "MNEME_HOME": home,
            "MNEME_LLM__BASE_URL": raw_url,
            "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
        }
        subprocess.run([sys.executable, "-m", "api.cli", "db", "upgrade"], env={**os.environ, **env}, check=True)
        command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port)]
        pid = stack.enter_context(process(command, env, f"http://127.0.0.1:{port}/ready", 60))
        targets.append(Target("mneme direct", f"http://127.0.0.1:{port}/v1", "direct", pid))

        if options.peer:
            port = free_port()
            python = _peer_python(options.home)
            command = [
                str(python.with_name("optillm")),
                "--approach",
                "none",
                "--port",
                str(port),
                "--base-url",
                raw_url,
            ]
            env = {"OPENAI_API_KEY": "none"}
            stack.enter_context(process(command, env, f"http://127.0.0.1:{port}/health", 180))
            targets.append(Target("optillm none", f"http://127.0.0.1:{port}/v1", model))

        measure(targets, options.requests, options.max_tokens, options.blocks, console)
        console.print(f"memory of the service after the run: {_rss_mb(pid):.0f} MB (limit 250 MB)")


if __name__ == "__main__":
    main()
