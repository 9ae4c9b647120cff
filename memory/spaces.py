"""The spaces of vectors that are in use: for each embedding profile its encoder and its index.

One is active: queries go there. Writes go to every one that is building, active or draining, so that switching to
another encoder, and back, needs no pause. Which is which stands in SQL (memory/profiles.py); this is what the process
has open. Source: memos §3.13, §5 (embedding model changes); ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memory.encoders.base import Encoder
from memory.indices.base import Vector, VectorIndex
from memory.store import Vectors


@dataclass(frozen=True, slots=True)
class Space:
    """An open profile: `id` is the row of `embedding_profiles`."""

    id: str
    encoder: Encoder
    index: VectorIndex

    @property
    def slug(self) -> str:
        """The name of the profile, of its folder and of its collection."""
        return self.encoder.profile.slug


class Spaces:
    """What is open. Changing it is one assignment, so a search sees the space before or the space after."""

    def __init__(self, active: Space, others: Sequence[Space] = ()) -> None:
        self._active = active
        self._others = tuple(others)

    @property
    def active(self) -> Space:
        """Where queries go."""
        return self._active

    @property
    def written(self) -> tuple[Space, ...]:
        """Where writes go, the active one first."""
        return (self._active, *self._others)

    def switch(self, active: Space, others: Sequence[Space]) -> None:
        """Use these from here on."""
        self._active, self._others = active, tuple(others)

    async def documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its unit vector in every space that is written, by profile id. Raises `ModelError`."""
        made = [(space.id, await space.encoder.encode(texts, role="doc")) for space in self.written]
        return [{profile: rows[place] for profile, rows in made} for place in range(len(texts))]

    async def query(self, text: str) -> Vector:
        """The unit vector of a question in the active space. Raises `ModelError`."""
        rows = await self._active.encoder.encode([text], role="query")
        return np.asarray(rows[0], np.float32)
