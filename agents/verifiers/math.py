"""Mathematics: canonical answers, the plug-in check of a task, and equality for graders.

What exact arithmetic or string equality can decide is decided here; only the rest goes to the worker process, which is
started when first needed and killed and replaced when it needs longer than 5 s. Source: evaluation sheet §3.2.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from agents.equations import failing, number_of, read_equation
from agents.tasks import MathTask, Task
from agents.verifiers.answers import extract, extract_number, normal
from agents.verifiers.base import Verdict
from runtime.errors import MnemeError

LIMIT_S = 5.0
START_S = 60.0
MAX_ANSWER_CHARS = 2000


class MathWorker:
    """One worker process, one request at a time; whoever comes meanwhile waits, which does not count for the limit."""

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = anyio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its reply; `{"error": …}` when it took too long or the worker died over it."""
        async with self._lock:
            try:
                if self._process is None or self._process.returncode is not None:
                    await self._start()
                reply = await self._exchange(request, self._limit_s)
                if reply is None and self._died():
                    # It may have been killed while it was idle; the request itself gets one fresh worker.
                    await self._start()
                    reply = await self._exchange(request, self._limit_s)
            except BaseException:
                # A caller that is cancelled would leave its reply to the next one.
                await self._stop()
                raise
            if reply is None:
                died = self._died()
                await self._stop()
                return {"error": "the checking process died" if died else f"no result within {self._limit_s:g} s"}
            return reply

    async def aclose(self) -> None:
        """End the process."""
        async with self._lock:
            await self._stop()

    def _died(self) -> bool:
        process = self._process
        return process is None or process.stdout is None or process.stdout.at_eof()

    async def _exchange(self, request: Mapping[str, Any], limit_s: float) -> dict[str, Any] | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with anyio.move_on_after(limit_s):
            try:
                process.stdin.write(orjson.dumps(request) + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except (BrokenPipeError, ConnectionResetError):
                await process.wait()
                return None
            if line.endswith(b"\n"):
                reply: dict[str, Any] = orjson.loads(line)
                return reply
        return None

    async def _start(self) -> None:
        await self._stop()
        # No environment: the process that reads model text knows no secrets. -P: nor modules of the working folder.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "agents.verifiers.math_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
        warm = await self._exchange({"op": "warm"}, START_S)
        if warm is None or not warm.get("ok"):
            await self._stop()
            raise MnemeError(
                f"math worker: expected an answer within {START_S:g} s of its start, got {warm!r}; "
                f"see what `{sys.executable} -m agents.verifiers.math_worker` says"
            )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
        # asyncio closes it some turns of the loop later, which may not come any more.
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()


class MathVerifier:
    """For tasks of kind `math`, and for whoever grades mathematical answers."""

    def __init__(self, worker: MathWorker) -> None:
        self._worker = worker

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """Put the answer into the task's equations. `detail` begins with how the answer was found."""
        if not isinstance(task, MathTask) or task.check is None:
            return None
        found = extract_number(text)
        if found is None:
            return Verdict(0.0, "no answer in the reply")
        answer = normal(found.text).removeprefix(f"{task.check.variable}=")
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict(0.0, f"{found.how}: not a number, {len(answer)} characters")
        value = number_of(answer)
        if value is not None:
            variable = task.check.variable
            why = failing([read_equation(equation, variable) for equation in task.check.equations], value)
            return Verdict(0.0 if why else 1.0, f"{found.how}: {why or f'holds at {variable} = {answer}'}")
        reply = await self._worker.ask(
            {
                "op": "solves",
                "equations": task.check.equations,
                "variable": task.check.variable,
                "answer": answer,
            }
        )
        if "error" in reply:
            return Verdict(0.0, f"{found.how}: {reply['error']}")
        return Verdict(1.0 if reply["ok"] else 0.0, f"{found.how}: {reply['detail']}")

    async def canonical(self, task: Task, text: str) -> str | None:
        """The extracted answer, normalised; read as `verify` reads it when the task carries a check."""
        checked = isinstance(task, MathTask) and task.check is not None
        found = extract_number(text) if checked else extract(text)
        return normal(found.text) if found else None

    async def equal(self, gold: str, answer: str) -> bool:
        """Do two answers mean the same? Used by graders, which know the gold one.

        An answer that cannot be compared within the limit is not equal.
        """
        if normal(gold) == normal(answer):
            return True
        if len(answer) > MAX_ANSWER_CHARS:
            return False
        reply = await self._worker.ask({"op": "equal", "gold": gold, "answer": answer})
        return bool(reply.get("ok", False))
