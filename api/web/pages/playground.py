"""Playground: ask an agent. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import Reader, TheService
from api.route import Route
from api.routes.agents import agent_body
from api.web.render import twin

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/playground")
async def playground_page(request: Request, service: TheService, caller: Reader) -> Response:
    """A form that starts a run."""
    return twin(request, "playground.html", {"agents": [agent_body(spec) for spec in service.agents()]})
