"""Runs: make, list, read, follow, cancel, resume, fork. A run of somebody else is as unknown as one that never was.

Source: contract §4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.auth import Reader, Runs, TheService
from api.idempotency import json_response
from api.routes.wire import ForkRequest, ResumeRequest, RunRequest, WaitRequest, run_body
from api.sse import event_stream, frame, keep_alive, last_event_id
from runtime.errors import UnknownName
from runtime.runs import RunStatus

router = APIRouter(prefix="/api/runs", tags=["runs"])
RunId = Annotated[str, Path(max_length=100)]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        400: "bad request",
        401: "no key",
        403: "not allowed",
        404: "no such run",
        409: "conflict",
    }.items()
}


@router.post("", status_code=202, responses=PROBLEMS)
async def create_run(body: RunRequest, request: Request, service: TheService, caller: Runs) -> Response:
    """Accept a run: it is kept before this answers, and is executed by whichever process takes it."""

    async def work() -> Response:
        run = await service.submit(body.spec(), owner=caller.user_id)
        return json_response({"id": run.id, "status": run.status}, 202, {"Location": f"/api/runs/{run.id}"})

    return await request.app.state.idempotency.once(request, caller.user_id, work)  # type: ignore[no-any-return]


@router.get("", responses=PROBLEMS)
async def list_runs(
    service: TheService,
    caller: Reader,
    agent: Annotated[str | None, Query(max_length=100)] = None,
    status: RunStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """The caller's runs, newest first."""
    page = await service.store.page(caller.user_id, agent=agent, status=status, limit=limit, cursor=cursor)
    return {"items": [run_body(run) for run in page.items], "next": page.next}


@router.get("/{run_id}", responses=PROBLEMS)
async def get_run(run_id: RunId, service: TheService, caller: Reader) -> dict[str, Any]:
    """One run with its output and usage."""
    return run_body(await service.get(run_id, owner=caller.user_id))


@router.get("/{run_id}/events", responses=PROBLEMS)
async def get_events(
    run_id: RunId,
    service: TheService,
    caller: Reader,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """The log behind `after`, in order. `next` is the `after` of the following page, null when this was the last."""
    await service.get(run_id, owner=caller.user_id)
    events = await service.store.events(run_id, after=after, limit=limit + 1)
    shown = events[:limit]
    return {"items": [event.wire() for event in shown], "next": shown[-1].seq if len(events) > limit else None}


@router.get("/{run_id}/stream", responses={**PROBLEMS, 200: {"content": {"text/event-stream": {}}}})
async def stream_events(
    run_id: RunId,
    request: Request,
    service: TheService,
    caller: Reader,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """The log as server-sent events: what is there, then what comes, until the run has ended."""
    await service.get(run_id, owner=caller.user_id)
    start = last_event_id(request, after)

    async def frames() -> AsyncIterator[bytes]:
        async for event in service.follow(run_id, after=start):
            yield frame(event)

    return event_stream(keep_alive(frames()), {"X-Run-Id": run_id})


@router.post("/{run_id}/wait", responses=PROBLEMS)
async def wait_for_run(
    run_id: RunId, service: TheService, caller: Reader, body: WaitRequest | None = None
) -> dict[str, Any]:
    """The run when it has ended, or as it is when the time is up."""
    timeout_s = (body or WaitRequest()).timeout_s
    return run_body(await service.wait(run_id, owner=caller.user_id, timeout_s=timeout_s))


@router.post("/{run_id}/cancel", status_code=202, responses=PROBLEMS)
async def cancel_run(run_id: RunId, request: Request, service: TheService, caller: Runs) -> Response:
    """Ask the run to stop; one that has ended stays as it is."""

    async def work() -> Response:
        return json_response(run_body(await service.cancel(run_id, owner=caller.user_id)), 202)

    return await request.app.state.idempotency.once(request, caller.user_id, work)  # type: ignore[no-any-return]


@router.post("/{run_id}/resume", status_code=202, responses=PROBLEMS)
async def resume_run(
    run_id: RunId, request: Request, service: TheService, caller: Runs, body: ResumeRequest | None = None
) -> Response:
    """Queue an ended or interrupted run again, behind its last finished step."""

    async def work() -> Response:
        budget = body.budget.budget() if body is not None and body.budget is not None else None
        return json_response(run_body(await service.resume(run_id, owner=caller.user_id, budget=budget)), 202)

    return await request.app.state.idempotency.once(request, caller.user_id, work)  # type: ignore[no-any-return]


@router.post("/{run_id}/fork", status_code=202, responses=PROBLEMS)
async def fork_run(run_id: RunId, body: ForkRequest, request: Request, service: TheService, caller: Runs) -> Response:
    """Queue a new run that shares the log up to and with `from_event`."""

    async def work() -> Response:
        run = await service.fork(run_id, body.from_event, owner=caller.user_id)
        return json_response(run_body(run), 202, {"Location": f"/api/runs/{run.id}"})

    return await request.app.state.idempotency.once(request, caller.user_id, work)  # type: ignore[no-any-return]


@router.get("/{run_id}/tree", responses=PROBLEMS)
async def get_tree(run_id: RunId, service: TheService, caller: Reader) -> dict[Literal["kind"], str]:
    """The search or thread tree of a run; an agent that builds none has none."""
    run = await service.get(run_id, owner=caller.user_id)
    raise UnknownName(f"run {run_id!r}: the agent {run.agent!r} builds no tree", param="run_id")
