"""Runs: make, list, read, follow, cancel, resume, fork. A run of somebody else is as unknown as one that never was.

Source: contract §4.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agents import registry
from agents.base import GrowsTree
from agents.service import Service
from api.acting import WritesMemory
from api.answers import json_response
from api.auth import Reader, Runs, TheService
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import EventList, Responses, RunAccepted, RunBody, RunList, answers
from api.routes.tree_documented import Tree
from api.routes.wire import (
    Cursor,
    ForkRequest,
    PlainText,
    ResumeRequest,
    RunId,
    RunRequest,
    WaitRequest,
    memories_of,
    run_body,
)
from api.sse import EventStream, frame, last_event_id
from runtime.errors import UnknownName
from runtime.events import Event
from runtime.runs import TERMINAL, RunRecord, RunStatus
from runtime.types import JsonObject

router = APIRouter(prefix="/api/runs", tags=["runs"], route_class=Route)
TREE_PAGE = 1000
TREE_TYPES = (
    *("memory.read", "node.created", "node.scored", "node.selected", "node.backed_up"),
    *("task.opened", "task.closed", "span.pruned", "span.recalled", "tool.call", "tool.result", "step.completed"),
)
At = Annotated[int | None, Query(ge=0, le=2**62, description="the number of an event; the tree as it was behind it")]
After = Annotated[int, Query(ge=0, le=2**62, description="the number of the last event that is known")]


@router.post("", status_code=202, responses=answers(RunAccepted, 404, 409, 413, 415, status=202, text="accepted"))
async def create_run(body: RunRequest, service: TheService, actor: WritesMemory, once: Idempotent) -> Response:
    """Accept a run: it is kept before this answers, and is executed by whichever process takes it."""

    async def work() -> Response:
        return _accepted(await service.submit(body.spec(actor.context), owner=actor.user_id))

    return await once(actor.user_id, work)


@router.get("", responses=answers(RunList))
async def list_runs(
    service: TheService,
    caller: Reader,
    agent: Annotated[PlainText | None, Query(max_length=100)] = None,
    status: RunStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Cursor = None,
) -> Response:
    """The caller's runs, newest first."""
    page = await service.store.page(caller.user_id, agent=agent, status=status, limit=limit, cursor=cursor)
    return json_response({"items": [run_body(run) for run in page.items], "next": page.next})


@router.get("/{run_id}", responses=answers(RunBody, 404))
async def get_run(run_id: RunId, service: TheService, caller: Reader) -> Response:
    """One run with its output and usage, and the memories it read and wrote."""
    return await _run(service, await service.get(run_id, owner=caller.user_id))


