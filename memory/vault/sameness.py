"""Which memories of two vaults say the same, decided by rule and without a model.

A pair is looked at when its vectors or its fingerprints are near; then the rule of admission decides, which lets another
number, name or denial make another claim. Vectors come from SQL, so that no index has to be up to date; the vault is
compared `COMPARED` memories at a time. Source: memos §3.3 (3), §3.9; ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from memory import profiles, rows
from memory.admitting.admission import CLAIMS, SAME_BITS, SAME_COSINE, Other, is_near_duplicate
from memory.codecs import blob
from memory.tables import BlobRow, EdgeRow, MemoryRow
from memory.text import normalise
from memory.tx import Tx
from memory.types import SEARCHABLE, MemCube
from runtime.errors import StorageError
from runtime.telemetry import get_logger

COMPARED: Final = 2000

log = get_logger(__name__)


def say_the_same(tx: Tx, fresh: Sequence[MemCube], vault_id: str, source_id: str) -> list[tuple[str, str]]:
    """Pairs (new, there) of memories that say the same, the most similar first. `fresh` came from `source_id`; what else did
    is not compared."""
    claims = [cube for cube in fresh if cube.semantic_type in CLAIMS]
    # A text that has its place in a conversation is another memory at another place.
    loose = select(MemoryRow.seq).where(MemoryRow.placed.is_(False))
    mine = _prints(tx, loose.where(MemoryRow.seq.in_([cube.seq for cube in claims])))
    by_seq = {cube.seq: cube for cube in claims}
    came = (
        select(EdgeRow.src_id)
        .join(MemoryRow, MemoryRow.id == EdgeRow.dst_id)
        .where(EdgeRow.type == "DERIVED_FROM", MemoryRow.vault_id == source_id)
    )
    there = (
        select(MemoryRow.seq)
        .where(MemoryRow.vault_id == vault_id, MemoryRow.state == "activated")
        .where(MemoryRow.semantic_type.in_(sorted(CLAIMS)), MemoryRow.placed.is_(False), MemoryRow.id.not_in(came))
        .order_by(MemoryRow.seq)
        .limit(COMPARED)
    )
    pairs: list[tuple[float, str, str]] = []
    after = 0
    while mine.seqs:
        theirs = _prints(tx, there.where(MemoryRow.seq > after))
        if not theirs.seqs:
            break
        after = theirs.seqs[-1]
        near = [(mine.seqs[i], theirs.seqs[j], float(cosine)) for i, j, cosine in _near(mine, theirs)]
        others = rows.cubes_by_seq(tx, sorted({seq for _, seq, _ in near}))
        for my_seq, seq, cosine in near:
            new, other = by_seq[my_seq], others[seq]
            if _one_slot(new, other) and is_near_duplicate(new.content, Other(other.id, other.content, cosine)):
                pairs.append((-cosine, new.id, other.id))
    return [(new, other) for _, new, other in sorted(pairs)]


def same_within(tx: Tx, vault_id: str) -> list[tuple[str, str]]:
    """Pairs (newer, older) of the newest `COMPARED` claims in use of one vault that say the same, the most similar first."""
    newest = (
        select(MemoryRow.seq)
        .where(MemoryRow.vault_id == vault_id, MemoryRow.state.in_(sorted(SEARCHABLE)), MemoryRow.placed.is_(False))
        .where(MemoryRow.semantic_type.in_(sorted(CLAIMS)))
        .order_by(MemoryRow.seq.desc())
        .limit(COMPARED)
    )
    mine = _prints(tx, newest)
    near = [(mine.seqs[i], mine.seqs[j], cosine) for i, j, cosine in _near(mine, mine) if i > j]
    cubes = rows.cubes_by_seq(tx, sorted({seq for new, old, _ in near for seq in (new, old)}))
    pairs: list[tuple[float, str, str]] = []
    for new_seq, old_seq, cosine in near:
        new, old = cubes[new_seq], cubes[old_seq]
        if _one_slot(new, old) and is_near_duplicate(new.content, Other(old.id, old.content, cosine)):
            pairs.append((-cosine, new.id, old.id))
    return [(new, old) for _, new, old in sorted(pairs)]


@dataclass(frozen=True, slots=True)
class _Prints:
    """What makes memories comparable: fingerprints, and unit vectors of the active profile (zero where there is none)."""

    seqs: list[int]
    simhashes: NDArray[np.int64]
    vectors: NDArray[np.float32]


def _prints(tx: Tx, which: Any) -> _Prints:
    query = select(MemoryRow.seq, MemoryRow.simhash).where(MemoryRow.seq.in_(which.subquery().select()))
    found = tx.connection.execute(query.order_by(MemoryRow.seq)).all()
    seqs = [row.seq for row in found]
    active = profiles.active(tx.connection)
    vectors = np.zeros((len(seqs), active.space.dim if active else 1), np.float32)
    if active is not None:
        numbers = {seq: number for number, seq in enumerate(seqs)}
        stored = select(BlobRow.__table__).where(BlobRow.memory_seq.in_(seqs), BlobRow.profile_id == active.id)
        for row in tx.connection.execute(stored):
            vector = stored_vector(row, active.space.dim)
            if vector is not None:
                vectors[numbers[row.memory_seq]] = vector
    return _Prints(seqs, np.array([row.simhash or 0 for row in found], np.int64), vectors)


def _near(mine: _Prints, theirs: _Prints) -> Iterable[tuple[int, int, float]]:
    cosines = mine.vectors @ theirs.vectors.T
    bits = np.bitwise_count((mine.simhashes[:, None] ^ theirs.simhashes[None, :]).view(np.uint64))
    for i, j in np.argwhere((cosines >= SAME_COSINE) | (bits <= SAME_BITS)):
        yield int(i), int(j), float(cosines[i, j])


def _one_slot(a: MemCube, b: MemCube) -> bool:
    def slot(cube: MemCube) -> tuple[str, str] | None:
        return (normalise(cube.subject), normalise(cube.attribute)) if cube.subject and cube.attribute else None

    return a.semantic_type == b.semantic_type and (slot(a) is None or slot(b) is None or slot(a) == slot(b))


def stored_vector(row: Any, dim: int) -> NDArray[np.float32] | None:
    """The vector of a row of `embedding_blobs`; None for a damaged one, which the relay makes again."""
    try:
        return blob.decode(row.data, row.crc32, dim)
    except StorageError as error:
        log.warning("memory.damaged_vector", memory_seq=row.memory_seq, profile=row.profile_id, error=error.message)
        return None
