"""Context of a run: what was sent to the model, call by call. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import Reader, TheService
from api.route import Route
from api.routes.wire import RunId
from api.web.pages.runs import grows_tree
from api.web.render import twin

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/runs/{run_id}/context")
async def context_page(request: Request, run_id: RunId, service: TheService, caller: Reader) -> Response:
    """The calls of the model."""
    run = await service.get(run_id, owner=caller.user_id)
    calls = [event.wire() for event in await service.store.events(run_id, types=("llm.call",))]
    return twin(request, "context.html", {"run": {"id": run.id}, "calls": calls}, has_tree=grows_tree(run.agent))
