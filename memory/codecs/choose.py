"""Which codec to take: what each costs, what it keeps, and the best that fits a limit.

Source: embedding_storage §3 (choice), §6; Huerga-Pérez et al. 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """A codec with its size and a quality (recall or nDCG on own questions, higher is better)."""

    name: str
    bytes_per_vector: int
    quality: float


@dataclass(frozen=True, slots=True)
class Choice:
    """`chosen` is None when none fits. `front`: the options that no smaller or equal one beats, smallest first."""

    chosen: Option | None
    front: tuple[Option, ...]


def choose(options: Sequence[Option], *, vectors: int, limit_bytes: int, least_quality: float | None = None) -> Choice:
    """The option of the highest quality whose `vectors` rows fit into `limit_bytes`; of equals the smaller."""
    best = front(options)
    fitting = [
        option
        for option in best
        if option.bytes_per_vector * vectors <= limit_bytes
        and (least_quality is None or option.quality >= least_quality)
    ]
    return Choice(max(fitting, key=lambda option: option.quality, default=None), best)


def front(options: Sequence[Option]) -> tuple[Option, ...]:
    """The options worth having: each is better than every one that is not larger."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda option: (option.bytes_per_vector, -option.quality, option.name)):
        if not kept or option.quality > kept[-1].quality:
            kept.append(option)
    return tuple(kept)
