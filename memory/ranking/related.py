"""What recall asks of the hypergraph: the memories that share entities with others. Source: design storage §5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Neighbour(Protocol):
    """A memory that was reached, by its short key; the score is comparable within one answer."""

    @property
    def seq(self) -> int: ...

    @property
    def score(self) -> float: ...


class Related(Protocol):
    """Walks the graph (memory/indices/hypergraph.py)."""

    async def related(
        self, seeds: Mapping[int, float], *, entities: Mapping[int, float] = ..., limit: int
    ) -> Sequence[Neighbour]:
        """At most `limit` memories near the seeds (by short key) and the entities (by id), each with its weight, best
        first; seeds are left out. Raises `StorageError`."""
        ...
