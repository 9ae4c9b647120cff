"""Tree of a run: what a search or a thread has grown. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import Reader, TheService
from api.route import Route
from api.routes.runs import tree_of
from api.routes.wire import RunId
from api.web.render import twin

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/runs/{run_id}/tree")
async def tree_page(request: Request, run_id: RunId, service: TheService, caller: Reader) -> Response:
    """The tree as a list."""
    run = await service.get(run_id, owner=caller.user_id)
    tree = await tree_of(service, run)
    return twin(request, "tree.html", {"run": {"id": run.id, "agent": run.agent, "status": run.status}, "tree": tree})
