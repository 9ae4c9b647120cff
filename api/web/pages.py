"""The pages under /ui. Each answers the same question as its JSON twin (`?format=json`) from the same function.

Links are relative to the root path, so a sub-path behind a proxy works. Nothing is fetched from outside and no script
stands in a page: the Content-Security-Policy allows this origin only. Source: UI sheet; ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.auth import Reader, TheService
from api.idempotency import json_response
from api.routes.wire import run_body
from runtime.runs import TERMINAL, RunStatus

HERE = Path(__file__).parent
STATIC = HERE / "static"
STATUSES: tuple[RunStatus, ...] = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
    "budget_exhausted",
    "interrupted",
)
SHOWN_EVENTS = 1000
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
router = APIRouter(prefix="/ui", include_in_schema=False)
templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
)
templates.filters["clock"] = lambda text: text[11:19] if text else "–"
templates.filters["day"] = lambda text: f"{text[:10]} {text[11:19]}" if text else "–"
templates.filters["pretty"] = lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
templates.filters["compact"] = lambda value: orjson.dumps(value).decode()


def page(request: Request, template: str, data: Mapping[str, Any], **more: Any) -> Response:
    """The page, or its JSON twin when that was asked for."""
    wanted = request.query_params.get("format") or request.headers.get("accept", "")
    if wanted == "json" or (wanted.startswith("application/json")):
        return json_response(data)
    root = request.scope.get("root_path", "")
    html = templates.get_template(template).render(root=root, **data, **more)
    return HTMLResponse(html, headers=HEADERS)


def no_empty_values(request: Request) -> dict[str, str]:
    """A form sends empty fields; they mean that nothing was chosen."""
    return {name: value for name, value in request.query_params.items() if value}


@router.get("")
@router.get("/")
async def home(request: Request) -> Response:
    """The runs, until there is a home page."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/ui/runs")


@router.get("/runs")
async def runs(
    request: Request,
    service: TheService,
    caller: Reader,
    chosen: Annotated[dict[str, str], Depends(no_empty_values)],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """The caller's runs, newest first, with filters."""
    status = next((known for known in STATUSES if known == chosen.get("status")), None)
    agent = chosen.get("agent")
    found = await service.store.page(
        caller.user_id, agent=agent, status=status, limit=limit, cursor=chosen.get("cursor")
    )
    return page(
        request,
        "runs.html",
        {"items": [run_body(run) for run in found.items], "next": found.next},
        agents=[spec.name for spec in service.agents()],
        statuses=STATUSES,
        chosen={"agent": agent or "", "status": status or ""},
    )


@router.get("/runs/{run_id}")
async def run(run_id: str, request: Request, service: TheService, caller: Reader) -> Response:
    """One run: what was asked, what came out, and its log, live while it goes on."""
    record = await service.get(run_id, owner=caller.user_id)
    events = await service.store.events(run_id, limit=SHOWN_EVENTS)
    return page(
        request,
        "run.html",
        {"run": run_body(record), "events": [event.wire() for event in events]},
        live=record.status not in TERMINAL or len(events) == SHOWN_EVENTS,
        last=events[-1].seq if events else 0,
    )
