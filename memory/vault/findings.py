"""What in a vault deserves a look: near duplicates, suspected echoes, contradictions, and what was never recalled.

Facts for a person; nothing is changed. A suspected echo is a near duplicate that a model drew after the memory it repeats
was there. The newest `COMPARED` claims are compared. Source: design ui (Vaults); memos §3.3, §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from memory import access, rows
from memory.core import Core
from memory.tables import EdgeRow, MemoryRow, MemoryUse
from memory.tx import Tx
from memory.types import SEARCHABLE, Actor, MemCube
from memory.vault.sameness import same_within

MOST: Final = 50
IDLE_AFTER: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two memories; `newer` was recorded later."""

    newer: MemCube
    older: MemCube


@dataclass(frozen=True, slots=True)
class Findings:
    """At most `MOST` of each; `never_count` is how many there are in all that the database counts. `idle_days`: so old is
    one that was never recalled at least."""

    duplicates: tuple[Pair, ...]
    echoes: tuple[Pair, ...]
    contradictions: tuple[Pair, ...]
    never_recalled: tuple[MemCube, ...]
    never_count: int
    idle_days: int


async def findings(core: Core, actor: Actor, vault: str) -> Findings:
    """Look through a vault. Raises `UnknownName` for one that the actor may not read."""
    await core.default_vault(actor)

    def work(tx: Tx) -> Findings:
        allowed = access.vault(tx, vault, "read")
        same = _pairs(tx, allowed, same_within(tx, allowed.vault.id))
        echoes = tuple(pair for pair in same if pair.newer.origin == "inference_extraction")
        never, count = _never(tx, allowed)
        return Findings(
            tuple(pair for pair in same if pair not in echoes)[:MOST],
            echoes[:MOST],
            tuple(_pairs(tx, allowed, _contradicting(tx, allowed.vault.id))[:MOST]),
            never,
            count,
            IDLE_AFTER.days,
        )

    return await core.read(actor, work)


def _pairs(tx: Tx, allowed: access.Access, ids: list[tuple[str, str]]) -> list[Pair]:
    cubes = rows.cubes(tx, sorted({one for pair in ids for one in pair}))
    found = []
    for a, b in ids:
        older, newer = sorted((cubes[a], cubes[b]), key=lambda cube: cube.seq)
        if allowed.sees(older.sensitivity) and allowed.sees(newer.sensitivity):
            found.append(Pair(newer, older))
    return found


def _contradicting(tx: Tx, vault_id: str) -> list[tuple[str, str]]:
    src, dst = aliased(MemoryRow), aliased(MemoryRow)
    query = (
        select(EdgeRow.src_id, EdgeRow.dst_id)
        .join(src, src.id == EdgeRow.src_id)
        .join(dst, dst.id == EdgeRow.dst_id)
        .where(EdgeRow.type == "CONTRADICTS", src.vault_id == vault_id, dst.vault_id == vault_id)
        .where(src.state.in_(sorted(SEARCHABLE)), dst.state.in_(sorted(SEARCHABLE)))
        .order_by(EdgeRow.at.desc())
        .limit(MOST)
    )
    return [(row.src_id, row.dst_id) for row in tx.connection.execute(query)]


def _never(tx: Tx, allowed: access.Access) -> tuple[tuple[MemCube, ...], int]:
    where = (
        MemoryRow.vault_id == allowed.vault.id,
        MemoryRow.state.in_(sorted(SEARCHABLE)),
        MemoryRow.recorded_at < tx.now - IDLE_AFTER,
        MemoryRow.id.not_in(select(MemoryUse.memory_id)),
    )
    found = tx.connection.execute(rows.SELECT.where(*where).order_by(MemoryRow.seq).limit(rows.IN_ONE_QUERY))
    cubes = [cube for cube in (rows.cube(row, tx.now) for row in found) if allowed.sees(cube.sensitivity)]
    if allowed.masked:
        # A count over all of them would tell of those that are hidden.
        return tuple(cubes[:MOST]), len(cubes)
    count = tx.connection.execute(select(func.count()).select_from(MemoryRow).where(*where)).scalar_one()
    return tuple(cubes[:MOST]), count
