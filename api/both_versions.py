"""What somebody who was overtaken is shown: the version that was seen, and the one that is current. Source: contract §4."""

from __future__ import annotations

from memory.service import Memory
from memory.types import Actor, Version
from runtime.errors import Gone, Stale, UnknownName


async def both_versions(
    memory: Memory, actor: Actor, memory_id: str, stale: Stale
) -> tuple[Version | None, Version | None]:
    """Both; None for one that there is not, or of which the actor may learn only the number."""
    try:
        # Whoever may write but not read learns only the numbers, and so does everybody of a text that is gone.
        await memory.get(actor, memory_id)
        versions = {version.version: version for version in await memory.history(actor, memory_id)}
    except (UnknownName, Gone):
        versions = {}
    return versions.get(stale.expected), versions.get(stale.current)
