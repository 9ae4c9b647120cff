"""Timeline: what came into a vault, and when. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.memory_answers import memory_body
from api.routes.memory_fields import VaultQuery
from api.web.render import twin
from memory.listing import Where

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/timeline")
async def timeline_page(request: Request, memory: TheMemory, actor: ReadsMemory, vault: VaultQuery = None) -> Response:
    """The last births of a vault."""
    page = await memory.list(actor, Where(vault), limit=100)
    return twin(request, "timeline.html", {"births": [memory_body(cube) for cube in page.items]})
