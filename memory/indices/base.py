"""What an index of vectors is: points that carry the version of the memory they were made from.

An index is a cache of SQL. Writers may be late, so a write is conditional: the version that is there stays unless the
new one is higher. A removed memory stays as a tombstone, which is a version like any other, until no writer can be left
that has not heard of it; only then the point itself goes. Payloads never hold text: a leaked or stale point discloses
nothing. Source: memos §2.3, §3.13.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from memory.types import SEARCHABLE, Kind, MemCube, SemanticType, State
from runtime.errors import InvalidInput

Vector = NDArray[np.float32]
UNIT_SLACK = 1e-2


@dataclass(frozen=True, slots=True)
class Payload:
    """What a point can be filtered by."""

    vault_id: str
    state: State
    kind: Kind
    semantic_type: SemanticType
    tags: tuple[str, ...] = ()
    session_id: str | None = None


class VectorOp(NamedTuple):
    """Version `version` of a memory has this unit vector; None: it must no longer be found."""

    memory_id: str
    version: int
    vector: Vector | None
    payload: Payload


@dataclass(frozen=True, slots=True)
class Filter:
    """Which points count. Empty `semantic_types` and `tags`, and None, mean any; of `tags` one must be there.

    Empty `vault_ids` match nothing: a filter that was forgotten must not open every vault.
    """

    vault_ids: tuple[str, ...]
    states: frozenset[State] | None = field(default=SEARCHABLE)
    semantic_types: tuple[SemanticType, ...] = ()
    tags: tuple[str, ...] = ()
    session_id: str | None = None


class VectorHit(NamedTuple):
    """A point that was found: cosine similarity, and the version that it shows."""

    memory_id: str
    score: float
    version: int


class PointVersion(NamedTuple):
    """What is known of a point without its vector."""

    memory_id: str
    version: int
    tombstone: bool


class VectorIndex(Protocol):
    """One space of vectors. Safe to call from many tasks of one event loop."""

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        """Write the ops in order; doing it twice changes nothing. A version that is not higher than the one there is
        ignored. When it returns, the ops survive the death of the process (where the index is kept on disk).

        Raises `InvalidInput` for a vector of another size or with a value that is not finite, `StorageError` when the
        index cannot be written; then the ops before may or may not be there, and the caller does it again.
        """
        ...

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        """The points most similar to the unit vector, best first, never a tombstone. Raises as `apply` does."""
        ...

    def versions(self) -> AsyncIterator[PointVersion]:
        """Every point there is, tombstones included, in no order."""
        ...

    async def remove(self, ids: Sequence[str]) -> None:
        """Take the points away physically. Only for tombstones after the grace (memory/reconcile.py), and erasure."""
        ...

    async def count(self) -> int:
        """How many points there are, tombstones included."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...


def payload_of(cube: MemCube) -> Payload:
    """What the point of a memory carries."""
    return Payload(cube.vault_id, cube.state, cube.kind, cube.semantic_type, cube.tags, cube.session_id)


def checked(vector: Vector, dim: int, what: str) -> Vector:
    """The vector as float32 of `dim` values. Raises `InvalidInput`."""
    made = np.asarray(vector, np.float32)
    if made.shape != (dim,):
        raise InvalidInput(f"{what}: vector of shape {made.shape}, expected ({dim},); it is of another profile")
    norm = float(np.linalg.norm(made))
    if not abs(norm - 1.0) <= UNIT_SLACK:  # also when it is not a number
        raise InvalidInput(
            f"{what}: vector of length {norm:.4g}, expected a unit vector; normalise it when it is encoded"
        )
    return made
