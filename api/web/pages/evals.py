"""Evals: the evaluations of this machine. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import Reader, TheService
from api.route import Route
from api.routes.evals import page_of
from api.web.render import twin

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/evals")
async def evals_page(request: Request, service: TheService, caller: Reader) -> Response:
    """The caller's evaluations, newest first."""
    items, following = await page_of(service, caller, limit=50, cursor=None)
    return twin(request, "evals.html", {"items": items, "next": following})
