"""Where a memory was recalled: the runs that found it, at which place, whether it was shown, and what came of the run.

Read from the logs of the actor's own runs, the newest first; a run of somebody else is not told. Source: design ui
(Memory); design usefulness ("Show").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, func, select

from memory import access
from memory.core import Core
from memory.rows import IN_ONE_QUERY
from memory.tables import MeasureRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import Gone
from runtime.tables import Run, RunEvent

MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Recalled:
    """One `memory.read` of a log. `rank`: its place among what the same recall gave the unit; `outcome`: the mean outcome
    of the run's units on the same side, by kind, when the run was counted."""

    run_id: str
    agent: str
    status: str
    seq: int
    at: datetime
    version: int
    unit: str
    rank: int
    score: float
    why: str
    shown: Literal["shown", "held_out"]
    p: float
    outcomes: tuple[tuple[str, float], ...]


async def recalled(core: Core, actor: Actor, memory_id: str) -> list[Recalled]:
    """The last `MOST` times that a run of the actor found the memory. Raises `UnknownName`, `Gone`."""

    def work(tx: Tx) -> list[Recalled]:
        cube, _ = access.memory(tx, memory_id, "read")
        if cube.state in ("deleted", "expired"):
            raise Gone(f"memory {memory_id!r} was deleted or has expired")
        return _found(tx, memory_id)

    return await core.read(actor, work)


async def runs_of(core: Core, actor: Actor, ids: Sequence[str]) -> dict[str, int]:
    """In how many runs the worth of each of these memories was measured; the caller was allowed to see them already."""

    def work(tx: Tx) -> dict[str, int]:
        counts: dict[str, int] = {}
        for start in range(0, len(ids), IN_ONE_QUERY):
            query = (
                select(MeasureRow.memory_id, func.count(MeasureRow.run_id.distinct()).label("n"))
                .where(MeasureRow.memory_id.in_(ids[start : start + IN_ONE_QUERY]))
                .group_by(MeasureRow.memory_id)
            )
            counts |= {row.memory_id: row.n for row in tx.connection.execute(query)}
        return counts

    return await core.read(actor, work)


def _found(tx: Tx, memory_id: str) -> list[Recalled]:
    columns = (RunEvent.run_id, RunEvent.seq, RunEvent.at, RunEvent.step, RunEvent.data, Run.agent, Run.status)
    reads = (
        select(*columns)
        .join(Run, Run.id == RunEvent.run_id)
        .where(Run.owner == tx.actor.user_id, RunEvent.type == "memory.read", RunEvent.voided.is_(False))
        .order_by(RunEvent.run_id.desc(), RunEvent.seq)
    )
    mine = [
        row
        for row in tx.connection.execute(reads.where(RunEvent.data.contains(memory_id, autoescape=True)).limit(MOST))
        if row.data["id"] == memory_id
    ]
    ranks: dict[tuple[str, int], int] = {}
    counted: dict[tuple[str, str | None, str], int] = defaultdict(int)
    runs = {row.run_id for row in mine}
    for row in tx.connection.execute(reads.where(RunEvent.run_id.in_(runs))):
        place = (row.run_id, row.step, row.data["unit"])
        counted[place] += 1
        ranks[row.run_id, row.seq] = counted[place]
    outcomes: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in tx.connection.execute(
        select(MeasureRow.__table__).where(MeasureRow.memory_id == memory_id, MeasureRow.run_id.in_(runs))
    ):
        outcomes[row.run_id].append(row)
    return [_one(row, ranks[row.run_id, row.seq], outcomes[row.run_id]) for row in mine]


def _one(row: Row[Any], rank: int, measures: Sequence[Row[Any]]) -> Recalled:
    read = row.data
    side = "outcome_shown" if read["shown"] == "shown" else "outcome_held_out"
    told = tuple((each.kind, float(getattr(each, side))) for each in measures if getattr(each, side) is not None)
    return Recalled(
        row.run_id,
        row.agent,
        row.status,
        row.seq,
        row.at,
        read["version"],
        read["unit"],
        rank,
        read["score"],
        read["why"],
        read["shown"],
        read["p"],
        told,
    )
