"""The statements that write a run: its row, its events, its steps. Each function works inside somebody's transaction.

The statements are built once; building them anew cost more than SQLite takes to execute them. Numbers of events come
from `runs.last_seq`, which is read or raised in the same transaction, so they have no gaps and no doubles. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from pydantic import JsonValue
from sqlalchemy import Connection, Table, and_, bindparam, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from runtime.budget import Spent
from runtime.errors import Conflict, RunCancelled, RunLost, UnknownName
from runtime.events import (
    AnyPayload,
    Event,
    LlmCall,
    RunCancelledEvent,
    RunFailed,
    RunFinished,
    data_of,
)
from runtime.ids import new_run_id
from runtime.run_types import PurposeUsage, RunRecord, RunSpec, RunStatus
from runtime.tables import Run, RunEvent, RunStep

Item = tuple[AnyPayload, str | None]
End = RunFinished | RunFailed | RunCancelledEvent

RUNS = cast(Table, Run.__table__)
EVENTS = cast(Table, RunEvent.__table__)
STEPS = cast(Table, RunStep.__table__)

_ADD_RUN = insert(RUNS)
_ADD_EVENTS = insert(EVENTS)
_ADD_STEP = insert(STEPS)
_RUN = select(RUNS).where(RUNS.c.id == bindparam("run_id"))
_LOCKED_RUN = _RUN.with_for_update()
_STANDING = (
    select(RUNS.c.id, RUNS.c.epoch, RUNS.c.status, RUNS.c.cancel_reason, RUNS.c.last_seq, RUNS.c.usage)
    .where(RUNS.c.id == bindparam("run_id"))
    .with_for_update()
)
_GROW = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run_id"), RUNS.c.epoch == bindparam("held"), RUNS.c.status == "running")
    .values(last_seq=RUNS.c.last_seq + bindparam("more"))
    .returning(RUNS.c.last_seq, RUNS.c.cancel_reason, RUNS.c.usage)
)
_SET_USAGE = update(RUNS).where(RUNS.c.id == bindparam("run_id")).values(usage=bindparam("new_usage"))
_SET_END = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run_id"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("status", "output", "error", "last_seq", "finished_at", "usage")}
    )
)
_STEPS_OF = select(STEPS.c.key, STEPS.c.output).where(STEPS.c.run_id == bindparam("run_id"))


def add_run(
    connection: Connection,
    spec: RunSpec,
    *,
    owner: str,
    agent_version: int,
    model: str,
    now: datetime,
    **values: Any,
) -> RunRecord:
    """Insert a row, queued unless `values` say otherwise; without events."""
    row: dict[str, Any] = {
        "id": new_run_id(),
        "owner": owner,
        "agent": spec.agent,
        "agent_version": agent_version,
        "model": model,
        "status": "queued",
        "output": None,
        "error": None,
        "usage": {},
        "epoch": 0,
        "attempt": 0,
        "executor": None,
        "cancel_reason": None,
        "last_seq": 0,
        "parent_id": None,
        "parent_seq": None,
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        **values,
    }
    connection.execute(_ADD_RUN, {**row, "spec": spec.to_json(), "resume_requested": False})
    return RunRecord(**{**row, "spec": spec, "usage": _purposes(row["usage"])})


def add_events(
    connection: Connection, run_id: str, behind: int, items: Sequence[Item], *, now: datetime
) -> list[Event]:
    """Insert events with the numbers behind `behind`; the row is the caller's business."""
    events = [Event(behind + n, run_id, now, payload, step) for n, (payload, step) in enumerate(items, start=1)]
    if events:
        connection.execute(
            _ADD_EVENTS,
            [
                {
                    "run_id": run_id,
                    "seq": event.seq,
                    "at": now,
                    "type": event.payload.type,
                    "step": event.step,
                    "data": data_of(event.payload),
                    "voided": False,
                }
                for event in events
            ],
        )
    return events


def append(
    connection: Connection, run_id: str, epoch: int, items: Sequence[Item], *, now: datetime
) -> tuple[list[Event], int]:
    """Write events under a claim; gives them and the last number. Raises `RunLost`, `RunCancelled`."""
    row = connection.execute(_GROW, {"run_id": run_id, "held": epoch, "more": len(items)}).one_or_none()
    if row is None:
        raise RunLost(f"run {run_id!r}: another process has it in hand, or it has ended")
    if row.cancel_reason is not None:
        raise RunCancelled(row.cancel_reason)
    calls = _calls(items)
    if calls:
        connection.execute(_SET_USAGE, {"run_id": run_id, "new_usage": with_calls(row.usage, calls)})
    return add_events(connection, run_id, row.last_seq - len(items), items, now=now), row.last_seq


def add_step(connection: Connection, run_id: str, key: str, output: JsonValue, *, seq: int, now: datetime) -> None:
    """Keep what a step returned. Raises `Conflict` when the run has finished a step of that key."""
    try:
        connection.execute(_ADD_STEP, {"run_id": run_id, "key": key, "seq": seq, "output": output, "at": now})
    except IntegrityError as error:
        raise Conflict(
            f"run {run_id!r}: step {key!r} is finished already; expected a key of its own per step"
        ) from error


def standing(connection: Connection, run_id: str, epoch: int) -> Row[*tuple[Any, ...]]:
    """Where a run stands, locked, for whoever holds the claim `epoch`. Raises `RunLost`."""
    row = connection.execute(_STANDING, {"run_id": run_id}).one_or_none()
    if row is None or row.epoch != epoch or row.status != "running":
        raise RunLost(f"run {run_id!r}: another process has it in hand, or it has ended")
    return row