@router.get("/{run_id}/events", responses=answers(EventList, 404))
async def get_events(
    run_id: RunId,
    service: TheService,
    caller: Reader,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """The log behind `after`, in order. `next` is the `after` of the following page, null when this was the last."""
    await service.get(run_id, owner=caller.user_id)
    events = await service.store.events(run_id, after=after, limit=limit + 1)
    shown = events[:limit]
    following = shown[-1].seq if len(events) > limit else None
    return json_response({"items": [event.wire() for event in shown], "next": following})


_STREAM: Responses = {
    200: {"description": "events as they come", "content": {"text/event-stream": {}}},
    204: {"description": "the run has ended and there is nothing behind `after`; do not ask again"},
}


@router.get("/{run_id}/stream", response_class=Response, responses={**answers(None, 404), **_STREAM})
async def stream_events(
    run_id: RunId, request: Request, service: TheService, caller: Reader, after: After = 0
) -> Response:
    """The log as server-sent events: what is there, then what comes, until the run has ended.

    The id of an event is its number; a client that comes back with `Last-Event-ID` goes on behind it.
    """
    run = await service.get(run_id, owner=caller.user_id)
    start = last_event_id(request, after)
    if run.status in TERMINAL and start >= run.last_seq:
        return Response(status_code=204)

    async def frames() -> AsyncGenerator[bytes, None]:
        async for event in service.follow(run_id, after=start):
            yield frame(event)

    return EventStream(frames(), {"X-Run-Id": run_id})


@router.post("/{run_id}/wait", responses=answers(RunBody, 404, 413, 415))
async def wait_for_run(run_id: RunId, service: TheService, caller: Reader, body: WaitRequest | None = None) -> Response:
    """The run when it has ended, or as it is when the time is up."""
    timeout_s = (body or WaitRequest()).timeout_s
    return await _run(service, await service.wait(run_id, owner=caller.user_id, timeout_s=timeout_s))


@router.post("/{run_id}/cancel", status_code=202, responses=answers(RunBody, 404, 409, status=202))
async def cancel_run(run_id: RunId, service: TheService, caller: Runs, once: Idempotent) -> Response:
    """Ask the run to stop; one that has ended stays as it is."""

    async def work() -> Response:
        return await _run(service, await service.cancel(run_id, owner=caller.user_id), 202)

    return await once(caller.user_id, work)


@router.post("/{run_id}/resume", status_code=202, responses=answers(RunBody, 404, 409, 413, 415, status=202))
async def resume_run(
    run_id: RunId, service: TheService, caller: Runs, once: Idempotent, body: ResumeRequest | None = None
) -> Response:
    """Queue an ended or interrupted run again, behind its last finished step."""

    async def work() -> Response:
        budget = body.budget.budget() if body is not None and body.budget is not None else None
        return await _run(service, await service.resume(run_id, owner=caller.user_id, budget=budget), 202)

    return await once(caller.user_id, work)


@router.post("/{run_id}/fork", status_code=202, responses=answers(RunAccepted, 404, 409, 413, 415, status=202))
async def fork_run(run_id: RunId, body: ForkRequest, service: TheService, caller: Runs, once: Idempotent) -> Response:
    """Queue a new run that shares the log up to and with `from_event`."""

    async def work() -> Response:
        return _accepted(await service.fork(run_id, body.from_event, owner=caller.user_id))

    return await once(caller.user_id, work)


@router.get("/{run_id}/tree", responses=answers(Tree, 404))
async def get_tree(run_id: RunId, service: TheService, caller: Reader, at: At = None) -> Response:
    """The tree that the run has grown so far, from its log, or as it was behind the event `at`; a run of an agent that
    builds none has none."""
    return json_response(await tree_of(service, await service.get(run_id, owner=caller.user_id), at=at))


async def tree_of(
    service: Service, run: RunRecord, *, at: int | None = None, lines: Sequence[Event] | None = None
) -> JsonObject:
    """The tree of a run; `lines`: of its log, where they were read already. Raises `UnknownName` when its agent builds
    none."""
    agent = registry.get(run.agent)
    if not isinstance(agent, GrowsTree):
        raise UnknownName(f"run {run.id!r} has no tree: the agent {run.agent!r} builds none", param="run_id")
    told = await tree_lines(service, run.id) if lines is None else lines
    # A search of thousands of answers takes seconds to replay.
    return await anyio.to_thread.run_sync(agent.tree, run.spec, [line for line in told if at is None or line.seq <= at])


async def tree_lines(service: Service, run_id: str) -> list[Event]:
    """The lines of the log that a tree is made from."""
    lines: list[Event] = []
    while page := await service.store.events(
        run_id, after=lines[-1].seq if lines else 0, limit=TREE_PAGE, types=TREE_TYPES
    ):
        lines += page
    return lines


def _accepted(run: RunRecord) -> Response:
    return json_response({"id": run.id, "status": run.status}, 202, {"Location": f"/api/runs/{run.id}"})


async def _run(service: Service, run: RunRecord, status: int = 200) -> Response:
    touched = await service.store.events(run.id, limit=10_000, types=("memory.read", "memory.written"))
    return json_response({**run_body(run), "memories": memories_of(touched)}, status)
