"""How a memory is called on a page that links to it. Source: ours."""

from __future__ import annotations

from api.web.render import excerpt
from memory.service import Memory
from memory.types import Actor
from runtime.errors import Gone, UnknownName

TITLE_CHARS = 90


async def title_of(memory: Memory, actor: Actor, memory_id: str) -> str:
    """Its title, else the beginning of its text; empty when it is gone or somebody else's: links and logs keep ids."""
    try:
        cube = await memory.get(actor, memory_id)
    except (UnknownName, Gone):
        return ""
    return cube.title or excerpt(cube.content, TITLE_CHARS)