def end(
    connection: Connection, row: Row[*tuple[Any, ...]], payload: End, items: Sequence[Item] = (), *, now: datetime
) -> list[Event]:
    """Write the last events and how the run ended, to the log and into the row."""
    events = add_events(connection, row.id, row.last_seq, [*items, (payload, None)], now=now)
    status: RunStatus = "cancelled"
    output: JsonValue = None
    error: dict[str, Any] | None = None
    if isinstance(payload, RunFinished):
        status, output = payload.status, payload.output
    elif isinstance(payload, RunFailed):
        status, error = "failed", {"code": payload.code, "message": payload.message}
    connection.execute(
        _SET_END,
        {
            "run_id": row.id,
            "new_status": status,
            "new_output": output,
            "new_error": error,
            "new_last_seq": events[-1].seq,
            "new_finished_at": now,
            "new_usage": with_calls(row.usage, _calls(items)),
        },
    )
    return events


def void_unfinished(connection: Connection, run_id: str, done: Iterable[str]) -> list[tuple[int, int]]:
    """Take the events of steps that are not `done` out of the log; gives their numbers as inclusive ranges."""
    finished = frozenset(done)
    rows = connection.execute(
        select(EVENTS.c.seq, EVENTS.c.step)
        .where(EVENTS.c.run_id == run_id, EVENTS.c.voided.is_(False), EVENTS.c.step.is_not(None))
        .order_by(EVENTS.c.seq)
    )
    ranges = _ranges(row.seq for row in rows if row.step not in finished)
    for first in range(0, len(ranges), 100):  # a statement takes only so many conditions
        inside = (and_(EVENTS.c.seq >= low, EVENTS.c.seq <= high) for low, high in ranges[first : first + 100])
        connection.execute(update(EVENTS).where(EVENTS.c.run_id == run_id, or_(*inside)).values(voided=True))
    return ranges


def finished_steps(connection: Connection, run_id: str) -> dict[str, JsonValue]:
    """What each finished step returned."""
    return {row.key: row.output for row in connection.execute(_STEPS_OF, {"run_id": run_id})}


def spent(connection: Connection, run_id: str) -> Spent:
    """What all executions used up: every call, also of steps that are done again, and the time they were at work."""
    rows = connection.execute(
        select(EVENTS.c.type, EVENTS.c.at).where(EVENTS.c.run_id == run_id).order_by(EVENTS.c.seq)
    )
    seconds, begun, last = 0.0, None, None
    for row in rows:
        if row.type in ("run.started", "run.resumed"):
            seconds += _between(begun, last)
            begun = row.at
        if row.type != "run.cancelled":  # may be written long after the last execution broke off
            last = row.at
    calls = connection.execute(
        select(EVENTS.c.data).where(EVENTS.c.run_id == run_id, EVENTS.c.type == "llm.call")
    ).scalars()
    tokens = [call["usage"]["prompt_tokens"] + call["usage"]["completion_tokens"] for call in calls]
    return Spent(tokens=sum(tokens), calls=len(tokens), seconds=seconds + _between(begun, last))


def record_of(connection: Connection, run_id: str) -> RunRecord:
    """The record of a run. Raises `UnknownName`."""
    return record(_known(connection.execute(_RUN, {"run_id": run_id}).one_or_none(), run_id))


def locked(connection: Connection, run_id: str) -> Row[*tuple[Any, ...]]:
    """The row of a run, locked until the transaction ends. Raises `UnknownName`."""
    return _known(connection.execute(_LOCKED_RUN, {"run_id": run_id}).one_or_none(), run_id)


def record(row: Row[*tuple[Any, ...]]) -> RunRecord:
    """A row as a record."""
    values = dict(row._mapping)
    del values["resume_requested"]
    return RunRecord(**{**values, "spec": RunSpec.from_json(row.spec), "usage": _purposes(row.usage)})


def with_calls(usage: Mapping[str, Any], calls: Iterable[LlmCall]) -> dict[str, Any]:
    """Usage by purpose, as it is stored, with some calls added."""
    total = dict(usage)
    for call in calls:
        old = PurposeUsage(**total.get(call.purpose, {}))
        total[call.purpose] = {
            "calls": old.calls + 1,
            "prompt_tokens": old.prompt_tokens + call.usage.prompt_tokens,
            "completion_tokens": old.completion_tokens + call.usage.completion_tokens,
            "cached_tokens": old.cached_tokens + call.cached_tokens,
            "reasoning_tokens": old.reasoning_tokens + call.usage.reasoning_tokens,
            "ms": round(old.ms + call.ms, 3),
        }
    return total


def _calls(items: Iterable[Item]) -> list[LlmCall]:
    return [payload for payload, _ in items if isinstance(payload, LlmCall)]


def _purposes(usage: Mapping[str, Any]) -> dict[str, PurposeUsage]:
    return {purpose: PurposeUsage(**part) for purpose, part in usage.items()}


def _between(begun: datetime | None, last: datetime | None) -> float:
    return max(0.0, (last - begun).total_seconds()) if begun is not None and last is not None else 0.0


def _known(row: Row[*tuple[Any, ...]] | None, run_id: str) -> Row[*tuple[Any, ...]]:
    if row is None:
        raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
    return row


def _ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges
