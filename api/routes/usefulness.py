"""What memories are worth: measured for one memory, over a vault, and what a person says.

Source: design usefulness, "Show".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import Documented, Responses, answers
from api.routes.measured import uplift_body
from api.routes.memory_answers import iso, memory_body
from api.routes.memory_documented import MemoryBody
from api.routes.memory_fields import MemoryId, VaultRef
from api.routes.memory_wire import FeedbackRequest
from memory.measuring.effects import Estimate, Lift, Side
from memory.measuring.experiment import Sums
from memory.measuring.outcomes import RANKING, OutcomeKind
from memory.measuring.usefulness import Judged, MemoryUses, VaultUses
from runtime.errors import InvalidInput

router = APIRouter(tags=["usefulness"], route_class=Route)


class Measured(Documented):
    """The mean over `n` problems and its 95 % interval."""

    n: int
    effect: float
    low: float | None
    high: float | None


class AgentEffect(Measured):
    agent: str


class EffectBody(Measured):
    """The effect of showing the memory on outcomes of one kind.

    `mean` and `sd`: what is to be thought of it, given the other memories of the vault. `ranks`: it moves the memory in
    searches. `life`: the version at which its text began.
    """

    kind: OutcomeKind
    ranks: bool
    life: int
    mean: float
    sd: float
    agents: list[AgentEffect]


class SideBody(Documented):
    """A run on one side: the mean outcome of `units` units. `run` is null for a run of somebody else."""

    run: str | None
    at: datetime
    agent: str
    kind: OutcomeKind
    version: int
    units: int
    outcome: float


class UsesBody(Documented):
    """`earlier` are the estimates of texts that the memory no longer has."""

    id: str
    version: int
    life: int
    uses: int
    last_used_at: datetime | None
    estimates: list[EffectBody]
    earlier: list[EffectBody]
    shown: list[SideBody]
    held_out: list[SideBody]


class PriorBody(Documented):
    """What to think of a memory that was never measured, from those that were."""

    mean: float
    sd: float
    measured: int


class JudgedBody(Documented):
    memory: MemoryBody
    mean: float
    sd: float
    estimates: list[EffectBody]


class LiftBody(Measured):
    """Outcome with the memories less outcome without, over the runs in which one unit went without."""

    agent: str
    suite: str | None
    kind: OutcomeKind


class VaultUsesBody(Documented):
    """`explore`: the share of units that a memory is held out of, null for the usual one, 0 for none."""

    vault: str
    explore: float | None
    prior: PriorBody
    helped: list[JudgedBody]
    hurt: list[JudgedBody]
    never_measured: list[MemoryBody]
    lift: list[LiftBody]


class FeedbackBody(Documented):
    """`memories`: about how many memories the run's outcome says something, null when none was given; `job` works the
    words in."""

    id: str
    run: str | None
    memories: int | None
    job: str | None


TOLD: Responses = {
    **answers(FeedbackBody, 404, 409, 410, 413, 415, 429),
    202: {"model": FeedbackBody, "description": "kept; `job` works the words in"},
}


@router.get("/api/memories/{memory_id}/uses", responses=answers(UsesBody, 404, 410))
async def get_uses(memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """What showing the memory was measured to change, and the last runs that were shown it and that were not."""
    return json_response(uses_body(await memory.usefulness.uses(actor, memory_id)))


@router.get("/api/vaults/{vault}/usefulness", responses=answers(VaultUsesBody, 404))
async def get_usefulness(vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Which memories of the vault helped most, hurt most and were never measured, and what the vault as a whole is worth."""
    return json_response(vault_uses_body(await memory.usefulness.vault(actor, vault)))


@router.post("/api/memories/{memory_id}/feedback", responses=TOLD)
async def give_feedback(
    memory_id: MemoryId, body: FeedbackRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Say whether a run that read the memory answered well, what is wrong with the memory, or both.

    `helpful` (with `run_id`) is the outcome of the run for every memory that it read; said again it replaces what was
    said. `text` becomes a correction of the memory.
    """
    if body.helpful is None and body.text is None:
        raise InvalidInput("the feedback is empty: expected `helpful` with `run_id`, or `text`", param="body")
    if (body.helpful is None) != (body.run_id is None):
        missing = "helpful" if body.helpful is None else "run_id"
        raise InvalidInput(f"{missing}: is missing; a run and whether it was helpful go together", param=missing)

    async def work() -> Response:
        about = None
        if body.helpful is not None and body.run_id is not None:
            about = await memory.usefulness.feedback(actor, memory_id, body.run_id, helpful=body.helpful)
        job = None if body.text is None else (await memory.learning.feedback(actor, memory_id, body.text)).id
        told = {"id": memory_id, "run": body.run_id, "memories": about, "job": job}
        return json_response(told, 200 if job is None else 202)

    return await once(actor.user_id, work)


def uses_body(found: MemoryUses) -> dict[str, Any]:
    cube = found.memory
    return {
        "id": cube.id,
        "version": cube.version,
        "life": found.life,
        "uses": cube.uses,
        "last_used_at": iso(cube.last_used_at),
        "estimates": _estimates(found.estimates),
        "earlier": _estimates(found.earlier),
        "shown": [_side(side) for side in found.shown],
        "held_out": [_side(side) for side in found.held_out],
    }


def vault_uses_body(found: VaultUses) -> dict[str, Any]:
    return {
        "vault": found.vault_id,
        "explore": found.explore,
        "prior": {"mean": found.prior.mean, "sd": found.prior.sd, "measured": found.prior.measured},
        "helped": [_judged(item) for item in found.helped],
        "hurt": [_judged(item) for item in found.hurt],
        "never_measured": [memory_body(cube) for cube in found.unmeasured],
        "lift": [_lift(item) for item in found.lifts],
    }


def _judged(item: Judged) -> dict[str, Any]:
    return {
        "memory": memory_body(item.memory, uplift_body(item.estimates)),
        "mean": item.mean,
        "sd": item.sd,
        "estimates": _estimates(item.estimates),
    }


def _estimates(items: Sequence[Estimate]) -> list[dict[str, Any]]:
    return [
        {
            "kind": item.kind,
            "ranks": item.current and item.kind in RANKING,
            "life": item.life,
            "n": item.n,
            "effect": item.effect,
            "low": item.low,
            "high": item.high,
            "mean": item.mean,
            "sd": item.sd,
            "agents": [{"agent": agent, **_measured(sums)} for agent, sums in sorted(item.by_agent.items())],
        }
        for item in items
    ]


def _side(side: Side) -> dict[str, Any]:
    return {
        "run": side.run_id,
        "at": iso(side.at),
        "agent": side.agent,
        "kind": side.kind,
        "version": side.version,
        "units": side.units,
        "outcome": side.outcome,
    }


def _lift(item: Lift) -> dict[str, Any]:
    return {"agent": item.agent, "suite": item.suite or None, "kind": item.kind, **_measured(item.sums)}


def _measured(sums: Sums) -> dict[str, Any]:
    low, high = sums.interval() or (None, None)
    return {"n": sums.n, "effect": sums.mean, "low": low, "high": high}
