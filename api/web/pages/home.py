"""Home: what is going on, and whether memory grows, is let in, is found and helps. Source: design ui."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from agents.service import Service
from api.acting import ReadsMemory, TheMemory
from api.auth import TheService
from api.route import Route
from api.routes.measured import uplift_body
from api.routes.memory_answers import iso, memory_body
from api.routes.wire import run_body
from api.web.render import seconds, twin
from api.web.rows import shown_run
from memory.measuring.usefulness import Judged
from memory.overview import DAYS, Overview, overview
from memory.service import Memory
from memory.types import Actor

router = APIRouter(include_in_schema=False, route_class=Route)
LAST: Final = 8
IN_FLIGHT: Final = 20
# Vaults whose measured memories are looked at, and how many of the best and the worst are shown.
VAULTS: Final = 8
JUDGED: Final = 5


@router.get("/ui/")
async def home_page(request: Request, service: TheService, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The state of everything, each number with the way to its rows."""
    now = memory.core.clock.now()
    view = {**await _runs(service, actor.user_id), "memory": _told(await overview(memory.core, actor), now)}
    view |= await _judged(memory, actor)
    lag = view["memory"]["lag_s"]
    return twin(
        request,
        "home.html",
        view,
        flying=[shown_run(run) for run in view["in_flight"]],
        last=[shown_run(run) for run in view["last_runs"]],
        growth=[(one["day"], one["count"]) for one in view["memory"]["recorded"]],
        lag=seconds(lag) if lag is not None else "none",
        span=max([abs(one["mean"]) + 2 * one["sd"] for one in view["helped"] + view["hurt"]], default=1),
        days=DAYS,
    )


async def _runs(service: Service, owner: str) -> dict[str, Any]:
    running = await service.store.page(owner, status="running", limit=IN_FLIGHT)
    queued = await service.store.page(owner, status="queued", limit=IN_FLIGHT)
    last = await service.store.page(owner, limit=LAST)
    return {
        "in_flight": [run_body(run) for run in (*running.items, *queued.items)],
        "more_in_flight": running.next is not None or queued.next is not None,
        "last_runs": [run_body(run) for run in last.items],
    }


def _told(found: Overview, now: datetime) -> dict[str, Any]:
    recorded = sum(count for _, count in found.recorded)
    held = sum(found.held.values())
    to_index = sum(count for state, count in found.vectors.items() if state != "none")
    return {
        "live": found.live,
        "states": dict(found.states),
        "recorded": [{"day": day.isoformat(), "count": count} for day, count in found.recorded],
        "recorded_total": recorded,
        "held": dict(found.held),
        "held_total": held,
        "admitted_rate": (recorded - held) / recorded if recorded else None,
        "rejected": found.held.get("rejected", 0),
        "inbox": found.held.get("open", 0),
        "vectors": dict(found.vectors),
        "indexed_rate": found.vectors.get("synced", 0) / to_index if to_index else None,
        "waiting": found.waiting,
        "failing": found.failing,
        "oldest_waiting": iso(found.oldest_waiting),
        "lag_s": (now - found.oldest_waiting).total_seconds() if found.oldest_waiting else None,
    }


async def _judged(memory: Memory, actor: Actor) -> dict[str, list[dict[str, Any]]]:
    helped: list[Judged] = []
    hurt: list[Judged] = []
    for shown in await memory.vaults.list(actor, limit=VAULTS):
        found = await memory.usefulness.vault(actor, shown.vault.id)
        helped += found.helped
        hurt += found.hurt
    helped.sort(key=lambda item: -item.mean)
    hurt.sort(key=lambda item: item.mean)
    return {"helped": [_one(item) for item in helped[:JUDGED]], "hurt": [_one(item) for item in hurt[:JUDGED]]}


def _one(item: Judged) -> dict[str, Any]:
    return {"memory": memory_body(item.memory, uplift_body(item.estimates)), "mean": item.mean, "sd": item.sd}
