"""Graph: what lies around a memory or an entity, drawn and as a table; without one of them, where to begin.

Memories are drawn round and what they share as squares between them, so that n memories that share something stay bound
by one thing. Source: design ui (Graph).
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.graph import edge_body, graph_body
from api.routes.memory_answers import iso, memory_body
from api.routes.memory_fields import MemoryRef, VaultQuery, not_found, storable
from api.web.moments import moment_of
from api.web.render import page, twin, wants_json
from memory import access, graph
from memory.graph import MAX_HOPS, Neighbourhood
from memory.service import Memory
from memory.types import Actor, SemanticType
from memory.types import Query as Asked
from runtime.errors import InvalidInput

router = APIRouter(include_in_schema=False, route_class=Route)
# A drawing of more can be looked at, but not read.
MOST_NODES: Final = 300
MOST_MEMORIES: Final = 180
EXPANDED: Final = 30
MOST_EXPANDED: Final = 12
FOUND: Final = 20
BESIDE: Final = 12
LISTED: Final = 50

Start = Annotated[MemoryRef | None, Query(alias="memory")]
Entity = Annotated[str | None, Query(min_length=1, max_length=300)]


@router.get("/ui/graph")
async def graph_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    of: Start = None,
    entity: Entity = None,
    vault: VaultQuery = None,
    hops: Annotated[int, Query(ge=1, le=MAX_HOPS)] = 2,
    expanded: Annotated[list[MemoryRef] | None, Query(alias="with", max_length=MOST_EXPANDED)] = None,
    kind: Annotated[list[SemanticType] | None, Query()] = None,
    until: Annotated[str | None, Query(max_length=40)] = None,
    q: Annotated[str, Query(max_length=2000)] = "",
    begin: Annotated[int, Query(alias="from", ge=0, le=MOST_NODES)] = 0,
) -> Response:
    """The neighbourhood of a selection, as far as it can be drawn; or a search, or the memories that most depends on."""
    if of is not None and entity is not None:
        raise InvalidInput("expected one of `memory` and `entity`, not both", param="memory")
    if of is None and entity is None:
        return await _begin(request, memory, actor, vault, q)
    start, found = await _around(memory, actor, of, entity, vault, hops)
    for other in dict.fromkeys(expanded or ()):
        found = joined(found, await graph.around_memory(memory.core, actor, other, limit=EXPANDED, whole=True))
    told = graph_body(found)
    whole = drawn(told, start)
    counts = Counter(edge["semantic_type"] for edge in whole["edges"])
    moment = moment_of(until, "until", ends=True)
    shown = chosen(whole, kind or (), moment)
    view = {"start": start, "hops": hops, "expanded": expanded or [], "graph": shown}
    view |= {"kinds": dict(counts), "chosen": kind or [], "until": iso(moment)}
    if wants_json(request):
        return twin(request, "graph.html", view)
    rest = request.url.remove_query_params("from").query
    return twin(
        request,
        "graph.html",
        view,
        **await _panel(memory, actor, start, told),
        **await _vaults(memory, actor, start["vault"]),
        q=q,
        # Filters only hide in the drawing, so it is given all of it: what they hid can be taken back at once.
        drawing={"start": start, "graph": whole},
        rows=shown["edges"][begin : begin + LISTED],
        first=f"?{rest}#graph-table" if begin else "",
        following=f"?{rest}&from={begin + LISTED}#graph-table" if len(shown["edges"]) > begin + LISTED else "",
        names={node["id"]: node for node in shown["nodes"]},
        titles={edge["memory"]: edge["title"] for edge in shown["edges"]},
    )


@router.get("/ui/graph/panel")
async def graph_panel(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    of: Start = None,
    entity: Entity = None,
    vault: VaultQuery = None,
) -> Response:
    """What stands beside the drawing about one memory or one entity."""
    if (of is None) == (entity is None):
        raise InvalidInput("expected one of `memory` and `entity`", param="memory")
    start = {"memory": of, "entity": entity, "vault": vault or access.DEFAULT}
    return page(request, "graph_panel.html", **await _panel(memory, actor, start))


async def _begin(request: Request, memory: Memory, actor: Actor, vault: str | None, q: str) -> Response:
    ref = vault or access.DEFAULT
    begin = await graph.landmarks(memory.core, actor, ref)
    hits = (await memory.search(actor, Asked(q, vaults=(ref,), k=FOUND), counts=False)).hits if q.strip() else ()
    view = {
        "start": None,
        "vault": begin.vault_id,
        "entities": [{"id": one.id, "name": one.name, "degree": one.degree} for one in begin.entities],
        "memories": [edge_body(one) for one in begin.memories],
        "found": [{"memory": memory_body(hit.memory), "why": hit.why} for hit in hits],
    }
    return twin(request, "graph_begin.html", view, **await _vaults(memory, actor, begin.vault_id), q=q)


async def _around(
    memory: Memory,
    actor: Actor,
    of: str | None,
    entity: str | None,
    vault: str | None,
    hops: int,
    limit: int = MOST_MEMORIES,
) -> tuple[dict[str, Any], Neighbourhood]:
    if of is not None:
        found = await graph.around_memory(memory.core, actor, of, hops=hops, limit=limit, whole=True)
        return {"memory": of, "entity": None, "vault": found.edges[0].vault}, found
    assert entity is not None
    if not storable(entity):
        raise not_found("entity", entity)
    home = (await memory.vaults.get(actor, vault or access.DEFAULT)).vault.id
    found = await graph.around_entity(memory.core, actor, entity, home, hops=hops, limit=limit, whole=True)
    return {"memory": None, "entity": entity, "vault": home}, found


async def _panel(
    memory: Memory, actor: Actor, start: dict[str, Any], told: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The memory, or the entity and the memories that name it, in words; `told`: what lies around it, if it was read."""
    if start["memory"] is not None:
        return {"memory": memory_body(await memory.get(actor, start["memory"])), "entity": None}
    if told is None:
        start, found = await _around(memory, actor, None, start["entity"], start["vault"], hops=1, limit=BESIDE)
        told = graph_body(found)
    same = start["entity"].casefold()
    node = next((one for one in told["nodes"] if one["name"].casefold() == same), None)
    named = [edge for edge in told["edges"] if node is None or node["id"] in edge["entities"]]
    entity = {
        "name": node["name"] if node else start["entity"],
        "degree": node["degree"] if node else len(named),
        "vault": start["vault"],
        "memories": named[:BESIDE],
    }
    return {"memory": None, "entity": entity}


