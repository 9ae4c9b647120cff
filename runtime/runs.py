"""RunStore: the log of every run, append-only, and the row that says where the run stands.

Every change is one transaction that writes events and row together. A writer shows the epoch it claimed; when another
process has claimed the run since, it gets `RunLost`, and when somebody asked for the run to stop, `RunCancelled`. So a
run ends once, and no event of a process that lost it gets into the log. The statements are in runtime/run_log.py.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, select, update

from runtime import run_log
from runtime.budget import Budget, Spent
from runtime.db import Database
from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.events import (
    AnyPayload,
    Event,
    RunCancelledEvent,
    RunFinished,
    RunQueued,
    RunResumed,
    RunStarted,
    parse_payload,
)
from runtime.ids import Clock
from runtime.run_fork import fork
from runtime.run_log import EVENTS, RUNS, End, Item
from runtime.run_types import TERMINAL, Claim, RunPage, RunRecord, RunSpec, RunStatus

__all__ = ["TERMINAL", "Claim", "RunPage", "RunRecord", "RunSpec", "RunStatus", "RunStore"]

RESUMABLE: frozenset[RunStatus] = frozenset({"failed", "cancelled", "budget_exhausted", "interrupted"})


class RunStore:
    """The only reader and writer of runs, events and steps."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    # -- a run begins --------------------------------------------------------------------------------------------------

    async def create(self, spec: RunSpec, *, owner: str, agent_version: int, model: str) -> RunRecord:
        """Accept a run: row and `run.queued` are committed when this returns."""
        now = self._clock.now()
        queued: list[Item] = [(RunQueued(agent=spec.agent, model=spec.model), None)]

        def work(connection: Connection) -> RunRecord:
            record = run_log.add_run(
                connection, spec, owner=owner, agent_version=agent_version, model=model, now=now, last_seq=1
            )
            run_log.add_events(connection, record.id, 0, queued, now=now)
            return record

        return await self._db.write(work)

    async def create_started(
        self, spec: RunSpec, *, owner: str, agent_version: int, model: str, executor: str, started: RunStarted
    ) -> Claim:
        """Accept and claim a run in one transaction, for a caller that executes it at once."""
        now = self._clock.now()
        opening: list[Item] = [(RunQueued(agent=spec.agent, model=spec.model), None), (started, None)]

        def work(connection: Connection) -> Claim:
            record = run_log.add_run(
                connection,
                spec,
                owner=owner,
                agent_version=agent_version,
                model=model,
                now=now,
                status="running",
                epoch=1,
                attempt=1,
                executor=executor,
                started_at=now,
                last_seq=2,
            )
            run_log.add_events(connection, record.id, 0, opening, now=now)
            return Claim(record, 1, {}, Spent())

        return await self._db.write(work)

    async def start(self, run_id: str, *, executor: str, started: RunStarted, expect_epoch: int) -> Claim | None:
        """Claim a run that is queued, interrupted, or whose process died.

        The first claim writes `run.started`; a later one voids the events of unfinished steps and writes
        `run.resumed`. Returns None when the run has ended, was cancelled meanwhile (then it ends here), or was claimed
        by somebody else since `expect_epoch` was read. Raises `UnknownName`.
        """
        now = self._clock.now()

        def work(connection: Connection) -> Claim | None:
            row = run_log.locked(connection, run_id)
            if row.epoch != expect_epoch or row.status in TERMINAL:
                return None
            if row.cancel_reason is not None:
                run_log.end(connection, row, RunCancelledEvent(reason=row.cancel_reason), now=now)
                return None
            steps = run_log.finished_steps(connection, run_id)
            opening: AnyPayload = started
            if row.attempt > 0 or (row.parent_id is not None and _has_started(connection, run_id)):
                opening = RunResumed(
                    executor=executor,
                    attempt=row.attempt + 1,
                    reason="requested" if row.resume_requested or row.attempt == 0 else "recovered",
                    void=run_log.void_unfinished(connection, run_id, steps),
                )
            events = run_log.add_events(connection, run_id, row.last_seq, [(opening, None)], now=now)
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == run_id)
                .values(
                    status="running",
                    epoch=row.epoch + 1,
                    attempt=row.attempt + 1,
                    executor=executor,
                    started_at=row.started_at or now,
                    resume_requested=False,
                    last_seq=events[-1].seq,
                )
            )
            record = run_log.record_of(connection, run_id)
            return Claim(record, record.epoch, steps, run_log.spent(connection, run_id))

        return await self._db.write(work)

    # -- a run goes on -------------------------------------------------------------------------------------------------

    async def append(self, run_id: str, epoch: int, items: Sequence[Item]) -> list[Event]:
        """Write events. Raises `RunLost`, `RunCancelled`, `StorageError`; then nothing is written."""
        now = self._clock.now()
        return await self._db.write(lambda connection: run_log.append(connection, run_id, epoch, items, now=now)[0])

    async def finish_step(
        self, run_id: str, epoch: int, key: str, output: JsonValue, items: Sequence[Item]
    ) -> list[Event]:
        """Write events and the output of a step together. Raises as `append` does, `Conflict` for a finished step."""
        now = self._clock.now()

        def work(connection: Connection) -> list[Event]:
            events, last = run_log.append(connection, run_id, epoch, items, now=now)
            run_log.add_step(connection, run_id, key, output, seq=last, now=now)
            return events

        return await self._db.write(work)

    async def finish(self, run_id: str, epoch: int, payload: End, *, items: Sequence[Item] = ()) -> list[Event]:
        """Write the last events and the end of the run together. Raises `RunLost` when it has ended already.

        A run that somebody cancelled ends as cancelled, whatever `payload` says, unless it has succeeded.
        """
        now = self._clock.now()

        def work(connection: Connection) -> list[Event]:
            row = run_log.standing(connection, run_id, epoch)
            succeeded = isinstance(payload, RunFinished) and payload.status == "succeeded"
            cancelled = row.cancel_reason is not None and not succeeded
            last = RunCancelledEvent(reason=row.cancel_reason) if cancelled else payload
            return run_log.end(connection, row, last, items, now=now)

        return await self._db.write(work)

    async def interrupt(self, run_id: str, epoch: int) -> None:
        """Say that the process ends while the run goes on: it is picked up by whoever comes next."""
        held = (RUNS.c.id == run_id, RUNS.c.epoch == epoch, RUNS.c.status == "running")
        await self._db.write(
            lambda connection: connection.execute(update(RUNS).where(*held).values(status="interrupted"))
        )

    # -- people and the sweeper ----------------------------------------------------------------------------------------

    async def request_cancel(self, run_id: str, reason: str) -> RunRecord:
        """Ask for the run to stop. One that nobody executes ends at once; one that has ended stays as it is.

        The first reason counts. Raises `UnknownName`.
        """
        now = self._clock.now()

        def work(connection: Connection) -> RunRecord:
            row = run_log.locked(connection, run_id)
            if row.status in ("queued", "interrupted"):
                run_log.end(connection, row, RunCancelledEvent(reason=row.cancel_reason or reason), now=now)
            elif row.status == "running" and row.cancel_reason is None:
                connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(cancel_reason=reason))
            return run_log.record_of(connection, run_id)

        return await self._db.write(work)

    async def requeue(self, run_id: str, *, budget: Budget | None = None) -> RunRecord:
        """Queue an ended or interrupted run again; its finished steps stay. Raises `Conflict`, `UnknownName`."""

        def work(connection: Connection) -> RunRecord:
            row = run_log.locked(connection, run_id)
            if row.status not in RESUMABLE:
                raise Conflict(
                    f"run {run_id!r} is {row.status!r}; only a run that is {', '.join(sorted(RESUMABLE))} can be resumed"
                )
            spec = RunSpec.from_json(row.spec)
            if budget is not None:
                spec = replace(spec, budget=budget)
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == run_id)
                .values(
                    status="queued",
                    spec=spec.to_json(),
                    cancel_reason=None,
                    error=None,
                    output=None,
                    finished_at=None,
                    executor=None,
                    resume_requested=True,
                )
            )
            return run_log.record_of(connection, run_id)

        return await self._db.write(work)

    async def fork(self, run_id: str, from_event: int, *, owner: str) -> RunRecord:
        """Make a queued run that shares the events up to and with `from_event` and the steps finished by then.

        Raises `UnknownName`, and `InvalidInput` when there is no such event in the log.
        """
        now = self._clock.now()
        return await self._db.write(lambda connection: fork(connection, run_id, from_event, owner=owner, now=now))

    async def cancel_requested(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Which of these running runs somebody asked to stop, and why."""
        query = select(RUNS.c.id, RUNS.c.cancel_reason).where(
            RUNS.c.id.in_(run_ids), RUNS.c.cancel_reason.is_not(None), RUNS.c.status == "running"
        )
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        return {row.id: row.cancel_reason for row in rows}

    async def in_hand(self) -> list[RunRecord]:
        """The runs that are marked as running or were interrupted by a shutdown."""
        return await self._all(RUNS.c.status.in_(("running", "interrupted")))

    async def queued(self) -> list[RunRecord]:
        """The runs that wait, oldest first."""
        return await self._all(RUNS.c.status == "queued")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, run_id: str, *, owner: str | None) -> RunRecord:
        """One run. With an `owner` a run of somebody else is as unknown as one that never was: `UnknownName`."""
        record = await self._db.read(lambda connection: run_log.record_of(connection, run_id))
        if owner is not None and record.owner != owner:
            raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
        return record

    async def page(
        self,
        owner: str | None,
        *,
        agent: str | None = None,
        status: RunStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """Newest first. The cursor is the id of the last run seen, so new runs do not shift the pages."""
        query = select(RUNS).order_by(RUNS.c.id.desc()).limit(_at_least_one(limit) + 1)
        for column, wanted in ((RUNS.c.owner, owner), (RUNS.c.agent, agent), (RUNS.c.status, status)):
            if wanted is not None:
                query = query.where(column == wanted)
        if cursor is not None:
            query = query.where(RUNS.c.id < cursor)
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        items = [run_log.record(row) for row in rows[:limit]]
        return RunPage(items, items[-1].id if len(rows) > limit else None)

    async def events(
        self, run_id: str, *, after: int = 0, limit: int = 1000, types: Collection[str] = ()
    ) -> list[Event]:
        """The log behind `after`, in order, without voided lines; with `types` only those."""
        query = (
            select(EVENTS)
            .where(EVENTS.c.run_id == run_id, EVENTS.c.seq > after, EVENTS.c.voided.is_(False))
            .order_by(EVENTS.c.seq)
            .limit(_at_least_one(limit))
        )
        if types:
            query = query.where(EVENTS.c.type.in_(types))
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        return [Event(row.seq, row.run_id, row.at, parse_payload(row.type, row.data), row.step) for row in rows]

    async def steps(self, run_id: str) -> dict[str, JsonValue]:
        """What the finished steps of a run returned, by key."""
        return await self._db.read(lambda connection: run_log.finished_steps(connection, run_id))

    async def _all(self, condition: ColumnElement[bool]) -> list[RunRecord]:
        query = select(RUNS).where(condition).order_by(RUNS.c.id)
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        return [run_log.record(row) for row in rows]


def _has_started(connection: Connection, run_id: str) -> bool:
    query = select(EVENTS.c.seq).where(EVENTS.c.run_id == run_id, EVENTS.c.type == "run.started").limit(1)
    return connection.execute(query).one_or_none() is not None


def _at_least_one(limit: int) -> int:
    if limit < 1:
        raise InvalidInput(f"limit {limit}: expected at least 1", param="limit")
    return limit
