"""Units: who is shown what. A unit is a sample, rollout or thread that gets a prompt of its own. Pure.

The memories that a recall gave are what every unit would be shown. Each of them is held out of a unit with a small
chance, which its run, the unit and the memory decide alone; so units differ by chance, and their outcomes tell what a
memory does. Pinned memories, and those of a vault that is not measured, are shown to every unit. Now and then one unit
of a run goes without any measured memory: that is how the lift of the store is known. Source: design usefulness,
"Design", "Use".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memory.measuring.experiment import free_unit, held_out_share, shown
from memory.types import MemCube

ALWAYS = 1.0
NEVER = 0.0


@dataclass(frozen=True, slots=True)
class Draw:
    """Whether a unit is shown a memory, and how probable that was: 1 it always is, 0 the unit goes without any."""

    unit: str
    memory_id: str
    version: int
    shown: bool
    p: float

    @property
    def measured(self) -> bool:
        """Whether it could have come out the other way."""
        return NEVER < self.p < ALWAYS


def plan(
    cubes: Sequence[MemCube],
    units: Sequence[str],
    *,
    seed: int,
    explore: float | None = None,
    vaults: Mapping[str, float | None] | None = None,
) -> tuple[Draw, ...]:
    """Draw for every unit and memory, in their order. The same seed gives the same draws, whatever else there is.

    `explore`: what the run asks for, `vaults`: what each vault says; see `held_out_share`. 0 shows everything.
    """
    shares = vaults or {}
    held_out = {
        cube.id: 0.0 if cube.pinned else held_out_share(len(units), shares.get(cube.vault_id), explore)
        for cube in cubes
    }
    free = free_unit(seed, units) if any(held_out.values()) else None
    draws: list[Draw] = []
    for unit in units:
        for cube in cubes:
            share = held_out[cube.id]
            if share <= 0:
                draws.append(Draw(unit, cube.id, cube.version, True, ALWAYS))
            elif unit == free:
                draws.append(Draw(unit, cube.id, cube.version, False, NEVER))
            else:
                p = round(1 - share, 6)
                draws.append(Draw(unit, cube.id, cube.version, shown(seed, unit, cube.id, p), p))
    return tuple(draws)
