"""Mathematics: canonical answers, the plug-in check of a task, and equality for graders.

String equality after normalisation comes first; only what differs goes to the worker process, which is killed and
replaced when it needs longer than 5 s. Source: evaluation sheet §3.2.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from agents.tasks import MathTask, Task
from agents.verifiers.answers import extract, normal
from agents.verifiers.base import Verdict
from runtime.errors import InvalidInput, MnemeError

LIMIT_S = 5.0
START_S = 60.0


class MathWorker:
    """One worker process, started when first needed, one request at a time."""

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = anyio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its reply; `{"error": …}` when it took too long or the worker died."""
        async with self._lock:
            fresh = self._process is None or self._process.returncode is not None
            if fresh:
                await self._start()
            process = self._process
            assert process is not None
            assert process.stdin is not None
            assert process.stdout is not None
            line = b""
            # The first request also pays for importing sympy, which is not the answer's fault.
            with anyio.move_on_after(START_S if fresh else self._limit_s):
                try:
                    process.stdin.write(orjson.dumps(request) + b"\n")
                    await process.stdin.drain()
                    line = await process.stdout.readline()
                except (BrokenPipeError, ConnectionResetError):
                    line = b""
            if not line.endswith(b"\n"):
                with anyio.CancelScope(shield=True):
                    await self._stop()
                return {"error": f"no result within {self._limit_s:g} s"}
            reply: dict[str, Any] = orjson.loads(line)
            return reply

    async def aclose(self) -> None:
        """End the process."""
        async with self._lock:
            await self._stop()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agents.verifiers.math_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()
            transport = getattr(process, "_transport", None)
            if transport is not None:
                transport.close()


class MathVerifier:
    """For tasks of kind `math`, and for whoever grades mathematical answers."""

    def __init__(self, worker: MathWorker) -> None:
        self._worker = worker

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """Put the answer into the task's equations. Raises `InvalidInput` when those cannot be read."""
        if not isinstance(task, MathTask) or task.check is None:
            return None
        found = extract(text)
        if found is None:
            return Verdict(0.0, "no answer in the reply")
        reply = await self._worker.ask(
            {
                "op": "check",
                "equations": task.check.equations,
                "variable": task.check.variable,
                "answer": normal(found.text),
            }
        )
        if "error" in reply:
            if reply["error"].startswith("equation "):
                raise InvalidInput(f"input.check: {reply['error']}", param="input.check.equations")
            return Verdict(0.0, reply["error"])
        return Verdict(1.0 if reply["ok"] else 0.0, f"{found.how}: {reply['detail']}")

    async def canonical(self, task: Task, text: str) -> str | None:
        """The extracted answer, normalised."""
        found = extract(text)
        return normal(found.text) if found else None

    async def equal(self, gold: str, answer: str) -> bool:
        """Do two answers mean the same? Used by graders, which know the gold one. Raises `MnemeError`."""
        if normal(gold) == normal(answer):
            return True
        reply = await self._worker.ask({"op": "equal", "gold": gold, "answer": answer})
        if "error" in reply:
            if "no result within" in reply["error"]:
                return False
            raise MnemeError(f"comparing {gold!r} with {answer!r}: {reply['error']}")
        return bool(reply["ok"])
