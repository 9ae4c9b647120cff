"""Jobs: work on the store that takes longer than a request, kept as rows that everybody can look at.

A job is written in the transaction of what it belongs to, so there is never one without the other. Its row is the truth;
the durable queue only carries ids (memory/workers.py). `attempts` grows with every claim and fences the writes of an
execution: one that was taken over can write nothing more. What an execution has finished it commits together with
`done`, so that the next one goes on behind it. A job that failed is tried again later; after five attempts it is dead,
which means that it waits for a person to replay it. Arguments and results hold ids, never text of a memory, because a
purge does not come here. Source: memos §3.7 (5), §5; ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeVar

from pydantic import JsonValue
from sqlalchemy import Row, delete, func, insert, or_, select, update

from memory.core import Core
from memory.tables import JobRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import (
    AuthError,
    Conflict,
    InvalidInput,
    MnemeError,
    ModelError,
    RunLost,
    RunStopped,
    SettingsError,
    UnknownName,
)

T = TypeVar("T")
Execute = Callable[[str], Awaitable[None]]
JobState = Literal["queued", "running", "done", "failed", "dead"]

ATTEMPTS: Final = 5
BACKOFF_CAP_S: Final = 300.0
WAITING: Final[tuple[JobState, ...]] = ("queued", "failed")
OPEN: Final[tuple[JobState, ...]] = (*WAITING, "running")
TURN: Final = 50
OPEN_PER_USER: Final = 200
MAX_PAGE: Final = 500
MAX_ERROR: Final = 2000
CONTEXT: Final = "_context"


class TooManyJobs(Conflict):
    """The user has too many unfinished jobs; `retry_after_s` says when to try again."""

    code = "too_many_jobs"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Elsewhere(MnemeError):
    """Raised by a handler: this process cannot do the job, another one can. It is given back."""

    code = "elsewhere"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its row says. `done` of `total` counts its own units (None: not known yet); `result` is what came of them."""

    id: str
    owner_id: str
    kind: str
    args: Mapping[str, JsonValue]
    state: JobState
    attempts: int
    done: int
    total: int | None
    result: Mapping[str, JsonValue] | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def actor(self) -> Actor:
        """Who the job acts for: its owner, in the context in which it was asked for."""
        context = self.args.get(CONTEXT)
        return Actor(self.owner_id, context if isinstance(context, str) else None)

    def due_at(self) -> datetime:
        """When it may be executed: a failed one after 2, 4, 8 … seconds, at most five minutes."""
        if self.state != "failed" or self.finished_at is None:
            return self.created_at
        tried = (self.attempts - 1) % ATTEMPTS + 1
        return self.finished_at + timedelta(seconds=min(BACKOFF_CAP_S, 2.0**tried))


class Handler(Protocol):
    """Does the work of one kind of job. May be called again for the same job after a crash or a failure, and then goes
    on behind `job.done` and from `job.result`. Raises `MnemeError`s."""

    def __call__(self, run: JobRun, /) -> Awaitable[Mapping[str, JsonValue]]:
        """The result, small and without text of memories."""
        ...


@dataclass(frozen=True, slots=True)
class JobRun:
    """One execution of a job."""

    core: Core
    job: Job

    async def commit(
        self,
        work: Callable[[Tx], T],
        *,
        done: int,
        total: int | None = None,
        so_far: Callable[[T], Mapping[str, JsonValue]] | None = None,
    ) -> T:
        """Run a transaction of the job's owner that also says how far the job is; `so_far` makes its result until here
        from what `work` gave.

        Raises what `work` raises, and `RunLost` when another execution has taken the job over; nothing is kept then.
        """

        def both(tx: Tx) -> T:
            made = work(tx)
            told: dict[str, Any] = {"done": done}
            if total is not None:
                told["total"] = total
            if so_far is not None:
                told["result"] = dict(so_far(made))
            _fenced(tx, self.job, **told)
            return made

        return await self.core.write(self.job.actor, both)


def enqueue(
    tx: Tx,
    job_id: str,
    kind: str,
    args: Mapping[str, JsonValue],
    *,
    total: int | None = None,
    limit: int = OPEN_PER_USER,
) -> Job:
    """Write a job of the acting user. Raises `TooManyJobs` when `limit` of theirs are unfinished."""
    mine = select(func.count()).where(JobRow.owner_id == tx.actor.user_id, JobRow.state.in_(OPEN))
    count = tx.connection.execute(mine).scalar_one()
    if count >= limit:
        raise TooManyJobs(
            f"jobs: {count} of yours are unfinished, at most {limit} may be; wait for some of them or look at /api/jobs",
            retry_after_s=5.0,
        )
    row: dict[str, Any] = {
        "id": job_id,
        "owner_id": tx.actor.user_id,
        "kind": kind,
        "args": {**args, CONTEXT: tx.actor.context},
        "state": "queued",
        "attempts": 0,
        "done": 0,
        "total": total,
        "result": None,
        "error": None,
        "created_at": tx.now,
        "finished_at": None,
    }
    tx.connection.execute(insert(JobRow).values(row))
    return Job(**row)


