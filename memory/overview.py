"""How the memories of a person's own vaults stand, in numbers: what there is, what came in, what waits for the index.

What admission dropped is told to the writer and kept nowhere, so it is in none of these numbers. Source: design ui (Home).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import and_, case, func, select

from memory.core import Core
from memory.tables import MemoryRow, OutboxRow, ReviewRow, VaultRow
from memory.tx import Tx
from memory.types import LIVE, Actor

DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Overview:
    """`recorded`: memories of each day, the oldest first. `held`: those of these days that went into the inbox, by what
    became of the question. `vectors`: live memories by the state of their vector. `oldest_waiting`: since when the first
    of the `waiting` index operations waits; `failing` of them were tried in vain."""

    states: Mapping[str, int]
    recorded: tuple[tuple[date, int], ...]
    held: Mapping[str, int]
    vectors: Mapping[str, int]
    waiting: int
    failing: int
    oldest_waiting: datetime | None

    @property
    def live(self) -> int:
        """Memories that are in use."""
        return sum(count for state, count in self.states.items() if state in LIVE)


async def overview(core: Core, actor: Actor) -> Overview:
    """The numbers of the vaults that the actor owns. Raises `StorageError`."""
    return await core.read(actor, _read)


def _read(tx: Tx) -> Overview:
    own = select(VaultRow.id).where(VaultRow.owner_id == tx.actor.user_id, VaultRow.deleted_at.is_(None))
    of_own = MemoryRow.vault_id.in_(own)
    run = tx.connection.execute
    today = tx.now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    on_day = [
        func.sum(
            case((and_(MemoryRow.recorded_at >= day, MemoryRow.recorded_at < day + timedelta(days=1)), 1), else_=0)
        )
        for day in days
    ]
    counts = run(select(*on_day).where(of_own, MemoryRow.recorded_at >= days[0])).one()
    waiting = run(
        select(func.count(), func.count(OutboxRow.error), func.min(MemoryRow.updated_at))
        .select_from(OutboxRow)
        .join(MemoryRow, MemoryRow.id == OutboxRow.memory_id)
        .where(of_own)
    ).one()
    states = run(select(MemoryRow.state, func.count()).where(of_own).group_by(MemoryRow.state))
    vectors = run(
        select(MemoryRow.vector_state, func.count())
        .where(of_own, MemoryRow.state.in_(LIVE))
        .group_by(MemoryRow.vector_state)
    )
    held = run(
        select(ReviewRow.state, func.count())
        .where(ReviewRow.vault_id.in_(own), ReviewRow.kind == "quarantine", ReviewRow.created_at >= days[0])
        .group_by(ReviewRow.state)
    )
    return Overview(
        states={row[0]: row[1] for row in states},
        recorded=tuple((day.date(), int(count or 0)) for day, count in zip(days, counts, strict=True)),
        held={row[0]: row[1] for row in held},
        vectors={row[0]: row[1] for row in vectors},
        waiting=waiting[0],
        failing=waiting[1],
        oldest_waiting=waiting[2],
    )
