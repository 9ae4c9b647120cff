"""Jobs: work on the store that takes longer than a request; looked at, and tried again. Source: memos §2.4, §3.7."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, JsonValue
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import Documented, answers
from api.routes.memory_answers import iso
from api.routes.memory_fields import PageSize
from memory import jobs
from memory.jobs import Job, JobState
from runtime.errors import InvalidInput, UnknownName

router = APIRouter(prefix="/api/jobs", tags=["jobs"], route_class=Route)
_JOB_ID: Final = re.compile(r"job_[0-9a-f]{32}")


class JobBody(Documented):
    """A job; `done` of `total` counts its own units, `result` says what came of them."""

    id: str
    kind: str
    args: dict[str, JsonValue]
    state: JobState
    attempts: int
    done: int
    total: int | None
    result: dict[str, JsonValue] | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class JobList(Documented):
    items: list[JobBody]
    next: str | None


def _known_shape(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise UnknownName(f"job {job_id!r}: not found; check the id")
    return job_id


def _known_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not _JOB_ID.fullmatch(cursor):
        raise InvalidInput(f"cursor {cursor!r}: expected the `next` of the page before", param="cursor")
    return cursor


JobId = Annotated[str, Path(max_length=100), AfterValidator(_known_shape)]


@router.get("", responses=answers(JobList))
async def list_jobs(
    memory: TheMemory,
    actor: ReadsMemory,
    state: Annotated[list[JobState] | None, Query()] = None,
    kind: Annotated[str | None, Query(max_length=30, pattern=r"^[a-z_.]*$")] = None,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100), AfterValidator(_known_cursor)] = None,
) -> Response:
    """The caller's jobs, newest first; an admin sees everybody's."""
    found = await memory.core.read(
        actor, lambda tx: jobs.page(tx, states=tuple(state or ()), kind=kind, after=cursor, limit=limit)
    )
    following = found[-1].id if len(found) == limit else None
    return json_response({"items": [job_body(job) for job in found], "next": following})


@router.get("/{job_id}", responses=answers(JobBody, 404))
async def get_job(job_id: JobId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """One job: how far it is, and what came of it."""
    return json_response(job_body(await memory.core.read(actor, lambda tx: jobs.get(tx, job_id))))


@router.post("/{job_id}/replay", status_code=202, responses=answers(JobBody, 404, 409, status=202))
async def replay_job(job_id: JobId, memory: TheMemory, actor: WritesMemory, once: Idempotent) -> Response:
    """Try a job again that failed or is dead; it goes on behind what it had done."""

    async def work() -> Response:
        return json_response(job_body(await memory.core.write(actor, lambda tx: jobs.replay(tx, job_id))), 202)

    return await once(actor.user_id, work)


def job_body(job: Job) -> dict[str, Any]:
    """A job on the wire, without what only its execution needs."""
    return {
        "id": job.id,
        "kind": job.kind,
        "args": {name: value for name, value in job.args.items() if not name.startswith("_")},
        "state": job.state,
        "attempts": job.attempts,
        "done": job.done,
        "total": job.total,
        "result": None if job.result is None else dict(job.result),
        "error": job.error,
        "created_at": iso(job.created_at),
        "finished_at": iso(job.finished_at),
    }
