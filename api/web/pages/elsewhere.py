"""The way to the pages, the reference of the API, and an answer for addresses that are no page. Source: ours."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.auth import Reader
from api.route import Route
from api.web import reference
from api.web.render import page
from runtime.errors import UnknownName

router = APIRouter(include_in_schema=False, route_class=Route)
# Needs no key: it leads nowhere and tells nothing.
open_router = APIRouter(include_in_schema=False)


@open_router.get("/ui")
async def to_ui() -> Response:
    """Links are relative, so the address ends in a slash."""
    return RedirectResponse("ui/")


@open_router.get("/docs")
async def api_reference(request: Request) -> Response:
    """The HTTP API, from its own description."""
    return page(request, "reference.html", groups=reference.groups(request.app.openapi()))


@router.get("/ui/{rest:path}")
async def nowhere(rest: str, caller: Reader) -> Response:
    """Anything else under /ui."""
    raise UnknownName(f"there is no page /ui/{rest}; the links at the side lead to those there are")
