"""The hypergraph around a memory or an entity, for pages and for whoever follows a trail. Source: contract §4."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.answers import json_response
from api.route import Route
from api.routes.documented import Documented, answers
from api.routes.memory_answers import iso
from api.routes.memory_documented import EdgeBody
from api.routes.memory_fields import MemoryRef, VaultQuery, not_found, storable
from memory import access, graph
from memory.graph import MAX_EDGES, MAX_HOPS, Hyperedge, Neighbourhood
from memory.types import SemanticType, State
from runtime.errors import InvalidInput

router = APIRouter(prefix="/api/graph", tags=["graph"], route_class=Route)


class NodeBody(Documented):
    """An entity; `degree` counts the memories that a search of the caller may find and that name it."""

    id: str
    name: str
    degree: int


class HyperedgeBody(Documented):
    """A memory over its entities, which are ids of nodes."""

    memory: str
    vault: str
    semantic_type: SemanticType
    title: str
    state: State
    recorded_at: datetime
    uses: int
    entities: list[str]


class GraphBody(Documented):
    """`edges` are memories, the nearest first, `links` the typed links between them. `truncated`: there are more within
    the hops, behind the limit or behind an entity that very many memories name."""

    nodes: list[NodeBody]
    edges: list[HyperedgeBody]
    links: list[EdgeBody]
    truncated: bool


@router.get("", responses=answers(GraphBody, 404, 410))
async def get_graph(
    memory: TheMemory,
    actor: ReadsMemory,
    of: Annotated[MemoryRef | None, Query(alias="memory", description="start at this memory")] = None,
    entity: Annotated[
        str | None, Query(min_length=1, max_length=300, description="or at this entity of a vault, by its name")
    ] = None,
    vault: VaultQuery = None,
    hops: Annotated[int, Query(ge=1, le=MAX_HOPS)] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_EDGES, description="of memories")] = 100,
    whole: Annotated[
        bool, Query(description="also archived and merged memories, and those that typed links lead to")
    ] = False,
) -> Response:
    """The memories that share entities with a memory, or that name an entity, as hyperedges over their entities."""
    if (of is None) == (entity is None):
        raise InvalidInput("expected one of `memory` and `entity`", param="memory")
    if of is not None:
        if vault is not None:
            raise InvalidInput("vault: goes with `entity`; a memory is in one vault anyway", param="vault")
        found = await graph.around_memory(memory.core, actor, of, hops=hops, limit=limit, whole=whole)
    else:
        assert entity is not None
        if not storable(entity):
            raise not_found("entity", entity)
        await memory.core.default_vault(actor)
        found = await graph.around_entity(
            memory.core, actor, entity, vault or access.DEFAULT, hops=hops, limit=limit, whole=whole
        )
    return json_response(graph_body(found))


def edge_body(edge: Hyperedge) -> dict[str, Any]:
    """A memory over its entities on the wire."""
    return {**asdict(edge), "recorded_at": iso(edge.recorded_at)}


def graph_body(found: Neighbourhood) -> dict[str, Any]:
    """A neighbourhood on the wire."""
    return {
        "nodes": [asdict(node) for node in found.nodes],
        "edges": [edge_body(edge) for edge in found.edges],
        "links": [
            {"from": link.src_id, "to": link.dst_id, "type": link.type, "weight": link.weight, "at": iso(link.at)}
            for link in found.links
        ],
        "truncated": found.truncated,
    }
