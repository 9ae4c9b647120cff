"""The late check: what an index named is read again, and shown only if the scope sees it.

A raw memory gives way to what was extracted from it when both are hits. Source: memos §3.2 (4), §2.5; design storage §6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from memory import rows
from memory.ranking import statements
from memory.ranking.pool import as_they_were
from memory.ranking.scope import Scope
from memory.ranking.statements import Key, listed
from memory.tables import EdgeRow
from memory.tx import Tx
from memory.types import MemCube


@dataclass(frozen=True, slots=True)
class Shown:
    """Memories that are shown, and the short keys of those that were read and are not."""

    cubes: list[MemCube]
    refused: frozenset[int]


def visible(tx: Tx, scope: Scope, seqs: Sequence[int], enough: int) -> Shown:
    """The memories with these short keys that are shown, in their order, as soon as there are `enough`."""
    shown: list[MemCube] = []
    refused: set[int] = set()
    for start in range(0, len(seqs), enough):
        part = seqs[start : start + enough]
        read = tx.connection.execute(statements.cubes(tx.dialect), {"keys": listed(tx.dialect, part)}).all()
        cubes = {row.seq: rows.cube(row, tx.now) for row in read}
        seen = {cube.seq: cube for cube in as_they_were(tx, scope, cubes)}
        refused.update(seq for seq in part if seq not in seen)
        shown = without_raw(tx, [*shown, *(seen[seq] for seq in part if seq in seen)])
        if len(shown) >= enough:
            break
    return Shown(shown, frozenset(refused))


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


def dropped(tx: Tx, scope: Scope, seqs: Sequence[int], ids: Sequence[str], left: Mapping[int, str]) -> int:
    """How many memories the indexes named, by short key or id, that are not among those `left` (ids by short key).

    Only what the caller may read counts: a number that grows with what is hidden would disclose it.
    """
    counted: set[int] = set()
    missing: tuple[tuple[Key, Sequence[Any]], ...] = (
        ("seq", sorted(set(seqs) - left.keys())),
        ("id", sorted(set(ids) - set(left.values()))),
    )
    for key, keys in missing:
        if keys:
            found = tx.connection.execute(statements.hidden(tx.dialect, key), {"keys": listed(tx.dialect, keys)})
            counted.update(row.seq for row in found if scope.may_read(row.vault_id, row.sensitivity))
    return len(counted)
