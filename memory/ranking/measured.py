"""What ranking needs to know of measured usefulness: for each memory its effect, and what one unit of doubt is worth.

Source: design usefulness, "Use".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Draws:
    """`effects`: by memory id, the mean of its posterior beyond that of a memory that was never measured; `doubts`: what a
    draw from the posterior adds to the mean (Thompson); `prior_sd`: the doubt about a memory that was never measured. A
    memory without an entry is moved by nothing."""

    effects: Mapping[str, float]
    prior_sd: float
    doubts: Mapping[str, float] = field(default_factory=dict)


class Measured(Protocol):
    """Knows how much memories helped (memory/measuring/usefulness.py)."""

    async def draws(self, vault_ids: Sequence[str], memory_ids: Sequence[str], seed: int | None) -> Draws:
        """Effects of the memories, and with a seed their doubts."""
        ...
