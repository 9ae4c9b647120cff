"""Counting a run: from the lines of its log to the sums of the memories it read, once, whoever counts.

The log is the fact: `memory.read` says what was drawn and with which chance, `step.completed` of a unit its outcome, and
that of the recall the centres. One transaction writes the run's row, whose key is why nothing is counted twice, a row for
each memory, and adds to the sums. Sums are whole numbers that the database adds itself, so no order and no two workers at
once can change them, and taking a run out again leaves them as if it had never been. Source: design usefulness,
"Estimate"; ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from memory.measuring.experiment import SCALE, steps
from memory.measuring.lives import lives
from memory.measuring.outcomes import KINDS, NO_CENTRE, OutcomeKind, Problem
from memory.measuring.units import Draw
from memory.tables import EffectRow, LiftRow, MeasuredRunRow, MeasureRow, MemoryRow, OutcomeMeanRow
from memory.tx import Tx
from runtime.tables import Base, Run, RunEvent

Centres = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class RunLog:
    """What the log of a run says about memories. `outcomes`: by kind and unit; `centres`: by vault and kind."""

    run_id: str
    owner: str
    agent: str
    suite: str
    status: str
    draws: tuple[Draw, ...]
    outcomes: Mapping[OutcomeKind, Mapping[str, float]]
    centres: Centres
    vault_of: Mapping[str, str]

    def centre_of(self, kind: OutcomeKind) -> dict[str, float]:
        """The centre of each memory for outcomes of this kind."""
        return {
            memory_id: self.centres.get(vault_id, {}).get(kind, NO_CENTRE)
            for memory_id, vault_id in self.vault_of.items()
        }


def run_log(tx: Tx, run_id: str) -> RunLog | None:
    """Read it; None for a run that there is not. Draws that a fork shares with its parent are left out, because the parent
    has counted them."""
    run = tx.connection.execute(
        select(Run.owner, Run.agent, Run.spec, Run.status, Run.parent_seq).where(Run.id == run_id)
    ).one_or_none()
    if run is None:
        return None
    lines = tx.connection.execute(
        select(RunEvent.seq, RunEvent.type, RunEvent.data)
        .where(RunEvent.run_id == run_id, RunEvent.voided.is_(False))
        .where(RunEvent.type.in_(("memory.read", "step.completed")))
        .order_by(RunEvent.seq)
    ).all()
    draws: dict[tuple[str, str], Draw] = {}
    outcomes: dict[OutcomeKind, dict[str, float]] = defaultdict(dict)
    centres: dict[str, dict[str, float]] = {}
    shared = run.parent_seq or 0
    for line in lines:
        said = line.data
        if line.type == "memory.read":
            if line.seq > shared:
                draw = Draw(said["unit"], said["id"], said["version"], said["shown"] == "shown", said["p"])
                draws.setdefault((draw.unit, draw.memory_id), draw)
        elif said.get("outcome") in KINDS and said.get("score") is not None:
            outcomes[said["outcome"]][said["name"]] = min(1.0, max(0.0, said["score"]))
        elif isinstance(said.get("detail"), dict) and isinstance(said["detail"].get("centres"), dict):
            centres |= said["detail"]["centres"]
    ids = sorted({draw.memory_id for draw in draws.values()})
    # A memory that was purged meanwhile has nothing to be counted for.
    found = tx.connection.execute(
        select(MemoryRow.id, MemoryRow.vault_id).where(MemoryRow.id.in_(ids), MemoryRow.digest_key.is_not(None))
    )
    vault_of = {row.id: row.vault_id for row in found}
    kept = tuple(draw for draw in draws.values() if draw.memory_id in vault_of)
    suite = run.spec.get("suite") or ""
    return RunLog(run_id, run.owner, run.agent, suite, run.status, kept, outcomes, centres, vault_of)


def centres(tx: Tx, vault_ids: Sequence[str], agent: str) -> dict[str, dict[str, float]]:
    """The mean outcome so far of the agent in runs that read each vault, by kind; nothing where there was none."""
    query = select(OutcomeMeanRow.__table__).where(
        OutcomeMeanRow.vault_id.in_(vault_ids), OutcomeMeanRow.agent == agent, OutcomeMeanRow.n > 0
    )
    found: dict[str, dict[str, float]] = {}
    for row in tx.connection.execute(query):
        found.setdefault(row.vault_id, {})[row.kind] = row.total / (row.n * SCALE)
    return found


def count(tx: Tx, log: RunLog, kind: OutcomeKind, problem: Problem) -> bool:
    """Add what the run says; False when its outcome of this kind was counted before, and then nothing is written."""
    observed = _still_there(tx, problem)
    vaults = sorted(set(log.vault_of.values()))
    outcome, lift = steps(problem.outcome), None if problem.lift is None else steps(problem.lift)
    first = tx.connection.execute(
        _insert(tx, MeasuredRunRow)
        .values(
            run_id=log.run_id,
            kind=kind,
            agent=log.agent,
            suite=log.suite,
            vaults=vaults,
            units=problem.units,
            outcome=outcome,
            lift=lift,
            at=tx.now,
        )
        .on_conflict_do_nothing(index_elements=["run_id", "kind"])
        .returning(MeasuredRunRow.run_id)
    )
    if first.one_or_none() is None:
        return False
    begun = lives(tx, [(item.memory_id, item.version) for item in observed])
    rows = [
        {
            "memory_id": item.memory_id,
            "run_id": log.run_id,
            "kind": kind,
            "vault_id": log.vault_of[item.memory_id],
            "agent": log.agent,
            "life": begun[item.memory_id, item.version],
            "version": item.version,
            "p": item.p,
            "units": item.units,
            "shown": item.shown,
            "outcome_shown": item.outcome_shown,
            "outcome_held_out": item.outcome_held_out,
            "x": steps(item.x),
            "at": tx.now,
        }
        for item in observed
    ]
    if rows:
        tx.connection.execute(insert(MeasureRow), rows)
    _add_effects(tx, rows, 1)
    _add_run(tx, vaults, log.agent, log.suite, kind, outcome, lift, 1)
    return True


def take_out(tx: Tx, run_id: str, kind: OutcomeKind) -> bool:
    """Take a run out of every sum, as if it had never been counted; False when it was not."""
    gone = tx.connection.execute(
        delete(MeasuredRunRow)
        .where(MeasuredRunRow.run_id == run_id, MeasuredRunRow.kind == kind)
        .returning(
            MeasuredRunRow.vaults,
            MeasuredRunRow.agent,
            MeasuredRunRow.suite,
            MeasuredRunRow.outcome,
            MeasuredRunRow.lift,
        )
    ).one_or_none()
    if gone is None:
        return False
    mine = (MeasureRow.run_id == run_id, MeasureRow.kind == kind)
    found = tx.connection.execute(select(MeasureRow.__table__).where(*mine).order_by(MeasureRow.memory_id)).all()
    tx.connection.execute(delete(MeasureRow).where(*mine))
    _add_effects(tx, [dict(row._mapping) for row in found], -1)
    _add_run(tx, gone.vaults, gone.agent, gone.suite, kind, gone.outcome, gone.lift, -1)
    return True


def forget(tx: Tx, memory_id: str) -> int:
    """Remove everything that was measured of a memory; how many runs had said something."""
    tx.connection.execute(delete(EffectRow).where(EffectRow.memory_id == memory_id))
    return tx.connection.execute(delete(MeasureRow).where(MeasureRow.memory_id == memory_id)).rowcount


def recounted(tx: Tx, vault_id: str) -> dict[tuple[str, int, str, str], tuple[int, int, int]]:
    """The sums of a vault made anew from what each run said: (memory, life, kind, agent) → (n, total, squares)."""
    query = select(MeasureRow.memory_id, MeasureRow.life, MeasureRow.kind, MeasureRow.agent, MeasureRow.x).where(
        MeasureRow.vault_id == vault_id
    )
    sums: dict[tuple[str, int, str, str], tuple[int, int, int]] = {}
    for memory_id, life, kind, agent, x in tx.connection.execute(query):
        n, total, squares = sums.get((memory_id, life, kind, agent), (0, 0, 0))
        sums[memory_id, life, kind, agent] = (n + 1, total + x, squares + x * x)
    return sums


def _still_there(tx: Tx, problem: Problem) -> list[Any]:
    ids = [item.memory_id for item in problem.observations]
    there = set(
        tx.connection.execute(
            select(MemoryRow.id).where(MemoryRow.id.in_(ids), MemoryRow.digest_key.is_not(None))
        ).scalars()
    )
    return [item for item in problem.observations if item.memory_id in there]


def _add_effects(tx: Tx, rows: Sequence[Mapping[str, Any]], sign: int) -> None:
    _add(
        tx,
        EffectRow,
        ("memory_id", "life", "kind", "agent"),
        ("n", "total", "squares"),
        [
            {name: row[name] for name in ("memory_id", "life", "kind", "agent", "vault_id")}
            | {"n": sign, "total": sign * row["x"], "squares": sign * row["x"] * row["x"]}
            for row in rows
        ],
    )


def _add_run(
    tx: Tx, vaults: Sequence[str], agent: str, suite: str, kind: str, outcome: int, lift: int | None, sign: int
) -> None:
    places = [{"vault_id": vault_id, "agent": agent, "kind": kind} for vault_id in sorted(vaults)]
    means = [{**place, "n": sign, "total": sign * outcome} for place in places]
    _add(tx, OutcomeMeanRow, ("vault_id", "agent", "kind"), ("n", "total"), means)
    if lift is not None:
        lifts = [
            {**place, "suite": suite, "n": sign, "total": sign * lift, "squares": sign * lift * lift}
            for place in places
        ]
        _add(tx, LiftRow, ("vault_id", "agent", "suite", "kind"), ("n", "total", "squares"), lifts)


def _add(tx: Tx, table: type[Base], key: Sequence[str], sums: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Add to rows, which are made where there are none. In order of their keys, so that two never wait for each other."""
    if not rows:
        return
    statement = _insert(tx, table)
    columns = table.__table__.c
    tx.connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(key),
            set_={name: columns[name] + statement.excluded[name] for name in sums},
        ),
        sorted(rows, key=lambda row: tuple(row[name] for name in key)),
    )


def _insert(tx: Tx, table: type[Base]) -> Any:
    return (postgresql.insert if tx.dialect == "postgresql" else sqlite.insert)(table)
