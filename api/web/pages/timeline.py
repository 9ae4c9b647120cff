"""Timeline: what happened to the memories of a vault, what a run changed, and what was believed on a date.

Three views, each a URL with a twin. The axis is drawn by the template, so it is there without a script; timeline.js lets a
person brush a part of it. Source: design ui (Timeline).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import sqrt
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agents.service import Service
from api.acting import ReadsMemory, TheMemory
from api.auth import Reader, TheService
from api.route import Route
from api.routes.memory_answers import iso, memory_body
from api.routes.memory_fields import VaultQuery
from api.routes.timeline import timeline_body
from api.routes.wire import memories_of, run_body
from api.web.moments import moment_of
from api.web.render import root_of, twin
from api.web.rows import shown_run
from api.web.titles import name_of, still_there
from memory import access
from memory.service import Memory
from memory.timeline import BINS, WHATS, What, believed, timeline
from memory.types import Actor, MemCube
from memory.types import Query as Asked

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 60
FOUND: Final = 25
LAST_RUNS: Final = 25
# Of one run, so many memories are named.
MOST: Final = 100
TICKS: Final = 7
WORDS: Final[dict[What, str]] = {
    "born": "Born",
    "edited": "Edited",
    "recalled": "Recalled",
    "merged": "Merged",
    "superseded": "Superseded",
    "gone": "Gone",
}
Moment = Annotated[str | None, Query(max_length=40)]
Cursor = Annotated[int, Query(ge=0, le=2**31)]


@router.get("/ui/timeline")
async def timeline_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    vault: VaultQuery = None,
    begin: Annotated[Moment, Query(alias="from")] = None,
    end: Annotated[Moment, Query(alias="to")] = None,
    what: Annotated[list[What] | None, Query()] = None,
    cursor: Cursor = 0,
) -> Response:
    """The axis of everything, and the rows of the part that is chosen."""
    first, last = moment_of(begin, "from"), moment_of(end, "to", ends=True)
    found = await timeline(
        memory.core, actor, vault, begin=first, end=last, whats=tuple(what or ()), skip=cursor, limit=PAGE
    )
    view = {**timeline_body(found), "from": iso(first), "to": iso(last), "what": what or []}
    asked = {"vault": found.vault_id, "from": view["from"], "to": view["to"], "what": what}
    address = f"{root_of(request)}/ui/timeline?"
    return twin(
        request,
        "timeline.html",
        view,
        **await _vaults(memory, actor, found.vault_id),
        tab="happenings",
        axis=axis(view["lanes"], first, last),
        words=WORDS,
        next_page=address + _query(asked, cursor=found.next) if found.next is not None else "",
        first_page=address + _query(asked) if cursor else "",
        lane_links={one: address + _query(asked, what=[one]) for one in WHATS},
        all_lanes=address + _query(asked, what=None),
        whole=address + _query({"vault": found.vault_id, "what": what}),
    )


@router.get("/ui/timeline/believed")
async def believed_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    vault: VaultQuery = None,
    on: Moment = None,
    q: Annotated[str, Query(max_length=2000)] = "",
    cursor: Cursor = 0,
) -> Response:
    """The memories as they stood at a moment, or what a search would have found then."""
    moment = moment_of(on, "on", ends=True) or memory.core.clock.now()
    found = await believed(memory.core, actor, vault, moment, skip=cursor, limit=PAGE)
    hits: list[dict[str, Any]] = []
    if q.strip():
        asked = Asked(q, vaults=(found.vault_id,), k=FOUND, as_of=moment, at=moment)
        hits = [
            {"memory": memory_body(hit.memory), "score": hit.score, "why": hit.why}
            for hit in (await memory.search(actor, asked, counts=False)).hits
        ]
    view = {
        "vault": found.vault_id,
        "on": iso(moment),
        "total": found.total,
        "next": found.next,
        "items": [_held(one.then, one.now) for one in found.items],
        "query": q,
        "found": hits,
    }
    same = {"vault": found.vault_id, "on": on, "q": q or None}
    address = f"{root_of(request)}/ui/timeline/believed?"
    return twin(
        request,
        "timeline_believed.html",
        view,
        **await _vaults(memory, actor, found.vault_id),
        tab="believed",
        next_page=address + _query(same, cursor=found.next) if found.next is not None else "",
        first_page=address + _query(same) if cursor else "",
    )


@router.get("/ui/timeline/run")
async def run_page(
    request: Request,
    caller: Reader,
    service: TheService,
    memory: TheMemory,
    actor: ReadsMemory,
    run: Annotated[str | None, Query(max_length=100)] = None,
    vault: VaultQuery = None,
) -> Response:
    """What one run read and what it changed, and how many memories there were before it and after."""
    words = {**await _vaults(memory, actor, vault or access.DEFAULT), "tab": "run"}
    if not run:
        listed = await service.store.page(caller.user_id, limit=LAST_RUNS)
        view: dict[str, Any] = {"run": None, "runs": [run_body(one) for one in listed.items]}
        return twin(request, "timeline_run.html", view, **words, listed=[shown_run(one) for one in view["runs"]])
    view = await _of_run(service, memory, actor, run, caller.user_id)
    return twin(request, "timeline_run.html", view, **words, shown=shown_run(view["run"]))


async def _of_run(service: Service, memory: Memory, actor: Actor, run_id: str, owner: str) -> dict[str, Any]:
    run = await service.get(run_id, owner=owner)
    touched = memories_of(await service.store.events(run.id, limit=10_000, types=("memory.read", "memory.written")))
    wanted = dict.fromkeys(one["id"] for side in ("written", "read") for one in touched[side])
    cubes = {each: await still_there(memory, actor, each) for each in list(wanted)[:MOST]}
    begin, end = run.started_at or run.created_at, run.finished_at or memory.core.clock.now()
    counts = []
    for vault in sorted({cube.vault_id for cube in cubes.values() if cube is not None}):
        before = await believed(memory.core, actor, vault, begin - timedelta(microseconds=1), limit=1)
        after = await believed(memory.core, actor, vault, end, limit=1)
        meanwhile = await timeline(memory.core, actor, vault, begin=begin, end=end, limit=1)
        name = (await memory.vaults.get(actor, vault)).vault.name
        changes = sum(count for what, count in meanwhile.counts.items() if what != "recalled")
        counts.append({"vault": vault, "name": name, "before": before.total, "after": after.total, "changes": changes})
    return {
        "run": run_body(run),
        "begin": iso(begin),
        "end": iso(end),
        "counts": counts,
        "read": [{**one, "now": _now(cubes[one["id"]])} for one in _read(touched["read"]) if one["id"] in cubes],
        "written": [{**one, "now": _now(cubes[one["id"]])} for one in touched["written"] if one["id"] in cubes],
        "more": len(wanted) - len(cubes),
    }


def _read(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The versions that were read, each once: how often it was shown and held out, and why it was found first."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for event in events:
        key = (event["id"], event["version"])
        one = found.setdefault(key, {"id": key[0], "version": key[1], "why": event["why"], "shown": 0, "held_out": 0})
        one[event["shown"]] += 1
    return list(found.values())


def _now(cube: MemCube | None) -> dict[str, Any] | None:
    return None if cube is None else {"title": name_of(cube), "version": cube.version, "state": cube.state}


def _held(then: MemCube, now: MemCube) -> dict[str, Any]:
    return {"then": memory_body(then), "now": {"version": now.version, "state": now.state}}


async def _vaults(memory: Memory, actor: Actor, vault: str) -> dict[str, Any]:
    own = (await memory.vaults.get(actor, vault)).vault
    listed = [shown.vault for shown in await memory.vaults.list(actor)]
    return {
        "vaults": listed if own.id in {one.id for one in listed} else [*listed, own],
        "vault": own.id,
        "vault_name": own.name,
    }


def axis(lanes: dict[str, Any] | None, first: datetime | None, last: datetime | None) -> dict[str, Any] | None:
    """The lanes as a drawing 1000 wide: bars as (x, height of 1, count, from, to), ticks, and where the chosen part is."""
    if lanes is None:
        return None
    begin, end = (datetime.fromisoformat(lanes[name]) for name in ("begin", "end"))
    width = (end - begin) / BINS
    edges = [iso(begin + at * width) for at in range(BINS + 1)]
    drawn = []
    for what, counts in lanes["counts"].items():
        most = max(counts) or 1
        bars = [
            (round(1000 * at / BINS, 2), round(max(0.12, sqrt(count / most)), 3), count, edges[at], edges[at + 1])
            for at, count in enumerate(counts)
            if count
        ]
        drawn.append({"what": what, "total": sum(counts), "bars": bars})
    place = [
        None if moment is None else round(1000 * min(1, max(0, (moment - begin) / (end - begin))), 2)
        for moment in (first, last)
    ]
    form = "%d %b %y" if end - begin > timedelta(days=TICKS) else "%d %b %H:%M"
    ticks = [f"{begin + at * (end - begin) / (TICKS - 1):{form}}" for at in range(TICKS)]
    return {
        "begin": lanes["begin"],
        "end": lanes["end"],
        "lanes": drawn,
        "bar": 1000 / BINS,
        "ticks": ticks,
        "at": place,
    }


def _query(values: dict[str, Any], **other: Any) -> str:
    return urlencode([*((k, v) for k, v in {**values, **other}.items() if v is not None)], doseq=True)
