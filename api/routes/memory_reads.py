"""What is known about one memory: history, differences, where it comes from. Source: contract §4; memos §3.4."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.answers import json_response
from api.route import Route
from api.routes.documented import answers
from api.routes.memory_answers import iso, version_body
from api.routes.memory_documented import DiffBody, ProvenanceBody, VersionList
from api.routes.memory_fields import MemoryId, PageSize
from memory.explain import Difference, Provenance

router = APIRouter(prefix="/api/memories", tags=["memories"], route_class=Route)
Number = Annotated[int, Query(ge=1, le=10**9)]


@router.get("/{memory_id}/history", responses=answers(VersionList, 404, 410))
async def get_history(
    memory_id: MemoryId,
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 100,
    cursor: Annotated[int | None, Query(ge=1, le=10**9, description="`next` of the page before")] = None,
) -> Response:
    """Every version, newest first, linked by hashes; of an erased memory without texts."""
    versions = await memory.history(actor, memory_id)
    rest = [version for version in versions if cursor is None or version.version < cursor]
    shown = rest[:limit]
    following = shown[-1].version if len(rest) > limit else None
    return json_response({"items": [version_body(version) for version in shown], "next": following})


@router.get("/{memory_id}/diff", responses=answers(DiffBody, 404, 410))
async def get_diff(
    memory_id: MemoryId,
    memory: TheMemory,
    actor: ReadsMemory,
    from_: Annotated[Number, Query(alias="from")],
    to: Number,
) -> Response:
    """What version `to` has and version `from` has not."""
    return json_response(difference_body(memory_id, await memory.diff(actor, memory_id, from_, to)))


@router.get("/{memory_id}/provenance", responses=answers(ProvenanceBody, 404, 410))
async def get_provenance(memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The sources of every version, and the links in both directions."""
    return json_response(provenance_body(memory_id, await memory.provenance(actor, memory_id)))


def difference_body(memory_id: str, found: Difference) -> dict[str, Any]:
    """A difference on the wire."""
    return {
        "id": memory_id,
        "from": found.from_version,
        "to": found.to_version,
        "content": found.content,
        "fields": {name: {"from": before, "to": after} for name, (before, after) in found.fields.items()},
    }


def provenance_body(memory_id: str, found: Provenance) -> dict[str, Any]:
    return {
        "id": memory_id,
        "provenance": found.provenance_id,
        "origin": found.origin,
        "created_by": found.created_by,
        "recorded_at": iso(found.recorded_at),
        "sources": [
            {"version": item.version, **asdict(item.source), "occurred_at": iso(item.source.occurred_at)}
            for item in found.sources
        ],
        "links": [
            {"from": edge.src_id, "to": edge.dst_id, "type": edge.type, "weight": edge.weight, "at": iso(edge.at)}
            for edge in found.edges
        ],
    }
