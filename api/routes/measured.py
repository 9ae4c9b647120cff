"""What showing a memory was measured to change, on the wire. Source: design usefulness (Show)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from memory.service import Memory
from memory.types import Actor


async def uplifts(memory: Memory, actor: Actor, ids: Sequence[str]) -> dict[str, JsonValue]:
    """The measured effect of each memory that has one, for memories that the actor was already allowed to see."""
    return {}
