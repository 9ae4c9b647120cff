"""What ranking needs to know of measured usefulness: for each memory its effect, and what one unit of doubt is worth.

Source: design usefulness, "Use".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Draws:
    """`effects`: by memory id, a draw from its posterior, or the posterior's mean; `prior_sd`: of a memory that was never
    measured. A memory without an effect is at the prior's mean, which moves nothing."""

    effects: Mapping[str, float]
    prior_sd: float


class Measured(Protocol):
    """Knows how much memories helped (memory/usefulness.py)."""

    async def draws(self, vault_ids: Sequence[str], memory_ids: Sequence[str], seed: int | None) -> Draws:
        """Effects of the memories; drawn with the seed, or the means without one."""
        ...
