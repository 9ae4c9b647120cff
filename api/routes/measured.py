"""What showing a memory was measured to change, on the wire. Source: design usefulness (Show)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from memory.measuring.effects import Estimate
from memory.measuring.outcomes import RANKING
from memory.service import Memory
from memory.types import Actor


async def uplifts(memory: Memory, actor: Actor, ids: Sequence[str]) -> dict[str, JsonValue]:
    """The measured effect of each memory that has one, for memories that the actor was already allowed to see."""
    found = await memory.usefulness.uplift(ids)
    return {memory_id: told for memory_id, items in found.items() if (told := uplift_body(items)) is not None}


def uplift_body(estimates: Sequence[Estimate]) -> JsonValue:
    """The best known effect among the kinds of outcomes that rank; null when there is none."""
    ranking = [item for item in estimates if item.kind in RANKING]
    if not ranking:
        return None
    best = max(ranking, key=lambda item: item.n)
    return {"n": best.n, "effect": best.effect, "low": best.low, "high": best.high}
