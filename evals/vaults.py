"""Vaults of an evaluation: made, filled, copied, read, dropped. Each is named after the evaluation it belongs to.

A vault that is read is waited for: a search that finds a memory by its words but not yet by its vector would make the order
of two evaluations differ. Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from memory.listing import MAX_PAGE, Where
from memory.service import Memory
from memory.types import Actor, Draft, MemCube, State
from memory.upkeep.outbox import wait_for
from runtime.errors import Conflict, MnemeError, StorageError, UnknownName

# Waits of ten seconds each, see memory/upkeep/outbox.py.
WAITS: Final = 6
AT_ONCE: Final = 500


async def make(memory: Memory, actor: Actor, name: str) -> str:
    """A new, empty vault of that name; one that was left behind is dropped. Gives its id."""
    try:
        return (await memory.vaults.create(actor, name, explore=0.0)).vault.id
    except Conflict:
        await drop(memory, actor, name)
        return (await memory.vaults.create(actor, name, explore=0.0)).vault.id


async def drop(memory: Memory, actor: Actor, vault: str) -> None:
    """Erase a vault, if it is there. A large one is out of sight at once; a worker erases the rest."""
    try:
        shown = await memory.vaults.get(actor, vault)
    except UnknownName:
        return
    await memory.vaults.delete(actor, shown.vault.id, expect=shown.vault.version)


async def drop_all(memory: Memory, actor: Actor, prefix: str) -> None:
    """Erase every vault of the actor whose name begins with `prefix`."""
    after: str | None = None
    names: list[str] = []
    while page := await memory.vaults.list(actor, after=after, limit=MAX_PAGE):
        mine = [shown.vault for shown in page if shown.vault.owner_id == actor.user_id]
        names += [vault.id for vault in mine if vault.name.startswith(prefix)]
        after = page[-1].vault.id
    for vault_id in names:
        await drop(memory, actor, vault_id)


async def live(memory: Memory, actor: Actor, vault: str, states: Sequence[State] = ()) -> list[MemCube]:
    """The live memories of a vault, or those in the given states, the oldest first."""
    cubes: list[MemCube] = []
    after: str | None = None
    while True:
        page = await memory.list(actor, Where(vault, states=tuple(states)), after=after, limit=MAX_PAGE)
        cubes += page.items
        if page.next is None:
            return cubes[::-1]
        after = page.next


async def fill(memory: Memory, actor: Actor, vault: str, drafts: Sequence[Draft]) -> list[MemCube]:
    """Store drafts as they are, and wait until they can be found. Raises `MnemeError` for one that cannot be stored."""
    stored: list[MemCube] = []
    for start in range(0, len(drafts), AT_ONCE):
        for added in await memory.add(actor, drafts[start : start + AT_ONCE], vault=vault, force=True):
            if added.memory is None:
                raise added.error or MnemeError(f"vault {vault!r}: a memory was not stored: {'; '.join(added.reasons)}")
            stored.append(added.memory)
    await findable(memory, [cube.id for cube in stored])
    return stored


async def copy(memory: Memory, actor: Actor, source: str, target: str) -> Mapping[str, str]:
    """Copy the live memories of a vault into another and wait until they can be found; leads from each id to its copy's."""
    ids = [cube.id for cube in await live(memory, actor, source)]
    copies: dict[str, str] = {}
    for start in range(0, len(ids), AT_ONCE):
        moved = await memory.vaults.migrate(actor, source, target, ids=ids[start : start + AT_ONCE])
        copies |= moved.ids or {}
    await findable(memory, list(copies.values()))
    return copies


async def findable(memory: Memory, ids: Sequence[str]) -> None:
    """Wait until the indexes have all of them. Raises `StorageError` when they do not within a minute."""
    for _ in range(WAITS):
        if not ids or await wait_for(memory.core, ids):
            return
    raise StorageError(
        f"{len(ids)} memories are not in the vector index after a minute; see `mneme memory verify`, then resume"
    )
