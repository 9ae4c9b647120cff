"""Runs: the list, one run with its log, two side by side. Its live stream sends rows that were rendered here, so a row
looks the same whether it was there before or came while somebody watched. Source: contract §4; design ui.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agents import registry
from agents.base import GrowsTree
from agents.service import Service
from api.acting import ReadsMemory, TheMemory
from api.auth import Reader, TheService
from api.route import Route
from api.routes.wire import Cursor, PlainText, RunId, memories_of, run_body
from api.sse import EventStream, last_event_id
from api.web.render import fragment, twin
from api.web.rows import first_rows, grouped, live_frame, reads_of, shown_run, writes_of
from api.web.titles import title_of
from memory.service import Memory
from memory.types import Actor
from runtime.errors import InvalidInput
from runtime.runs import RESUMABLE, TERMINAL, RunStatus

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 50
# So much of a log stands on a page: what lies behind it is asked for.
FIRST_EVENTS: Final = 2000
FIRST_ROWS: Final = 200
# So many memories of a run are called by their titles, the others by their ids.
NAMED: Final = 40
After = Annotated[int, Query(ge=0, le=2**62)]
TwoRuns = Annotated[list[PlainText], Query(min_length=2, max_length=2)]


@router.get("/ui/runs")
async def runs_page(
    request: Request,
    service: TheService,
    caller: Reader,
    agent: Annotated[PlainText, Query(max_length=100)] = "",
    status: Annotated[str, Query(max_length=30)] = "",
    cursor: Cursor = None,
) -> Response:
    """The caller's runs, newest first."""
    view = await _runs(service, caller.user_id, agent, status, cursor)
    return twin(
        request,
        "runs.html",
        view,
        runs=[shown_run(run) for run in view["items"]],
        agents=registry.names(),
        statuses=get_args(RunStatus),
        agent=agent,
        status=status,
        cursor=cursor,
        unfinished=any(run["status"] not in TERMINAL for run in view["items"]),
    )


@router.get("/ui/runs/compare")
async def compare_page(request: Request, service: TheService, caller: Reader, run: TwoRuns) -> Response:
    """Two runs side by side."""
    first, second = [await service.get(id_, owner=caller.user_id) for id_ in run]
    view = {"a": run_body(first), "b": run_body(second)}
    left, right = shown_run(view["a"]), shown_run(view["b"])
    return twin(request, "runs_compare.html", view, left=left, right=right, purposes=_side_by_side(left, right))


@router.get("/ui/runs/{run_id}")
async def run_page(
    run_id: RunId,
    request: Request,
    service: TheService,
    caller: Reader,
    memory: TheMemory,
    actor: ReadsMemory,
    after: After = 0,
) -> Response:
    """One run and its log, which goes on while somebody looks; of a run that has ended, the log behind `after`."""
    view = await _run(service, run_id, caller.user_id, after)
    run, events = view["run"], view["events"]
    view |= await _touched(memory, actor, run["memories"])
    ended = run["status"] in TERMINAL
    return twin(
        request,
        "run.html",
        view,
        shown=shown_run(run),
        rows=grouped(events),
        last=events[-1]["seq"] if events else 0,
        live=not ended,
        may_cancel=not ended,
        may_resume=run["status"] in RESUMABLE,
        may_fork=ended and run["last_event"] > 0,
        has_tree=grows_tree(run["agent"]),
    )


@router.get("/ui/runs/{run_id}/rows")
async def live_rows(
    run_id: RunId,
    request: Request,
    service: TheService,
    caller: Reader,
    after: After = 0,
) -> Response:
    """The log behind `after` as rows of the page, then live ones, until the run has ended."""
    run = await service.get(run_id, owner=caller.user_id)
    start = last_event_id(request, after)
    if run.status in TERMINAL and start >= run.last_seq:
        return Response(status_code=204)

    async def frames() -> AsyncGenerator[bytes, None]:
        async for event in service.follow(run_id, after=start):
            wire = event.wire()
            yield live_frame(wire, fragment("row.html", row=grouped([wire])[0]))

    return EventStream(frames())


def grows_tree(agent: str) -> bool:
    """Whether runs of that agent have a page with a tree; an agent that is gone has none."""
    return agent in registry.names() and isinstance(registry.get(agent), GrowsTree)


async def _runs(service: Service, owner: str, agent: str, status: str, cursor: str | None) -> dict[str, Any]:
    known: tuple[RunStatus, ...] = get_args(RunStatus)
    wanted = next((one for one in known if one == status), None)
    if status and wanted is None:
        raise InvalidInput(f"status {status!r}: expected one of {', '.join(known)}", param="status")
    found = await service.store.page(owner, agent=agent or None, status=wanted, limit=PAGE, cursor=cursor)
    return {"items": [run_body(run) for run in found.items], "next": found.next}


async def _run(service: Service, run_id: str, owner: str, after: int) -> dict[str, Any]:
    run = await service.get(run_id, owner=owner)
    # A run that goes on is followed from its first event: its answer is put together from what the page has seen.
    start = after if run.status in TERMINAL else 0
    found = await service.store.events(run_id, after=start, limit=FIRST_EVENTS + 1)
    touched = await service.store.events(run_id, limit=10_000, types=("memory.read", "memory.written"))
    events = [event.wire() for event in found]
    taken = min(first_rows(events, FIRST_ROWS)[1], FIRST_EVENTS)
    return {
        "run": {**run_body(run), "memories": memories_of(touched)},
        "after": start,
        "events": events[:taken],
        "next": events[taken - 1]["seq"] if len(events) > taken else None,
    }


async def _touched(memory: Memory, actor: Actor, events: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The memories of a run, each once, the first ones with their titles."""
    read, written = reads_of(events["read"]), writes_of(events["written"])
    titles: dict[str, str] = {}
    for one in [*written[:NAMED], *read[:NAMED]]:
        if one["id"] not in titles:
            titles[one["id"]] = await title_of(memory, actor, one["id"])
    return {
        "read": [{**one, "title": titles.get(one["id"], "")} for one in read],
        "written": [{**one, "title": titles.get(one["id"], "")} for one in written],
    }


def _side_by_side(left: dict[str, Any], right: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    a, b = dict(left["purposes"]), dict(right["purposes"])
    return [(name, a.get(name), b.get(name)) for name in sorted({*a, *b})]
