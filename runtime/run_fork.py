"""A fork: a new run that begins with the log of another one, as far as a given event.

It gets the events up to there, with their numbers, and the steps that were finished by then; what belongs to a step that
it does again, or ended the old run, is left out. Its usage is that of the calls in its log. Source: ours.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from runtime.errors import InvalidInput
from runtime.events import TERMINAL_TYPES, LlmCall, parse_payload
from runtime.run_log import EVENTS, STEPS, add_run, locked, with_calls
from runtime.run_types import RunRecord, RunSpec


def fork(connection: Connection, run_id: str, from_event: int, *, owner: str, now: datetime) -> RunRecord:
    """Make the new run, queued. Raises `UnknownName`, and `InvalidInput` when the log has no such event."""
    old = locked(connection, run_id)
    if not 1 <= from_event <= old.last_seq:
        raise _no_event(run_id, from_event, old.last_seq)
    lines = connection.execute(
        select(EVENTS)
        .where(EVENTS.c.run_id == run_id, EVENTS.c.seq <= from_event, EVENTS.c.voided.is_(False))
        .order_by(EVENTS.c.seq)
    ).all()
    if not lines or lines[-1].seq != from_event:
        raise _no_event(run_id, from_event, old.last_seq)
    steps = connection.execute(select(STEPS).where(STEPS.c.run_id == run_id, STEPS.c.seq <= from_event)).all()
    done = {step.key for step in steps}
    kept = [line for line in lines if (line.step is None or line.step in done) and line.type not in TERMINAL_TYPES]
    calls = [parse_payload(line.type, line.data) for line in kept if line.type == "llm.call"]
    new = add_run(
        connection,
        RunSpec.from_json(old.spec),
        owner=owner,
        agent_version=old.agent_version,
        model=old.model,
        now=now,
        parent_id=run_id,
        parent_seq=from_event,
        last_seq=from_event,
        usage=with_calls({}, (call for call in calls if isinstance(call, LlmCall))),
    )
    if kept:
        connection.execute(insert(EVENTS), [{**line._mapping, "run_id": new.id} for line in kept])
    if steps:
        connection.execute(insert(STEPS), [{**step._mapping, "run_id": new.id} for step in steps])
    return new


def _no_event(run_id: str, from_event: int, last: int) -> InvalidInput:
    return InvalidInput(
        f"run {run_id!r} has no event {from_event}; expected the `seq` of one of its events, the last one is {last}",
        param="from_event",
    )
