"""The memories of a recall once more, as they were then: for a run that goes on after its process died.

A run's log and steps hold ids and versions of memories and never their text, so that a text that is erased is gone. The
access decision is taken again; a memory that may not be seen any more, or that is gone, is left out. Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memory import access, rows, versions
from memory.lifecycle import lifetime_over
from memory.tx import Tx
from memory.types import MemCube


def revisited(tx: Tx, vaults: Sequence[str], wanted: Mapping[str, int]) -> dict[str, MemCube]:
    """The memories by id, each in the wanted version. Raises `UnknownName` for a vault that may not be read any more."""
    allowed = {item.vault.id: item for item in access.vaults(tx, vaults, "read")}
    found: dict[str, MemCube] = {}
    for memory_id, cube in rows.cubes(tx, sorted(wanted)).items():
        seen = allowed.get(cube.vault_id)
        if seen is None or not seen.sees(cube.sensitivity) or cube.state in ("deleted", "expired"):
            continue
        if lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now):
            continue
        found[memory_id] = cube
        if cube.version != wanted[memory_id]:
            found[memory_id] = versions.restored(cube, versions.at_version(tx, memory_id, wanted[memory_id]))
    return found
