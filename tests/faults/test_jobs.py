"""Jobs over the real durable queue: done once, whether the process that had them stops or is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from memory import audit, jobs
from memory.core import Core
from memory.jobs import Job
from memory.types import Actor
from runtime.db import open_database
from runtime.ids import SYSTEM, new_id
from runtime.settings import Settings
from tests.faults import job_victim
from tests.faults.job_victim import CHAIN, KIND, STEPS, working

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ADMIN = Actor("system", admin=True)
ANN = Actor("usr_ann")
WAIT_S = 40.0


async def ask(core: Core, **args: Any) -> Job:
    job_id = new_id("job")
    return await core.write(ANN, lambda tx: jobs.enqueue(tx, job_id, KIND, args))


async def reached(core: Core, job: Job, state: str) -> Job:
    with anyio.fail_after(WAIT_S):
        while True:
            now = await core.read(ADMIN, lambda tx: jobs.get(tx, job.id))
            if now.state == state:
                return now
            await anyio.sleep(0.05)


async def steps(core: Core) -> list[str]:
    lines = await core.read(ADMIN, lambda tx: audit.read(tx, chains=[CHAIN], after=0, limit=500))
    assert await core.read(ADMIN, lambda tx: audit.verify(tx, CHAIN)) is None
    return [line.object_id for line in lines]


def once(*made: Job) -> list[str]:
    return sorted(f"{job.id}.{step}" for job in made for step in range(1, STEPS + 1))


def killed_behind_two_steps(flags: Mapping[str, object]) -> list[str]:
    """Start a process that executes jobs, kill it behind the second step, and give what it said."""
    command = [sys.executable, job_victim.__file__, json.dumps(flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        said = [victim.stdout.readline().strip() for _ in range(3)]
        victim.kill()
        victim.wait()
    return said


async def test_jobs_are_done_once_over_a_stop_in_the_middle(settings: Settings) -> None:
    begun = anyio.Event()

    async def pause(step: int) -> None:
        if step == 2:
            begun.set()
            await anyio.sleep_forever()

    async def go_on(step: int) -> None:
        await anyio.lowlevel.checkpoint()

    async with working(settings, pause) as core:
        first = await ask(core, vault_id="vlt_a")
        second = await ask(core, vault_id="vlt_a")
        with anyio.fail_after(WAIT_S):
            await begun.wait()
        assert (await core.read(ADMIN, lambda tx: jobs.get(tx, second.id))).state == "queued"
    db = open_database(settings)
    core = Core(db, SYSTEM, settings)
    stopped = await core.read(ADMIN, lambda tx: jobs.get(tx, first.id))
    assert (stopped.state, stopped.done, stopped.attempts) == ("queued", 2, 1)
    await db.aclose()
    async with working(settings, go_on) as core:
        done = [await reached(core, job, "done") for job in (first, second)]
        assert [(job.attempts, job.done, job.total) for job in done] == [(2, STEPS, STEPS), (1, STEPS, STEPS)]
        found = await steps(core)
        assert sorted(found) == once(first, second)
        assert found == [*(f"{first.id}.{n}" for n in range(1, 5)), *(f"{second.id}.{n}" for n in range(1, 5))]


async def test_the_job_of_a_killed_process_is_finished_once_by_a_survivor(settings: Settings) -> None:
    db = open_database(settings)
    core = Core(db, SYSTEM, settings)
    job = await ask(core)
    flags: Mapping[str, object] = {
        "home": str(settings.home),
        "llm.model": "scripted/echo",
        "telemetry.log_level": "ERROR",
    }
    said = await anyio.to_thread.run_sync(killed_behind_two_steps, flags)
    assert said == ["open", "step 1", "step 2"]
    left = await core.read(ADMIN, lambda tx: jobs.get(tx, job.id))
    assert (left.state, left.done, left.attempts) == ("running", 2, 1)
    await db.aclose()

    async def go_on(step: int) -> None:
        await anyio.lowlevel.checkpoint()

    async with working(settings, go_on) as core:
        done = await reached(core, job, "done")
        assert (done.attempts, done.done, done.result) == (2, STEPS, {"attempts": 2})
        await anyio.sleep(0.5)
        assert sorted(await steps(core)) == once(job), "no step was done twice"
