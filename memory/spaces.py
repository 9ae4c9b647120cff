"""The spaces of vectors that are in use: for each embedding profile its encoder and its index.

One is active: questions go there. Writes go to every one that is building, active or draining, so that switching to
another encoder, and back, needs no pause. Which is which stands in SQL (memory/profiles.py); this is what the process
has open. Source: memos §3.13, §5 (embedding model changes); ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import numpy as np
from numpy.typing import NDArray

from memory.encoders.base import Encoder, Profile
from memory.indices.base import Filter, VectorHit, VectorIndex
from memory.store import Vectors
from runtime.errors import ModelError, SettingsError
from runtime.telemetry import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Space:
    """An open profile: `id` and `slug` are those of its row in `embedding_profiles`."""

    id: str
    slug: str
    encoder: Encoder
    index: VectorIndex

    async def aclose(self) -> None:
        """Close the index, then the encoder."""
        await self.index.aclose()
        await self.encoder.aclose()


class Spaces:
    """What is open. Changing it is one assignment, so whoever looks sees the spaces before or the spaces after."""

    def __init__(self, active: Space, others: Sequence[Space] = ()) -> None:
        self._written = (active, *others)
        # Whoever opens and closes spaces holds it, or one index would be opened twice.
        self.changing = anyio.Lock()

    @property
    def active(self) -> Space:
        """Where questions go. It may be another one the next time: whoever uses it twice keeps it."""
        return self._written[0]

    @property
    def written(self) -> tuple[Space, ...]:
        """Where writes go, the active one first."""
        return self._written

    def switch(self, active: Space, others: Sequence[Space]) -> None:
        """Use these from here on."""
        self._written = (active, *others)

    async def aclose(self) -> None:
        """Close every space."""
        for space in self._written:
            await space.aclose()

    async def documents(self, texts: Sequence[str]) -> list[Vectors]:
        """For each text its unit vector in every space that is written, by profile id.

        Profiles that differ only in their index share a vector. What another space than the active one cannot give is
        left out, and made later by the relay. Raises `ModelError`, `SettingsError` when the active encoder fails.
        """
        spaces = self._written
        made: dict[Profile, NDArray[np.float32]] = {}
        rows: dict[str, NDArray[np.float32]] = {}
        for space in spaces:
            known = space.encoder.profile
            if known not in made:
                try:
                    made[known] = await space.encoder.encode(texts, role="doc")
                except (ModelError, SettingsError) as error:
                    if space is spaces[0]:
                        raise
                    log.warning("memory.not_embedded", space=space.slug, count=len(texts), error=error.message)
                    continue
            rows[space.id] = made[known]
        return [{profile: given[place] for profile, given in rows.items()} for place in range(len(texts))]

    async def nearest(self, question: str, limit: int, where: Filter) -> list[VectorHit]:
        """What the active index finds for the question, best first. Encoder and index are of one space, also while the
        active one changes. Raises `ModelError`, `SettingsError` (the encoder), `StorageError` (the index)."""
        space = self.active
        (vector,) = await space.encoder.encode([question], role="query")
        return await space.index.search(vector, limit, where)
