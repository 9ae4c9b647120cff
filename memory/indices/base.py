"""What an index of vectors is: points that carry the version of the memory they were made from.

An index is a cache of SQL. Writers may be late, so a write is conditional: the version that is there stays unless the
new one is higher. A removed memory stays as a tombstone, which is a version like any other, until no writer can be left
that has not heard of it; only then the point itself goes. Payloads never hold text: a leaked or stale point discloses
nothing. Source: memos §2.3, §3.13.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from memory.types import SEARCHABLE, Kind, MemCube, SemanticType, State
from runtime.errors import InvalidInput, StorageError

Vector = NDArray[np.float32]
UNIT_SLACK = 1e-2
# The fields by which a vector database is asked; the first one parts the vaults.
KEYWORDS = ("vault_id", "state", "semantic_type", "tags", "session_id")


class IndexTaken(StorageError):
    """Another process has the embedded index open."""


# A filter that leaves less than this (65,000 vectors of 384 numbers) is answered by comparing all that it leaves, in a few
# milliseconds. A graph over every vault is no way around in one of them: of 100,000 sentences in ten vaults it found 0.79
# to 0.85 of the true ten, however long it searched; comparing found all of them in the same time.
SCAN_TO_KB: Final = 100_000
# Candidates that a search of a graph keeps.
GRAPH_CANDIDATES: Final = 256


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
        """Take the points away physically. Only for tombstones after the grace (memory/upkeep/reconcile.py), and erasure."""
        ...

    async def count(self) -> int:
        """How many points there are, tombstones included."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...


def newest(ops: Sequence[VectorOp], dim: int) -> list[VectorOp]:
    """What the ops come to when the index is empty: for each memory the one of the highest version, of equal ones the
    first. The vectors are `checked`. Raises `InvalidInput`."""
    found: dict[str, VectorOp] = {}
    for op in ops:
        if op.vector is not None:
            op = op._replace(vector=checked(op.vector, dim, f"memory {op.memory_id!r}"))
        before = found.get(op.memory_id)
        if before is None or op.version > before.version:
            found[op.memory_id] = op
    return list(found.values())


def point_id(memory_id: str) -> str:
    """The UUID in the id of a memory, by which vector databases name its point. Raises `InvalidInput`."""
    prefix, _, digits = memory_id.partition("_")
    try:
        made = UUID(hex=digits)
    except ValueError as error:
        raise InvalidInput(f"memory {memory_id!r}: expected 'mem_' and 32 hexadecimal digits") from error
    if prefix != "mem" or made.hex != digits:
        raise InvalidInput(f"memory {memory_id!r}: expected 'mem_' and 32 hexadecimal digits")
    return str(made)


def memory_id(point: str) -> str:
    """The id of the memory whose point has this UUID."""
    return f"mem_{UUID(point).hex}"


def stored(op: VectorOp) -> dict[str, JsonValue]:
    """The payload of the point in a vector database. A tombstone has nothing that a search asks for."""
    if op.vector is None:
        return {"version": op.version, "tombstone": True}
    filled: dict[str, JsonValue] = {
        "version": op.version,
        "tombstone": False,
        "vault_id": op.payload.vault_id,
        "state": op.payload.state,
        "kind": op.payload.kind,
        "semantic_type": op.payload.semantic_type,
        "tags": list(op.payload.tags),
    }
    return filled if op.payload.session_id is None else filled | {"session_id": op.payload.session_id}


def conditions(where: Filter) -> dict[str, list[str]]:
    """For each field that the filter speaks of the values of which a point must have one. The vault is always among
    them, so a tombstone, which has none, never fits."""
    wanted: dict[str, list[str]] = {"vault_id": list(where.vault_ids)}
    if where.states is not None:
        wanted["state"] = sorted(where.states)
    if where.semantic_types:
        wanted["semantic_type"] = list(where.semantic_types)
    if where.tags:
        wanted["tags"] = list(where.tags)
    if where.session_id is not None:
        wanted["session_id"] = [where.session_id]
    return wanted


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
