"""The events of a run as lines for a person, and a run that is asked for over HTTP and told while it goes on.

What is written is kept: `Told` knows the memories that the runs of the demo wrote. Source: ours.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from runtime.errors import MnemeError

ENDED_WELL: Final = frozenset({"succeeded", "budget_exhausted"})
PROGRAM_LINES: Final = 24
Data = Mapping[str, Any]


@dataclass(slots=True)
class Told:
    """What is known of the memories: the names of those that are there, and the last version of each that was written."""

    names: dict[str, str] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)

    def event(self, kind: str, data: Data, *, since: float) -> None:
        """Print an event of a run that began at this `time.monotonic`, if it is worth a line."""
        if kind == "memory.written":
            self.written[data["id"]] = data["version"]
        for number, line in enumerate(self._lines(kind, data)):
            at = f"{time.monotonic() - since:6.2f} s" if number == 0 else " " * 8
            print(f"   {at}  {line}", flush=True)

    def _lines(self, kind: str, data: Data) -> Iterator[str]:
        match kind:
            case "run.started":
                yield f"{kind:<16}{data['model']}, seed {data['seed']}"
            case "llm.call":
                tokens = f"{data['usage']['prompt_tokens']} + {data['usage']['completion_tokens']} tokens"
                cached = f", {data['cached_tokens']} cached" if data["cached_tokens"] else ""
                failed = f", {data['error']}" if data.get("error") else ""
                yield f"{kind:<16}{data['purpose']}: {tokens}{cached}, {data['ms'] / 1000:.2f} s{failed}"
            case "step.completed":
                if words := self._step(data):
                    yield f"{kind:<16}{data['name']}{words}"
            case "tool.call":
                yield f"{kind:<16}{data['name']}, {data['call_id']}"
                yield from _program(data["arguments"])
            case "tool.result":
                yield f"{kind:<16}{data['result']}"
            case "check.failed":
                yield f"{kind:<16}{data['name']}: {short(data['detail'])}"
            case "memory.read":
                yield f"{kind:<16}{self._named(data['id'])}, version {data['version']}, {data['shown']} to {data['unit']}"
            case "memory.written":
                yield f"{kind:<16}{self._named(data['id'])}, version {data['version']} ({data['op']})"
            case "run.finished" | "run.failed" | "run.cancelled":
                ended = data.get("status") or data.get("message") or ""
                yield f"{kind:<16}{ended}{': ' + str(data['reason']) if data.get('reason') else ''}"

    def _step(self, data: Data) -> str:
        told = data.get("detail")
        detail = told if isinstance(told, dict) else {}
        words = "" if data.get("score") is None else f", score {data['score']:g}"
        if isinstance(detail.get("chosen"), list):
            names = ", ".join(map(self._named, detail["chosen"]))
            words += f": {names or 'no concept (' + str(detail['why']) + ')'}"
        if detail.get("problem") and "train" in detail and isinstance(detail["train"], list):
            words += f": nothing to run, {detail['problem']}"
        elif isinstance(detail.get("train"), list):
            words += f": {sum(detail['train'])} of {len(detail['train'])} examples right"
        if "opens" in detail:
            words += f": {'opens' if detail['opens'] else detail['why']}"
        return words

    def _named(self, id_: str) -> str:
        return f"{self.names[id_]!r} ({id_})" if id_ in self.names else id_


async def asked(client: httpx.AsyncClient, told: Told, **body: Any) -> dict[str, Any]:
    """Submit a run to the service, print what happens, and give the run when it has ended. Raises `MnemeError` for one that
    failed."""
    begun = time.monotonic()
    run_id = good(await client.post("/api/runs", json=body))["id"]
    async for event in _events(client, run_id):
        told.event(event["type"], event["data"], since=begun)
    run = good(await client.get(f"/api/runs/{run_id}"))
    if run["status"] not in ENDED_WELL:
        raise MnemeError(f"run {run_id!r} ended as {run['status']!r}: {run.get('error')}")
    return run


def good(response: httpx.Response) -> dict[str, Any]:
    """The body of a response. Raises `MnemeError` for an error."""
    if response.is_error:
        raise MnemeError(f"{response.request.url}: {response.status_code}: {response.text}")
    body: dict[str, Any] = response.json()
    return body


def heading(text: str) -> None:
    """Begin a part."""
    print(f"\n── {text}", flush=True)


def indented(text: str, by: str = "      │ ") -> str:
    """Text as a block of its own."""
    return "\n".join(f"{by}{line}".rstrip() for line in text.strip().splitlines())


def short(text: str, limit: int = 160) -> str:
    """Text on one line, cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _program(arguments: str) -> Iterator[str]:
    source = str(json.loads(arguments).get("source") or "").strip()
    lines = source.splitlines()
    for line in lines[:PROGRAM_LINES]:
        yield f"│ {line}"
    if len(lines) > PROGRAM_LINES:
        yield f"│ … {len(lines) - PROGRAM_LINES} more lines"


async def _events(client: httpx.AsyncClient, run_id: str) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("GET", f"/api/runs/{run_id}/stream") as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))
