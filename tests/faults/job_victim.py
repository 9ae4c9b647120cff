"""Workers over the real durable queue, for a test and for a process that is there to be killed.

Run as a script with a JSON object of settings flags it executes whatever jobs there are, and writes `step N` behind each
step that is committed; behind the second it stands still until it is killed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
from pydantic import JsonValue

from memory import audit
from memory.core import Core
from memory.jobs import JobRun
from memory.workers import Workers
from runtime.db import open_database
from runtime.durable import DurableRuns
from runtime.executors import Executors, identify
from runtime.ids import SYSTEM
from runtime.settings import Settings, load

KIND = "t.steps"
STEPS = 4
CHAIN = "vlt_steps"


def stepping(after: Callable[[int], Awaitable[None]]) -> Callable[[JobRun], Awaitable[Mapping[str, JsonValue]]]:
    """A handler that writes one line into the audit for each of its steps, and then does `after`."""

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        for step in range(run.job.done + 1, STEPS + 1):
            await run.commit(
                lambda tx, n=step: audit.record(tx, "step", "job", f"{run.job.id}.{n}", chain=CHAIN),  # type: ignore[misc]
                done=step,
                total=STEPS,
            )
            await after(step)
        return {"attempts": run.job.attempts}

    return handle


@asynccontextmanager
async def working(settings: Settings, after: Callable[[int], Awaitable[None]]) -> AsyncIterator[Core]:
    """A process that executes jobs, until the block ends; then it gives back what it has in hand."""

    async def no_runs(run_id: str) -> None:
        raise AssertionError(f"nobody queued the run {run_id}")

    db = open_database(settings)
    core = Core(db, SYSTEM, settings)
    executors = Executors(db, SYSTEM, identify("0"), dead_after_s=30.0)
    await executors.register()
    durable = DurableRuns(settings, executors.id, no_runs)
    workers = Workers(core, durable, executors.alive, {KIND: stepping(after)})
    await durable.start()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(workers.run)
            yield core
            await workers.stop()
            tasks.cancel_scope.cancel()
    finally:
        await durable.stop()
        await executors.leave()
        await db.aclose()


async def until_killed(step: int) -> None:
    os.write(1, f"step {step}\n".encode())
    if step == 2:
        await anyio.sleep_forever()


async def main() -> None:
    async with working(load(json.loads(sys.argv[1]), env={}).settings, until_killed):
        os.write(1, b"open\n")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main)
