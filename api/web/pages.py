"""The pages under /ui. Each is a URL, and asked for JSON it gives what it shows: both come from the same function.

A page knows no table: it reads what the API reads. Its live stream sends rows that were rendered here, so a row looks the
same whether it was there before or came while somebody watched. Source: contract §4; ours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from agents import registry
from agents.service import Service
from api.answers import json_response
from api.auth import Reader, TheService
from api.route import Route
from api.routes.wire import Cursor, PlainText, RunId, run_body
from api.sse import EventStream, last_event_id
from api.web import reference
from api.web.render import STATIC, fragment, page, wants_json
from api.web.rows import grouped, live_frame, shown_run
from runtime.errors import InvalidInput, UnknownName
from runtime.runs import RESUMABLE, TERMINAL, RunStatus

__all__ = ["STATIC", "open_router", "router"]

router = APIRouter(include_in_schema=False, route_class=Route)
open_router = APIRouter(include_in_schema=False)
PAGE: Final = 50
FIRST_EVENTS: Final = 2000


@open_router.get("/ui")
async def to_ui() -> Response:
    """Links are relative, so the address ends in a slash."""
    return RedirectResponse("ui/")


@router.get("/ui/")
async def home(caller: Reader) -> Response:
    """The runs are the front page."""
    return RedirectResponse("runs")


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
    if wants_json(request):
        return json_response(view)
    return page(
        request,
        "runs.html",
        runs=[shown_run(run) for run in view["items"]],
        next=view["next"],
        agents=registry.names(),
        statuses=get_args(RunStatus),
        agent=agent,
        status=status,
        cursor=cursor,
        unfinished=any(run["status"] not in TERMINAL for run in view["items"]),
    )


@router.get("/ui/runs/{run_id}")
async def run_page(run_id: RunId, request: Request, service: TheService, caller: Reader) -> Response:
    """One run and its log, which goes on while somebody looks."""
    view = await _run(service, run_id, caller.user_id)
    if wants_json(request):
        return json_response(view)
    run, events = view["run"], view["events"]
    return page(
        request,
        "run.html",
        run=shown_run(run),
        rows=grouped(events),
        last=events[-1]["seq"] if events else 0,
        more=view["next"] is not None,
        live=run["status"] not in TERMINAL or view["next"] is not None,
        may_cancel=run["status"] not in TERMINAL,
        may_resume=run["status"] in RESUMABLE,
    )


@router.get("/ui/runs/{run_id}/rows")
async def live_rows(
    run_id: RunId,
    request: Request,
    service: TheService,
    caller: Reader,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
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


@open_router.get("/docs")
async def api_reference(request: Request) -> Response:
    """The HTTP API, from its own description."""
    return page(request, "reference.html", groups=reference.groups(request.app.openapi()))


@router.get("/ui/{rest:path}")
async def nowhere(rest: str, caller: Reader) -> Response:
    """Anything else under /ui."""
    raise UnknownName(f"there is no page /ui/{rest}; /ui/runs lists the runs")


async def _runs(service: Service, owner: str, agent: str, status: str, cursor: str | None) -> dict[str, Any]:
    known: tuple[RunStatus, ...] = get_args(RunStatus)
    wanted = next((one for one in known if one == status), None)
    if status and wanted is None:
        raise InvalidInput(f"status {status!r}: expected one of {', '.join(known)}", param="status")
    found = await service.store.page(owner, agent=agent or None, status=wanted, limit=PAGE, cursor=cursor)
    return {"items": [run_body(run) for run in found.items], "next": found.next}


async def _run(service: Service, run_id: str, owner: str) -> dict[str, Any]:
    run = await service.get(run_id, owner=owner)
    events = await service.store.events(run_id, limit=FIRST_EVENTS + 1)
    shown = [event.wire() for event in events[:FIRST_EVENTS]]
    return {
        "run": run_body(run),
        "events": shown,
        "next": shown[-1]["seq"] if len(events) > FIRST_EVENTS else None,
    }
