"""Graph: the neighbourhood of a memory. Source: design ui."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.graph import graph_body
from api.web.render import twin
from memory import graph

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/graph")
async def graph_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    of: Annotated[str | None, Query(alias="memory", max_length=100)] = None,
) -> Response:
    """The memories around one, as a table."""
    found = graph_body(await graph.around_memory(memory.core, actor, of, hops=2)) if of else None
    return twin(request, "graph.html", {"memory": of, "graph": found})
