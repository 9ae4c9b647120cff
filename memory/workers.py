"""Executes jobs: carries their ids to the durable queue, claims, works, and picks up what a dead process left.

The rows say what is to be done (memory/jobs.py). `dispatch` puts the waiting jobs into the queue, of each vault one at a
time, so that a vault with many does not keep the others waiting; doing that twice, or in two processes, is harmless,
because only one execution can claim a job. `adopt` finds the jobs whose process died, and those that got lost between row
and queue. Within a process jobs of one vault are never executed together; should two processes do it for a moment, the
version of each memory keeps them apart. Source: memos §3.7 (5); ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import anyio

from memory import jobs
from memory.core import Core
from memory.jobs import Handler, Job, JobRun
from memory.types import Actor
from runtime.errors import MnemeError, RunLost, StorageError, UnknownName, boundary
from runtime.ids import new_id
from runtime.telemetry import get_logger

SYSTEM: Final = Actor("system", admin=True)
LANE: Final = "jobs"
CONCURRENCY: Final = 4
POLL_S: Final = 2.0
# A busy writer must not make the dispatcher a loop without rest.
REST_S: Final = 0.1
ADOPT_EVERY_S: Final = 6.0

log = get_logger(__name__)


class Queue(Protocol):
    """The durable queue (runtime/durable.py: `Lane`)."""

    async def enqueue(self, work_id: str, attempt: int, mark: str = "") -> None:
        """Carry the id to some process; the same attempt and mark twice is once."""
        ...

    async def waiting(self, work_id: str) -> bool:
        """Whether it is on the way or being executed."""
        ...

    async def holders(self) -> Mapping[str, frozenset[str]]:
        """What has been taken, by executor."""
        ...


class Durable(Protocol):
    """Makes the queue, and puts back what dead executors had taken (runtime/durable.py: `DurableRuns`)."""

    def lane(self, name: str, execute: jobs.Execute, *, concurrency: int) -> Queue: ...

    async def recover(self, executor_ids: Sequence[str]) -> None: ...


class Workers:
    """One per process. `run` dispatches until it is cancelled; `stop` gives back what is in hand."""

    def __init__(
        self,
        core: Core,
        durable: Durable,
        alive: Callable[[], Awaitable[frozenset[str]]],
        handlers: Mapping[str, Handler],
        *,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._core = core
        self._durable = durable
        self._queue = durable.lane(LANE, self.execute, concurrency=concurrency)
        self._alive = alive
        self._handlers = dict(handlers)
        self._carried: set[tuple[str, int]] = set()
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._vaults: dict[str, tuple[anyio.Lock, int]] = {}
        self._written = anyio.Event()
        self._freed = anyio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Carry waiting jobs to the queue, soon after each write and every two seconds."""
        self._core.on_commit(self._wake)
        adopted = -ADOPT_EVERY_S
        while True:
            self._written = anyio.Event()
            try:
                if anyio.current_time() - adopted >= ADOPT_EVERY_S:
                    await self.adopt()
                    adopted = anyio.current_time()
                await self.dispatch()
            except StorageError as error:
                log.warning("jobs.dispatch_failed", error=error.message)
            with anyio.move_on_after(POLL_S):
                await self._written.wait()
            await anyio.sleep(REST_S)

    def _wake(self) -> None:
        self._written.set()

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Break off what is in hand and give it back; the next process goes on with it."""
        self._stopping = True
        for scope in self._scopes.values():
            scope.cancel()
        with anyio.move_on_after(timeout_s, shield=True):
            while self._scopes:
                freed = self._freed = anyio.Event()
                await freed.wait()

    async def dispatch(self) -> None:
        """Put the oldest due job of each vault into the queue, unless one of it is on its way. Raises `StorageError`."""
        now = self._core.clock.now()
        found = await self._core.read(SYSTEM, jobs.unfinished)
        waiting = {(job.id, job.attempts): job for job in found if job.state != "running"}
        self._carried &= waiting.keys()
        busy = {_turn_of(job) for job in found if job.state == "running"}
        busy |= {_turn_of(waiting[key]) for key in self._carried}
        for key, job in waiting.items():
            if _turn_of(job) not in busy and job.due_at() <= now:
                busy.add(_turn_of(job))
                await self._queue.enqueue(job.id, job.attempts + 1)
                self._carried.add(key)

    async def adopt(self) -> None:
        """Queue again what a dead process had in hand, and what no queue knows of. Raises `StorageError`."""
        found = {job.id: job for job in await self._core.read(SYSTEM, jobs.unfinished)}
        foreign = {id_ for id_, job in found.items() if job.state == "running"} - self._scopes.keys()
        if foreign:
            alive = await self._alive()
            dead = {name: ids for name, ids in (await self._queue.holders()).items() if name not in alive}
            orphans = foreign & {id_ for ids in dead.values() for id_ in ids}
            for job_id in sorted(orphans):
                await self._release(found[job_id])
            if orphans:
                await self._durable.recover(sorted(dead))
            for job_id in sorted(foreign - orphans):
                if not await self._queue.waiting(job_id):
                    await self._release(found[job_id])
        for job_id, attempts in sorted(self._carried):
            job = found.get(job_id)
            if job is not None and job.state != "running" and not await self._queue.waiting(job_id):
                await self._queue.enqueue(job_id, attempts + 1, mark=new_id("try"))

    async def execute(self, job_id: str) -> None:
        """Claim a job and do it; nothing when somebody else was faster. How it ends stands in its row."""
        if self._stopping or job_id in self._scopes:
            return
        try:
            job = await self._core.read(SYSTEM, lambda tx: jobs.get(tx, job_id))
        except UnknownName:
            return
        async with self._in_turn(_turn_of(job)):
            # Known to `stop` before it is claimed, and until it is given back.
            scope = self._scopes[job_id] = anyio.CancelScope()
            try:
                claimed = None if self._stopping else await self._core.write(SYSTEM, lambda tx: jobs.claim(tx, job_id))
                if claimed is not None:
                    await self._work(claimed, scope)
            finally:
                del self._scopes[job_id]
                self._freed.set()

    async def _work(self, job: Job, scope: anyio.CancelScope) -> None:
        with scope:
            await self._end(job)
        if scope.cancelled_caught:
            with anyio.CancelScope(shield=True):
                await self._release(job, died=False)

    async def _end(self, job: Job) -> None:
        try:
            try:
                with boundary(f"job {job.kind!r}"):
                    handler = self._handlers.get(job.kind)
                    if handler is None:
                        raise UnknownName(f"job kind {job.kind!r}: unknown; expected one of {sorted(self._handlers)}")
                    result = await handler(JobRun(self._core, job))
                await self._core.write(SYSTEM, lambda tx: jobs.finish(tx, job, result))
            except RunLost:
                raise
            except jobs.Elsewhere:
                await self._release(job, died=False)
            except MnemeError as error:
                failure = error
                state = await self._core.write(SYSTEM, lambda tx: jobs.fail(tx, job, failure))
                log.warning(
                    "job.failed", job_id=job.id, kind=job.kind, state=state, code=error.code, attempt=job.attempts
                )
        except RunLost:
            log.info("job.lost", job_id=job.id, kind=job.kind)
        except StorageError as error:
            # The row says "running" and no queue knows of it: the next `adopt` queues it again.
            log.error("job.end_not_written", job_id=job.id, kind=job.kind, error=error.message)

    async def _release(self, job: Job, *, died: bool = True) -> None:
        if await self._core.write(SYSTEM, lambda tx: jobs.release(tx, job, died=died)):
            log.info("job.released", job_id=job.id, kind=job.kind, attempt=job.attempts)

    @asynccontextmanager
    async def _in_turn(self, key: str) -> AsyncIterator[None]:
        lock, count = self._vaults.get(key, (anyio.Lock(), 0))
        self._vaults[key] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._vaults[key]
            if count == 1:
                del self._vaults[key]
            else:
                self._vaults[key] = (lock, count - 1)


def _turn_of(job: Job) -> str:
    """Jobs with the same answer are executed one after the other."""
    return str(job.args.get("vault_id") or job.id)
