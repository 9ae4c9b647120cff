"""What happened to the memories of a vault, for the page and for whoever draws it. Source: design ui (Timeline)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.answers import json_response
from api.route import Route
from api.routes.documented import Documented, answers
from api.routes.memory_answers import iso
from api.routes.memory_fields import Moment, PageSize, VaultQuery
from memory.timeline import Happening, Timeline, What, timeline
from memory.types import ChangeKind

router = APIRouter(prefix="/api/timeline", tags=["memories"], route_class=Route)


class HappeningBody(Documented):
    """`version`: the one that a change made, or that was recalled. `run` and `seq` say where a recall stands in a log."""

    at: datetime
    what: What
    memory: str
    version: int
    title: str
    change: ChangeKind | None
    reason: str
    actor: str | None
    run: str | None
    seq: int | None
    held_out: bool


class LanesBody(Documented):
    """How often what happened, in equal parts of the time from `begin` to `end`."""

    begin: datetime
    end: datetime
    counts: dict[What, list[int]]


class TimelineBody(Documented):
    """`lanes` are of all that happened; `items`, `counts` and `total` of what was asked for. `truncated`: there was more
    than was looked at."""

    vault: str
    lanes: LanesBody | None
    items: list[HappeningBody]
    counts: dict[What, int]
    total: int
    next: int | None
    truncated: bool


@router.get("", responses=answers(TimelineBody, 404))
async def get_timeline(
    memory: TheMemory,
    actor: ReadsMemory,
    vault: VaultQuery = None,
    begin: Annotated[Moment | None, Query(alias="from")] = None,
    end: Annotated[Moment | None, Query(alias="to")] = None,
    what: Annotated[list[What] | None, Query(description="only these; default: all")] = None,
    limit: PageSize = 100,
    cursor: Annotated[int, Query(ge=0, le=2**31, description="`next` of the page before")] = 0,
) -> Response:
    """Births, edits, recalls by the caller's own runs, merges, supersessions and ends, the newest first."""
    found = await timeline(
        memory.core, actor, vault, begin=begin, end=end, whats=tuple(what or ()), skip=cursor, limit=limit
    )
    return json_response(timeline_body(found))


def timeline_body(found: Timeline) -> dict[str, Any]:
    """A timeline on the wire."""
    lanes = found.lanes and {
        "begin": iso(found.lanes.begin),
        "end": iso(found.lanes.end),
        "counts": {what: list(counts) for what, counts in found.lanes.counts.items()},
    }
    return {
        "vault": found.vault_id,
        "lanes": lanes,
        "items": [_happening(one) for one in found.items],
        "counts": dict(found.counts),
        "total": found.total,
        "next": found.next,
        "truncated": found.truncated,
    }


def _happening(one: Happening) -> dict[str, Any]:
    return {
        "at": iso(one.at),
        "what": one.what,
        "memory": one.memory,
        "version": one.version,
        "title": one.title,
        "change": one.change,
        "reason": one.reason,
        "actor": one.actor,
        "run": one.run_id,
        "seq": one.seq,
        "held_out": one.held_out,
    }
