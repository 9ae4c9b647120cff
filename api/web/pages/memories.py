"""Memories: the list of a vault with its facets, and what a search found with the reason. One memory stands in memory.py.

Looking is no use: a search from here counts for no memory. Source: design ui (Memories).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.measured import uplifts
from api.routes.memory_answers import memory_body, recall_body
from api.routes.memory_fields import MAX_ASKED, VaultQuery, storable
from api.web.render import root_of, twin
from memory.facets import facets
from memory.listing import Where
from memory.recalls import runs_of
from memory.service import Memory
from memory.types import LIVE, Actor, MemCube, Mode, SemanticType, State
from memory.types import Query as Asked
from runtime.errors import InvalidInput

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 50
FOUND: Final = 30
MODES: Final = {"hybrid": "words and meaning", "lexical": "words", "dense": "meaning", "graph": "shared entities"}


@router.get("/ui/memories")
async def memories_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    vault: VaultQuery = None,
    state: Annotated[list[State] | None, Query()] = None,
    semantic_type: Annotated[list[SemanticType] | None, Query()] = None,
    tag: Annotated[list[str] | None, Query(max_length=100)] = None,
    q: Annotated[str, Query(max_length=MAX_ASKED)] = "",
    mode: Mode = "hybrid",
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """The memories of a vault, the newest first; with `q` those that a search finds, the best first."""
    if q and not storable(q):
        raise InvalidInput("q: expected text without NUL and without half of a surrogate pair", param="q")
    where = Where(vault, tuple(state or ()), tuple(semantic_type or ()), tuple(tag or ()))
    counted = await facets(memory.core, actor, where)
    view: dict[str, Any] = {
        "vault": counted.vault_id,
        "query": q,
        "facets": {
            "state": dict(counted.states),
            "semantic_type": dict(counted.semantic_types),
            "tag": dict(counted.tags),
        },
    }
    if q.strip():
        view |= await _found(memory, actor, where, q, mode)
    else:
        view |= await _listed(memory, actor, where, cursor)
    vaults = [shown.vault for shown in await memory.vaults.list(actor, limit=500)]
    here = next((one for one in vaults if one.id == counted.vault_id), None)
    chosen = [("vault", vault or ""), ("q", q), ("mode", mode if q.strip() else "")]
    chosen += [(name, value) for name, values in _filters(where) for value in values]
    rest = urlencode([(name, value) for name, value in chosen if value])
    base = f"{root_of(request)}/ui/memories"
    return twin(
        request,
        "memories.html",
        view,
        vaults=vaults,
        vault_name=here.name if here else counted.vault_id,
        chosen={"vault": counted.vault_id, "mode": mode, **dict(_filters(where))},
        filtered=bool(where.states or where.semantic_types or where.tags),
        states=[
            (one, one, counted.states.get(one, 0)) for one in _in_order(get_args(State), counted.states, where.states)
        ],
        types=[
            (one, one.replace("_", " "), counted.semantic_types.get(one, 0))
            for one in _in_order(get_args(SemanticType), counted.semantic_types, where.semantic_types)
        ],
        tags=[(one, one, counted.tags.get(one, 0)) for one in dict.fromkeys([*where.tags, *counted.tags])],
        modes=MODES,
        live=sorted(LIVE),
        total=sum(counted.states.get(one, 0) for one in where.states or LIVE),
        cursor=cursor,
        next_page=f"{base}?{urlencode({'cursor': view['next']})}{'&' if rest else ''}{rest}" if view["next"] else "",
        first_page=f"{base}?{rest}" if rest else base,
        span=_span(view["items"] or [hit["memory"] for hit in view["hits"]]),
    )


async def _listed(memory: Memory, actor: Actor, where: Where, cursor: str | None) -> dict[str, Any]:
    page = await memory.list(actor, where, after=cursor, limit=PAGE)
    return {
        "items": await rows_of(memory, actor, page.items),
        "next": page.next,
        "hits": [],
        "degraded": [],
        "dropped": 0,
    }


async def _found(memory: Memory, actor: Actor, where: Where, q: str, mode: Mode) -> dict[str, Any]:
    asked = Asked(
        q,
        vaults=(where.vault,) if where.vault else (),
        k=FOUND,
        mode=mode,
        kinds=where.semantic_types,
        tags=where.tags,
        states=where.states,
        explain=True,
    )
    recall = await memory.search(actor, asked, counts=False)
    bodies = {one["id"]: one for one in await rows_of(memory, actor, [hit.memory for hit in recall.hits])}
    told = recall_body(recall, {})
    hits = [{**hit, "memory": bodies[hit["memory"]["id"]]} for hit in told["hits"]]
    return {**told, "hits": hits, "items": [], "next": None}


async def rows_of(memory: Memory, actor: Actor, cubes: Sequence[MemCube]) -> list[dict[str, Any]]:
    """Memories on the wire, with their measured worth and in how many runs it was measured (`runs`)."""
    ids = [cube.id for cube in cubes]
    measured = await uplifts(memory, actor, ids)
    runs = await runs_of(memory.core, actor, ids)
    return [{**memory_body(cube, measured.get(cube.id)), "runs": runs.get(cube.id, 0)} for cube in cubes]


def _filters(where: Where) -> list[tuple[str, tuple[str, ...]]]:
    return [("state", where.states), ("semantic_type", where.semantic_types), ("tag", where.tags)]


def _in_order(every: Sequence[Any], counted: Any, chosen: Sequence[Any]) -> list[Any]:
    return [one for one in every if counted.get(one) or one in chosen]


def _span(items: Sequence[dict[str, Any]]) -> float:
    """The scale that the intervals of a list share."""
    told = [one["uplift"] for one in items if one["uplift"]]
    ends = [abs(each[name]) for each in told for name in ("effect", "low", "high") if each[name] is not None]
    return max(ends, default=1.0) or 1.0