def get(tx: Tx, job_id: str) -> Job:
    """A job of the actor, or of anybody for an admin. Raises `UnknownName`."""
    row = tx.connection.execute(_of(tx, select(JobRow.__table__).where(JobRow.id == job_id))).one_or_none()
    if row is None:
        raise UnknownName(f"job {job_id!r}: not found; check the id")
    return _job(row)


def page(
    tx: Tx, *, states: Sequence[JobState] = (), kind: str | None = None, after: str | None = None, limit: int = 50
) -> list[Job]:
    """Jobs of the actor (of everybody for an admin), the newest first, older than the job `after`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
    query = _of(tx, select(JobRow.__table__).order_by(JobRow.id.desc()).limit(limit))
    if states:
        query = query.where(JobRow.state.in_(states))
    if kind is not None:
        query = query.where(JobRow.kind == kind)
    if after is not None:
        query = query.where(JobRow.id < after)
    return [_job(row) for row in tx.connection.execute(query)]


def replay(tx: Tx, job_id: str) -> Job:
    """Queue a job again that failed or is dead; it goes on behind what it had done. Raises `Conflict`, `UnknownName`."""
    job = get(tx, job_id)
    done = tx.connection.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state.in_(("failed", "dead")))
        .values(state="queued", finished_at=None)
    )
    if done.rowcount != 1:
        raise Conflict(f"job {job_id!r} is {job.state}; only one that failed or is dead can be replayed", param="state")
    return get(tx, job_id)


def withdraw(tx: Tx, job_id: str) -> bool:
    """Take back a job that nobody has begun; False when somebody has."""
    waiting = (JobRow.id == job_id, JobRow.owner_id == tx.actor.user_id, JobRow.state == "queued")
    return tx.connection.execute(delete(JobRow).where(*waiting)).rowcount == 1


def unfinished(tx: Tx, limit: int = 1000) -> list[Job]:
    """Jobs that are not at their end, the oldest first: all that are in hand, and of each owner the first `TURN` others, so
    that nobody with many jobs keeps those of others waiting."""
    place = func.row_number().over(partition_by=JobRow.owner_id, order_by=JobRow.id)
    waiting = select(JobRow.id, place.label("place")).where(JobRow.state.in_(WAITING)).subquery()
    query = (
        select(JobRow.__table__)
        .outerjoin(waiting, waiting.c.id == JobRow.id)
        .where(or_(JobRow.state == "running", waiting.c.place <= TURN))
        .order_by(JobRow.id)
        .limit(limit)
    )
    return [_job(row) for row in tx.connection.execute(query)]


def claim(tx: Tx, job_id: str) -> Job | None:
    """Take the job in hand; None when it is not waiting any more."""
    done = tx.connection.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state.in_(WAITING))
        .values(state="running", attempts=JobRow.attempts + 1, finished_at=None)
    )
    if done.rowcount != 1:
        return None
    return _job(tx.connection.execute(select(JobRow.__table__).where(JobRow.id == job_id)).one())


def finish(tx: Tx, job: Job, result: Mapping[str, JsonValue]) -> None:
    """The job is done. Raises `RunLost`."""
    _fenced(tx, job, state="done", result=dict(result), error=None, finished_at=tx.now)


def fail(tx: Tx, job: Job, error: MnemeError) -> JobState:
    """The execution failed; says whether the job is tried again (`failed`) or not (`dead`). Raises `RunLost`."""
    state: JobState = "failed" if may_pass(error) and job.attempts % ATTEMPTS else "dead"
    _fenced(tx, job, state=state, error=f"{error.code}: {error.message}"[:MAX_ERROR], finished_at=tx.now)
    return state


def release(tx: Tx, job: Job, *, died: bool = False) -> bool:
    """Give the job back because its process stops, or died; False when it has gone on meanwhile.

    A job whose process dies at its fifth attempt is dead: it may be the one that kills them.
    """
    dead = died and job.attempts % ATTEMPTS == 0
    values: dict[str, Any] = {"state": "queued"}
    if dead:
        values = {
            "state": "dead",
            "error": f"internal_error: its process died, and {ATTEMPTS} attempts have not brought it to an end",
            "finished_at": tx.now,
        }
    return _written(tx, job, values)


def may_pass(error: MnemeError) -> bool:
    """Whether trying again may help: not when the request itself is at fault, or a person stopped it. A state that does
    not allow it (somebody was faster, a vault is locked) may pass."""
    if isinstance(error, ModelError):
        return error.retryable
    return isinstance(error, Conflict) or not isinstance(error, InvalidInput | AuthError | SettingsError | RunStopped)


def _fenced(tx: Tx, job: Job, **values: Any) -> None:
    if not _written(tx, job, values):
        raise RunLost(f"job {job.id!r}: another execution has taken it over")


def _written(tx: Tx, job: Job, values: Mapping[str, Any]) -> bool:
    mine = (JobRow.id == job.id, JobRow.attempts == job.attempts, JobRow.state == "running")
    return tx.connection.execute(update(JobRow).where(*mine).values(**values)).rowcount == 1


def _of(tx: Tx, query: Any) -> Any:
    return query if tx.actor.admin else query.where(JobRow.owner_id == tx.actor.user_id)


def _job(row: Row[Any]) -> Job:
    return Job(**{item.name: getattr(row, item.name) for item in fields(Job)})
