"""The late check: what an index named is read again, and shown only if the scope sees it.

A raw memory gives way to what was extracted from it when both are hits. Source: memos §3.2 (4), §2.5; design storage §6.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from memory import rows
from memory.ranking.pool import as_they_were
from memory.ranking.scope import Scope
from memory.tables import EdgeRow, MemoryRow
from memory.tx import Tx
from memory.types import MemCube


def visible(tx: Tx, scope: Scope, seqs: Sequence[int], enough: int) -> tuple[list[MemCube], int]:
    """The memories with these short keys that are shown, in their order, as soon as there are `enough`; and how many of
    those that were read are not."""
    shown: list[MemCube] = []
    refused = 0
    for start in range(0, len(seqs), enough):
        part = seqs[start : start + enough]
        seen = {cube.seq: cube for cube in as_they_were(tx, scope, rows.cubes_by_seq(tx, part))}
        refused += len(part) - len(seen)
        shown = without_raw(tx, [*shown, *(seen[seq] for seq in part if seq in seen)])
        if len(shown) >= enough:
            break
    return shown, refused


def without_raw(tx: Tx, cubes: Sequence[MemCube]) -> list[MemCube]:
    """The memories without raw ones of which an extracted child is among them."""
    raw = [cube.id for cube in cubes if cube.state == "generated"]
    if not raw:
        return list(cubes)
    edges = select(EdgeRow.dst_id).where(
        EdgeRow.type == "DERIVED_FROM", EdgeRow.dst_id.in_(raw), EdgeRow.src_id.in_([cube.id for cube in cubes])
    )
    told = set(tx.connection.execute(edges).scalars())
    return [cube for cube in cubes if cube.id not in told]


def refused(tx: Tx, seqs: Sequence[int], ids: Sequence[str], kept: Sequence[tuple[int, str]]) -> int:
    """How many memories the indexes named, by short key or id, that are not among `kept`; one that both named is one."""
    left_seqs = set(seqs) - {seq for seq, _ in kept}
    left_ids = list(set(ids) - {memory_id for _, memory_id in kept})
    for start in range(0, len(left_ids), rows.IN_ONE_QUERY):
        part = left_ids[start : start + rows.IN_ONE_QUERY]
        known = tx.connection.execute(select(MemoryRow.seq, MemoryRow.id).where(MemoryRow.id.in_(part))).all()
        left_seqs |= {row.seq for row in known}
        left_seqs |= {-1 - start - place for place in range(len(part) - len(known))}
    return len(left_seqs)
