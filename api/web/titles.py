"""A memory that a page links to, and how it is called there. Source: ours."""

from __future__ import annotations

from api.web.render import excerpt
from memory.service import Memory
from memory.types import Actor, MemCube
from runtime.errors import Gone, UnknownName

TITLE_CHARS = 90


async def still_there(memory: Memory, actor: Actor, memory_id: str) -> MemCube | None:
    """The memory as it is; None when it was deleted, has expired or is somebody else's: links and logs keep ids."""
    try:
        return await memory.get(actor, memory_id)
    except (UnknownName, Gone):
        return None


async def title_of(memory: Memory, actor: Actor, memory_id: str) -> str:
    """What it is called; empty when it is not there any more."""
    cube = await still_there(memory, actor, memory_id)
    return "" if cube is None else name_of(cube)


def name_of(cube: MemCube) -> str:
    """Its title, else the beginning of its text."""
    return cube.title or excerpt(cube.content, TITLE_CHARS)