async def _vaults(memory: Memory, actor: Actor, vault: str) -> dict[str, Any]:
    listed = [shown.vault for shown in await memory.vaults.list(actor)]
    own = next((one for one in listed if one.id == vault), None)
    if own is None:
        own = (await memory.vaults.get(actor, vault)).vault
        listed.append(own)
    return {"vaults": listed, "vault": own.id, "vault_name": own.name}


def joined(one: Neighbourhood, two: Neighbourhood) -> Neighbourhood:
    """Both neighbourhoods as one; what is in both stands where it stood in the first."""
    nodes = {node.id: node for node in (*two.nodes, *one.nodes)}
    edges = {edge.memory: edge for edge in (*one.edges, *two.edges)}
    links = dict.fromkeys((*one.links, *two.links))
    return Neighbourhood(tuple(nodes.values()), tuple(edges.values()), tuple(links), one.truncated or two.truncated)


def drawn(told: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    """As much of a neighbourhood as a drawing takes: the nearest memories, and the entities that bind most of them.

    An entity that only one of them names binds nothing; it is drawn beside the start alone.
    """
    edges = told["edges"][:MOST_MEMORIES]
    shared = Counter(entity for edge in edges for entity in edge["entities"])
    near = {entity for edge in edges if edge["memory"] == start["memory"] for entity in edge["entities"]}
    wanted = (start["entity"] or "").casefold()
    binding = [
        node
        for node in told["nodes"]
        if shared[node["id"]] > 1 or node["id"] in near or node["name"].casefold() == wanted
    ]
    binding.sort(key=lambda node: (node["id"] not in near, -shared[node["id"]]))
    nodes = binding[: MOST_NODES - len(edges)]
    there = {edge["memory"] for edge in edges}
    links = [link for link in told["links"] if link["from"] in there and link["to"] in there]
    less = len(edges) < len(told["edges"]) or len(nodes) < len(binding)
    return {"nodes": nodes, "edges": edges, "links": links, "truncated": told["truncated"] or less}


def chosen(told: dict[str, Any], kinds: list[SemanticType] | tuple[()], until: datetime | None) -> dict[str, Any]:
    """The part of a drawing with these kinds of memories, recorded by then; entities stay where a memory names them."""
    if not kinds and until is None:
        return told
    edges = [
        edge
        for edge in told["edges"]
        if (not kinds or edge["semantic_type"] in kinds)
        and (until is None or datetime.fromisoformat(edge["recorded_at"]) <= until)
    ]
    there = {edge["memory"] for edge in edges}
    named = {entity for edge in edges for entity in edge["entities"]}
    return {
        "nodes": [node for node in told["nodes"] if node["id"] in named],
        "edges": edges,
        "links": [link for link in told["links"] if link["from"] in there and link["to"] in there],
        "truncated": told["truncated"],
    }
