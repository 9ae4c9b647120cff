"""Verifying from a process that does not have the index open: a job that only its owner does.

`mneme memory verify` beside a running service must not stop it. The command queues a job; whichever process takes it does
it when it has the index, and gives it back otherwise. Source: contract §2 (`verify`); ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import anyio
from pydantic import JsonValue, TypeAdapter

from memory import jobs
from memory.core import Core
from memory.jobs import JobRun
from memory.types import Actor
from memory.upkeep.reconcile import Report
from runtime.errors import StorageError
from runtime.ids import new_id

KIND: Final = "memory.verify"
# A service takes a job within seconds; without one nobody ever does.
TAKEN_S: Final = 10.0
DONE_S: Final = 600.0
POLL_S: Final = 0.2
_REPORT: Final[TypeAdapter[Report]] = TypeAdapter(Report)


class Verifies(Protocol):
    """What the handler needs of the keeper (memory/upkeep/keeper.py)."""

    @property
    def sees_index(self) -> bool:
        """Whether this process can look into the index."""
        ...

    async def verify(self, *, repair: bool) -> Report:
        """Compare everything."""
        ...


class Verify:
    """Handles `memory.verify` jobs."""

    def __init__(self, keeper: Verifies) -> None:
        self._keeper = keeper

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result is the report. Raises `jobs.Elsewhere` in a process without the index."""
        if not self._keeper.sees_index:
            raise jobs.Elsewhere("the index is open in another process")
        report = await self._keeper.verify(repair=bool(run.job.args.get("repair")))
        found: dict[str, JsonValue] = _REPORT.dump_python(report, mode="json")
        return found


async def ask(core: Core, actor: Actor, *, repair: bool) -> Report | None:
    """The report of the process that has the index; None when no service takes the job. Raises `StorageError`."""
    job_id = new_id("job")
    await core.write(actor, lambda tx: jobs.enqueue(tx, job_id, KIND, {"repair": repair}))
    waited = 0.0
    while waited < DONE_S:
        job = await core.read(actor, lambda tx: jobs.get(tx, job_id))
        if job.state == "done":
            return _REPORT.validate_python(job.result)
        if job.state == "dead" or (job.state == "queued" and waited >= TAKEN_S and not job.attempts):
            break
        await anyio.sleep(POLL_S)
        waited += POLL_S
    if await core.write(actor, lambda tx: jobs.withdraw(tx, job_id)):
        return None
    raise StorageError(f"job {job_id!r}: the service has not ended it within {DONE_S:g} s, or it failed; see /api/jobs")
