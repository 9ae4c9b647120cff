"""RunStore: the log of every run, append-only, and the row that says where the run stands.

Every change is one transaction that writes events and row together. A writer shows the epoch it claimed; when another
process has claimed the run since, it gets `RunLost`, and when somebody asked for the run to stop, `RunCancelled`. So a
run ends once, and no event of a process that lost it gets into the log. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, and_, insert, or_, select, update
from sqlalchemy.engine import Row

from runtime.budget import Budget, Spent
from runtime.db import Database
from runtime.errors import Conflict, InvalidInput, RunCancelled, RunLost, UnknownName
from runtime.events import (
    AnyPayload,
    Event,
    LlmCall,
    RunCancelledEvent,
    RunFailed,
    RunFinished,
    RunQueued,
    RunResumed,
    RunStarted,
    data_of,
    parse_payload,
)
from runtime.ids import Clock, new_run_id
from runtime.run_types import TERMINAL, Claim, PurposeUsage, RunPage, RunRecord, RunSpec, RunStatus
from runtime.tables import Run, RunEvent, RunStep

__all__ = ["TERMINAL", "Claim", "RunPage", "RunRecord", "RunSpec", "RunStatus", "RunStore"]

Item = tuple[AnyPayload, str | None]
RESUMABLE: frozenset[RunStatus] = frozenset({"failed", "cancelled", "budget_exhausted", "interrupted"})


class RunStore:
    """The only reader and writer of runs, events and steps."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    # -- a run begins --------------------------------------------------------------------------------------------------

    async def create(self, spec: RunSpec, *, owner: str, agent_version: int, model: str) -> RunRecord:
        """Accept a run: row and `run.queued` are committed when this returns."""

        def work(connection: Connection) -> RunRecord:
            record = self._insert(connection, spec, owner, agent_version, model)
            self._append(connection, record.id, 0, [(RunQueued(agent=spec.agent, model=spec.model), None)])
            return replace(record, last_seq=1)

        return await self._db.write(work)

    async def create_started(
        self, spec: RunSpec, *, owner: str, agent_version: int, model: str, executor: str, started: RunStarted
    ) -> Claim:
        """Accept and claim a run in one transaction, for a caller that executes it at once."""
        now = self._clock.now()

        def work(connection: Connection) -> Claim:
            record = self._insert(
                connection,
                spec,
                owner,
                agent_version,
                model,
                status="running",
                epoch=1,
                attempt=1,
                executor=executor,
                started_at=now,
                last_seq=2,
            )
            items: list[Item] = [(RunQueued(agent=spec.agent, model=spec.model), None), (started, None)]
            self._append(connection, record.id, 0, items)
            return Claim(record, 1, {}, Spent())

        return await self._db.write(work)

    async def start(self, run_id: str, *, executor: str, started: RunStarted, expect_epoch: int) -> Claim | None:
        """Claim a run that is queued, interrupted, or whose process died.

        The first claim writes `run.started`; a later one voids the events of unfinished steps and writes
        `run.resumed`. Returns None when the run has ended, was cancelled meanwhile (then it ends here), or was claimed
        by somebody else since `expect_epoch` was read.
        """
        now = self._clock.now()

        def work(connection: Connection) -> Claim | None:
            row = connection.execute(select(Run).where(Run.id == run_id).with_for_update()).one_or_none()
            if row is None or row.epoch != expect_epoch or row.status in TERMINAL:
                return None
            if row.cancel_reason is not None:
                self._end(connection, row, RunCancelledEvent(reason=row.cancel_reason))
                return None
            epoch = row.epoch + 1
            connection.execute(
                update(Run)
                .where(Run.id == run_id)
                .values(
                    status="running",
                    epoch=epoch,
                    attempt=row.attempt + 1,
                    executor=executor,
                    started_at=row.started_at or now,
                    resume_requested=False,
                )
            )
            steps = self._steps(connection, run_id)
            opening: AnyPayload = started
            if row.attempt > 0 or row.parent_id is not None:
                opening = RunResumed(
                    executor=executor,
                    attempt=row.attempt + 1,
                    reason="requested" if row.resume_requested or row.parent_id is not None else "recovered",
                    void=self._void(connection, run_id, frozenset(steps)),
                )
            self._append(connection, run_id, row.last_seq, [(opening, None)], bump=True)
            record = _record(connection.execute(select(Run).where(Run.id == run_id)).one())
            spent = self._spent(connection, run_id)
            return Claim(record, epoch, steps, spent)

        return await self._db.write(work)

    # -- a run goes on -------------------------------------------------------------------------------------------------

    async def append(self, run_id: str, epoch: int, items: Sequence[Item]) -> list[Event]:
        """Write events. Raises `RunLost`, `RunCancelled`, `StorageError`; then nothing is written."""

        def work(connection: Connection) -> list[Event]:
            return self._claimed_append(connection, run_id, epoch, items)

        return await self._db.write(work)

    async def finish_step(
        self, run_id: str, epoch: int, key: str, output: JsonValue, items: Sequence[Item]
    ) -> list[Event]:
        """Write events and the output of a step together. Raises as `append` does."""

        def work(connection: Connection) -> list[Event]:
            events = self._claimed_append(connection, run_id, epoch, items)
            seq = events[-1].seq if events else select(Run.last_seq).where(Run.id == run_id).scalar_subquery()
            connection.execute(
                insert(RunStep).values(run_id=run_id, key=key, seq=seq, output=output, at=self._clock.now())
            )
            return events

        return await self._db.write(work)

    async def finish(
        self,
        run_id: str,
        epoch: int,
        payload: RunFinished | RunFailed | RunCancelledEvent,
        *,
        items: Sequence[Item] = (),
    ) -> list[Event]:
        """Write the last events and the end of the run together. Raises `RunLost` when it has ended already.

        A run that somebody cancelled ends as cancelled, whatever `payload` says, unless it has succeeded.
        """

        def work(connection: Connection) -> list[Event]:
            row = connection.execute(select(Run).where(Run.id == run_id).with_for_update()).one_or_none()
            if row is None or row.epoch != epoch or row.status != "running":
                raise RunLost(f"run {run_id!r}: another process has it in hand")
            cancelled = row.cancel_reason is not None and isinstance(payload, RunFailed)
            end = RunCancelledEvent(reason=row.cancel_reason) if cancelled else payload
            return self._end(connection, row, end, items)

        return await self._db.write(work)

    async def interrupt(self, run_id: str, epoch: int) -> None:
        """Say that the process ends while the run goes on: it is picked up by whoever comes next."""

        def work(connection: Connection) -> None:
            connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.epoch == epoch, Run.status == "running")
                .values(status="interrupted")
            )

        await self._db.write(work)

    # -- people and the sweeper ----------------------------------------------------------------------------------------

    async def request_cancel(self, run_id: str, reason: str) -> RunRecord:
        """Ask for the run to stop. One that nobody executes ends at once; one that has ended stays as it is."""

        def work(connection: Connection) -> RunRecord:
            row = self._locked(connection, run_id)
            if row.status in ("queued", "interrupted"):
                self._end(connection, row, RunCancelledEvent(reason=reason))
            elif row.status == "running":
                connection.execute(update(Run).where(Run.id == run_id).values(cancel_reason=reason))
            return _record(connection.execute(select(Run).where(Run.id == run_id)).one())

        return await self._db.write(work)

    async def requeue(self, run_id: str, *, budget: Budget | None = None) -> RunRecord:
        """Queue an ended or interrupted run again; its finished steps stay. Raises `Conflict`."""

        def work(connection: Connection) -> RunRecord:
            row = self._locked(connection, run_id)
            if row.status not in RESUMABLE:
                raise Conflict(
                    f"run {run_id!r} is {row.status!r}; only a run that is {', '.join(sorted(RESUMABLE))} can be resumed"
                )
            spec = RunSpec.from_json(row.spec)
            if budget is not None:
                spec = replace(spec, budget=budget)
            connection.execute(
                update(Run)
                .where(Run.id == run_id)
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
            return _record(connection.execute(select(Run).where(Run.id == run_id)).one())

        return await self._db.write(work)

    async def fork(self, run_id: str, from_event: int, *, owner: str) -> RunRecord:
        """Make a queued run that shares the events up to and with `from_event` and the steps finished by then.

        Raises `InvalidInput` when there is no such event in the log.
        """

        def work(connection: Connection) -> RunRecord:
            row = self._locked(connection, run_id)
            known = connection.execute(
                select(RunEvent.seq).where(
                    RunEvent.run_id == run_id, RunEvent.seq == from_event, RunEvent.voided.is_(False)
                )
            )
            if known.one_or_none() is None:
                raise InvalidInput(
                    f"run {run_id!r} has no event {from_event}; its last one is {row.last_seq}",
                    param="from_event",
                )
            steps = (
                connection.execute(select(RunStep).where(RunStep.run_id == run_id, RunStep.seq <= from_event))
            ).all()
            done = {step.key for step in steps}
            events = (
                connection.execute(
                    select(RunEvent)
                    .where(RunEvent.run_id == run_id, RunEvent.seq <= from_event, RunEvent.voided.is_(False))
                    .order_by(RunEvent.seq)
                )
            ).all()
            record = self._insert(
                connection,
                RunSpec.from_json(row.spec),
                owner,
                row.agent_version,
                row.model,
                parent_id=run_id,
                parent_seq=from_event,
                last_seq=from_event,
            )
            # What belongs to a step that is done again, or ended the old run, does not belong to the new log.
            kept = [
                {
                    "run_id": record.id,
                    "seq": e.seq,
                    "at": e.at,
                    "type": e.type,
                    "step": e.step,
                    "data": e.data,
                }
                for e in events
                if (e.step is None or e.step in done) and not _is_end(e.type)
            ]
            if kept:
                connection.execute(insert(RunEvent), [{**event, "voided": False} for event in kept])
            if steps:
                connection.execute(
                    insert(RunStep),
                    [{"run_id": record.id, "key": s.key, "seq": s.seq, "output": s.output, "at": s.at} for s in steps],
                )
            return record

        return await self._db.write(work)

    async def cancel_requested(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Which of these running runs somebody asked to stop, and why."""

        def work(connection: Connection) -> dict[str, str]:
            rows = connection.execute(
                select(Run.id, Run.cancel_reason).where(
                    Run.id.in_(run_ids), Run.cancel_reason.is_not(None), Run.status == "running"
                )
            )
            return {row.id: row.cancel_reason for row in rows}

        return await self._db.read(work)

    async def in_hand(self) -> list[RunRecord]:
        """The runs that are marked as running or were interrupted by a shutdown."""
        return await self._all(Run.status.in_(("running", "interrupted")))

    async def queued(self) -> list[RunRecord]:
        """The runs that wait, oldest first."""
        return await self._all(Run.status == "queued")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, run_id: str, *, owner: str | None) -> RunRecord:
        """One run. With an `owner` a run of somebody else is as unknown as one that never was: `UnknownName`."""

        def work(connection: Connection) -> RunRecord:
            row = connection.execute(select(Run).where(Run.id == run_id)).one_or_none()
            if row is None or (owner is not None and row.owner != owner):
                raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
            return _record(row)

        return await self._db.read(work)

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
        query = select(Run).order_by(Run.id.desc()).limit(limit + 1)
        if owner is not None:
            query = query.where(Run.owner == owner)
        if agent is not None:
            query = query.where(Run.agent == agent)
        if status is not None:
            query = query.where(Run.status == status)
        if cursor is not None:
            query = query.where(Run.id < cursor)

        def work(connection: Connection) -> RunPage:
            rows = connection.execute(query).all()
            items = [_record(row) for row in rows[:limit]]
            return RunPage(items, items[-1].id if len(rows) > limit else None)

        return await self._db.read(work)

    async def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The log behind `after`, in order, without voided lines."""

        def work(connection: Connection) -> list[Event]:
            rows = connection.execute(
                select(RunEvent)
                .where(RunEvent.run_id == run_id, RunEvent.seq > after, RunEvent.voided.is_(False))
                .order_by(RunEvent.seq)
                .limit(limit)
            )
            return [Event(row.seq, row.run_id, row.at, parse_payload(row.type, row.data), row.step) for row in rows]

        return await self._db.read(work)

    # -- inside a transaction ------------------------------------------------------------------------------------------

    def _insert(
        self,
        connection: Connection,
        spec: RunSpec,
        owner: str,
        agent_version: int,
        model: str,
        **values: Any,
    ) -> RunRecord:
        run_id = new_run_id()
        now = self._clock.now()
        row = {
            "status": "queued",
            "epoch": 0,
            "attempt": 0,
            "executor": None,
            "last_seq": 1,
            "parent_id": None,
            "parent_seq": None,
            "started_at": None,
            **values,
        }
        connection.execute(
            insert(Run).values(
                id=run_id,
                owner=owner,
                agent=spec.agent,
                agent_version=agent_version,
                model=model,
                spec=spec.to_json(),
                usage={},
                created_at=now,
                resume_requested=False,
                **row,
            )
        )
        return RunRecord(
            id=run_id,
            owner=owner,
            agent=spec.agent,
            agent_version=agent_version,
            model=model,
            spec=spec,
            output=None,
            error=None,
            usage={},
            cancel_reason=None,
            created_at=now,
            finished_at=None,
            **row,
        )

    def _append(
        self,
        connection: Connection,
        run_id: str,
        last_seq: int,
        items: Sequence[Item],
        *,
        bump: bool = False,
    ) -> list[Event]:
        now = self._clock.now()
        events = [Event(last_seq + n, run_id, now, payload, step) for n, (payload, step) in enumerate(items, start=1)]
        if events:
            connection.execute(
                insert(RunEvent),
                [
                    {
                        "run_id": run_id,
                        "seq": e.seq,
                        "at": now,
                        "type": e.type,
                        "step": e.step,
                        "data": data_of(e.payload),
                        "voided": False,
                    }
                    for e in events
                ],
            )
        if bump:
            connection.execute(update(Run).where(Run.id == run_id).values(last_seq=last_seq + len(events)))
        return events

    def _claimed_append(self, connection: Connection, run_id: str, epoch: int, items: Sequence[Item]) -> list[Event]:
        row = (
            connection.execute(
                update(Run)
                .where(Run.id == run_id, Run.epoch == epoch, Run.status == "running")
                .values(last_seq=Run.last_seq + len(items))
                .returning(Run.last_seq, Run.cancel_reason, Run.usage)
            )
        ).one_or_none()
        if row is None:
            raise RunLost(f"run {run_id!r}: another process has it in hand, or it has ended")
        if row.cancel_reason is not None:
            raise RunCancelled(row.cancel_reason)
        calls = [payload for payload, _ in items if isinstance(payload, LlmCall)]
        if calls:
            connection.execute(update(Run).where(Run.id == run_id).values(usage=_with_calls(row.usage, calls)))
        return self._append(connection, run_id, row.last_seq - len(items), items)

    def _end(
        self,
        connection: Connection,
        row: Row[Any],
        payload: RunFinished | RunFailed | RunCancelledEvent,
        items: Sequence[Item] = (),
    ) -> list[Event]:
        calls = [item for item, _ in items if isinstance(item, LlmCall)]
        events = self._append(connection, row.id, row.last_seq, [*items, (payload, None)])
        status: RunStatus = "cancelled"
        output: JsonValue = None
        error: dict[str, Any] | None = None
        if isinstance(payload, RunFinished):
            status, output = payload.status, payload.output
        elif isinstance(payload, RunFailed):
            status, error = "failed", {"code": payload.code, "message": payload.message}
        connection.execute(
            update(Run)
            .where(Run.id == row.id)
            .values(
                status=status,
                output=output,
                error=error,
                last_seq=events[-1].seq,
                finished_at=self._clock.now(),
                usage=_with_calls(row.usage, calls),
            )
        )
        return events

    def _void(self, connection: Connection, run_id: str, done: frozenset[str]) -> list[tuple[int, int]]:
        rows = (
            connection.execute(
                select(RunEvent.seq, RunEvent.step)
                .where(RunEvent.run_id == run_id, RunEvent.voided.is_(False), RunEvent.step.is_not(None))
                .order_by(RunEvent.seq)
            )
        ).all()
        ranges = _ranges(row.seq for row in rows if row.step not in done)
        if ranges:
            inside = or_(*(and_(RunEvent.seq >= first, RunEvent.seq <= last) for first, last in ranges))
            connection.execute(update(RunEvent).where(RunEvent.run_id == run_id, inside).values(voided=True))
        return ranges

    def _steps(self, connection: Connection, run_id: str) -> dict[str, JsonValue]:
        rows = connection.execute(select(RunStep.key, RunStep.output).where(RunStep.run_id == run_id))
        return {row.key: row.output for row in rows}

    def _spent(self, connection: Connection, run_id: str) -> Spent:
        rows = connection.execute(select(RunEvent.data).where(RunEvent.run_id == run_id, RunEvent.type == "llm.call"))
        calls = [row.data for row in rows]
        tokens = sum(c["usage"]["prompt_tokens"] + c["usage"]["completion_tokens"] for c in calls)
        return Spent(tokens=tokens, calls=len(calls), seconds=sum(c["ms"] for c in calls) / 1000)

    def _locked(self, connection: Connection, run_id: str) -> Row[Any]:
        row = connection.execute(select(Run).where(Run.id == run_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
        return row

    async def _all(self, condition: Any) -> list[RunRecord]:
        def work(connection: Connection) -> list[RunRecord]:
            return [_record(row) for row in connection.execute(select(Run).where(condition).order_by(Run.id))]

        return await self._db.read(work)


def _is_end(type_: str) -> bool:
    return type_ in ("run.finished", "run.failed", "run.cancelled")


def _ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges


def _with_calls(usage: dict[str, Any], calls: Iterable[LlmCall]) -> dict[str, Any]:
    """Usage by purpose with some calls added."""
    usage = dict(usage)
    for call in calls:
        old = PurposeUsage(**usage.get(call.purpose, {}))
        usage[call.purpose] = {
            "calls": old.calls + 1,
            "prompt_tokens": old.prompt_tokens + call.usage.prompt_tokens,
            "completion_tokens": old.completion_tokens + call.usage.completion_tokens,
            "cached_tokens": old.cached_tokens + call.cached_tokens,
            "reasoning_tokens": old.reasoning_tokens + call.usage.reasoning_tokens,
            "ms": round(old.ms + call.ms, 3),
        }
    return usage


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(
        id=row.id,
        owner=row.owner,
        agent=row.agent,
        agent_version=row.agent_version,
        model=row.model,
        status=row.status,
        spec=RunSpec.from_json(row.spec),
        output=row.output,
        error=row.error,
        usage={purpose: PurposeUsage(**part) for purpose, part in row.usage.items()},
        epoch=row.epoch,
        attempt=row.attempt,
        executor=row.executor,
        cancel_reason=row.cancel_reason,
        last_seq=row.last_seq,
        parent_id=row.parent_id,
        parent_seq=row.parent_seq,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
