"""Two vaults beside each other: what both say in the same words, what only one has, and where they say different things of
the same attribute of the same subject. Compared are the live memories that the actor may see. Source: design ui (Vaults).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.orm import InstrumentedAttribute

from memory import access, rows
from memory.access import Access
from memory.core import Core
from memory.tables import MemoryRow
from memory.text import normalise
from memory.tx import Tx
from memory.types import LIVE, Actor, MemCube
from memory.vault import grants

MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Contrast:
    """At most `MOST` of each list; the counts are of all. `differ` are pairs (of the first vault, of the second)."""

    both: int
    only_first: tuple[MemCube, ...]
    only_second: tuple[MemCube, ...]
    differ: tuple[tuple[MemCube, MemCube], ...]
    count_first: int
    count_second: int
    count_differ: int


async def contrast(core: Core, actor: Actor, first: str, second: str) -> Contrast:
    """Compare two vaults. Raises `UnknownName` for one that the actor may not read."""
    await core.default_vault(actor)

    def work(tx: Tx) -> tuple[Contrast, list[Access]]:
        allowed = [access.vault(tx, ref, "read") for ref in (first, second)]
        return _compared(tx, *(_told(tx, each) for each in allowed)), allowed

    found, allowed = await core.read(actor, work)
    await grants.count_reads(core, actor, allowed)
    return found


def _told(tx: Tx, allowed: Access) -> list[Row[Any]]:
    columns: tuple[InstrumentedAttribute[Any], ...] = (
        MemoryRow.seq,
        MemoryRow.content_hash,
        MemoryRow.semantic_type,
        MemoryRow.subject,
        MemoryRow.attribute,
        MemoryRow.sensitivity,
    )
    query = select(*columns).where(MemoryRow.vault_id == allowed.vault.id, MemoryRow.state.in_(sorted(LIVE)))
    found = tx.connection.execute(query.order_by(MemoryRow.seq.desc())).all()
    return [row for row in found if allowed.sees(row.sensitivity)]


def _compared(tx: Tx, first: Sequence[Row[Any]], second: Sequence[Row[Any]]) -> Contrast:
    words = {row.content_hash for row in first} & {row.content_hash for row in second}
    mine = [row for row in first if row.content_hash not in words]
    theirs = [row for row in second if row.content_hash not in words]
    by_slot: Mapping[tuple[str, ...], list[int]] = defaultdict(list)
    for row in theirs:
        if (slot := _slot(row)) is not None:
            by_slot[slot].append(row.seq)
    pairs = [(row.seq, by_slot[slot][0]) for row in mine if (slot := _slot(row)) is not None and slot in by_slot]
    paired = {seq for pair in pairs for seq in pair}
    alone = [[row.seq for row in side if row.seq not in paired] for side in (mine, theirs)]
    shown = {*alone[0][:MOST], *alone[1][:MOST], *(seq for pair in pairs[:MOST] for seq in pair)}
    cubes = rows.cubes_by_seq(tx, sorted(shown))
    return Contrast(
        len(words),
        tuple(cubes[seq] for seq in alone[0][:MOST]),
        tuple(cubes[seq] for seq in alone[1][:MOST]),
        tuple((cubes[a], cubes[b]) for a, b in pairs[:MOST]),
        len(alone[0]),
        len(alone[1]),
        len(pairs),
    )


def _slot(row: Row[Any]) -> tuple[str, ...] | None:
    if not (row.subject and row.attribute):
        return None
    return (row.semantic_type, normalise(row.subject), normalise(row.attribute))
