"""What the sums say: the effect of a memory with its doubt, what to think of a vault, and where the numbers came from.

Estimates are of the life that the memory is in; those of earlier lives can be read beside it. Kinds of outcomes are never
mixed in one estimate; for ranking, those of `verifier` and `feedback` are joined by their precision. Functions inside a
transaction; the access decision is the caller's. Source: design usefulness, "Estimate", "Show"; ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Row, func, select

from memory import rows
from memory.measuring.experiment import Floats, Prior, Sums, joined, mean_and_square_error, posterior, prior_of
from memory.measuring.lives import lives
from memory.measuring.outcomes import KINDS, RANKING, OutcomeKind
from memory.tables import EffectRow, LiftRow, MeasureRow, MemoryRow, OutcomeMeanRow, VaultRow
from memory.tx import Tx
from runtime.tables import Run

NEVER_MEASURED: Final = Prior()
SIDES: Final = 10
Stamp = tuple[int, int, float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The effect of showing a memory on outcomes of one kind: over `n` problems, with its 95 % interval (None for one
    problem), and what is to be thought of it (`mean`, `sd`) when the vault is known. `current`: of the life it is in."""

    life: int
    current: bool
    kind: OutcomeKind
    n: int
    effect: float
    low: float | None
    high: float | None
    mean: float
    sd: float
    by_agent: Mapping[str, Sums]


@dataclass(frozen=True, slots=True)
class View:
    """A vault for ranking. `effects`: posterior mean and sd by memory, over the kinds that rank. `loaded` is when it was
    worked out, `at` when it was last seen that its `stamp` was the same."""

    vault_id: str
    loaded: datetime
    at: datetime
    stamp: Stamp
    explore: float | None
    prior: Prior
    priors: Mapping[str, Prior]
    effects: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Side:
    """What a run said on one side: the mean outcome of `units` units. `run_id` is None for a run of somebody else."""

    run_id: str | None
    at: datetime
    agent: str
    kind: OutcomeKind
    version: int
    units: int
    outcome: float


@dataclass(frozen=True, slots=True)
class Lift:
    """Outcome with the memories of a vault less outcome without, over `n` runs of an agent that kept a unit free."""

    agent: str
    suite: str
    kind: OutcomeKind
    sums: Sums


def view(tx: Tx, vault_id: str) -> View:
    """Everything that ranking needs to know of a vault."""
    seen = stamp(tx, vault_id)
    explore = seen[2]
    found = [item for item in _sums(tx, EffectRow.vault_id == vault_id) if item.life == item.current]
    priors: dict[str, Prior] = {}
    for kind in KINDS:
        mine = [item.sums for item in found if item.kind == kind]
        priors[kind] = prior_of(*_believed(mine)) if mine else NEVER_MEASURED
    ranked = [item for item in found if item.kind in RANKING]
    if not ranked:
        return View(vault_id, tx.now, tx.now, seen, explore, NEVER_MEASURED, priors, {})
    place: dict[str, int] = {}
    numbers = [place.setdefault(item.memory_id, len(place)) for item in ranked]
    means, errors = joined(*_believed([item.sums for item in ranked]), numbers)
    prior = prior_of(means, errors)
    middles, sds = posterior(means, errors, prior)
    effects = dict(zip(place, zip(middles.tolist(), sds.tolist(), strict=True), strict=True))
    return View(vault_id, tx.now, tx.now, seen, explore, prior, priors, effects)


def stamp(tx: Tx, vault_id: str) -> Stamp:
    """Changes when a run that read the vault is counted or taken out again, and when the vault is switched on or off."""
    sums = select(func.coalesce(func.sum(OutcomeMeanRow.n), 0), func.coalesce(func.sum(OutcomeMeanRow.total), 0))
    n, total = tx.connection.execute(sums.where(OutcomeMeanRow.vault_id == vault_id)).one()
    explore = tx.connection.execute(select(VaultRow.explore).where(VaultRow.id == vault_id)).scalar_one_or_none()
    return int(n), int(total), explore


def estimates(tx: Tx, ids: Sequence[str], priors: Mapping[str, Mapping[str, Prior]]) -> dict[str, list[Estimate]]:
    """Every estimate of these memories, the current life first; `priors` by vault and kind. Unmeasured ones are left out."""
    grouped: dict[tuple[str, int, OutcomeKind], list[_Summed]] = defaultdict(list)
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        part = ids[start : start + rows.IN_ONE_QUERY]
        for item in _sums(tx, EffectRow.memory_id.in_(part), by_agent=True):
            grouped[item.memory_id, item.life, item.kind].append(item)
    found: dict[str, list[Estimate]] = defaultdict(list)
    for (memory_id, life, kind), items in grouped.items():
        sums = sum((item.sums for item in items), Sums())
        prior = priors.get(items[0].vault_id, {}).get(kind, NEVER_MEASURED)
        low, high = sums.interval() or (None, None)
        mean, sd = posterior(*_believed([sums]), prior)
        by_agent = {item.agent: item.sums for item in items}
        current = life == items[0].current
        found[memory_id].append(
            Estimate(life, current, kind, sums.n, sums.mean, low, high, float(mean[0]), float(sd[0]), by_agent)
        )
    for items_of in found.values():
        items_of.sort(key=lambda each: (not each.current, -each.life, KINDS.index(each.kind)))
    return found


def tested(tx: Tx, vault_id: str, kind: OutcomeKind, least: int) -> dict[str, tuple[int, Sums]]:
    """The memories of a vault with at least `least` problems of this kind in their current life: life and sums."""
    found = _sums(tx, EffectRow.vault_id == vault_id, EffectRow.kind == kind)
    return {
        item.memory_id: (item.life, item.sums) for item in found if item.life == item.current and item.sums.n >= least
    }


def sides(tx: Tx, memory_id: str) -> tuple[list[Side], list[Side]]:
    """The last runs in which some unit was shown the memory, and those in which some was not; the newest first."""
    query = (
        select(MeasureRow.__table__, Run.owner)
        .outerjoin(Run, Run.id == MeasureRow.run_id)
        .where(MeasureRow.memory_id == memory_id)
        .order_by(MeasureRow.run_id.desc(), MeasureRow.kind)
        .limit(SIDES)
    )
    return (
        [
            _side(tx, row, row.shown, row.outcome_shown)
            for row in tx.connection.execute(query.where(MeasureRow.shown > 0))
        ],
        [
            _side(tx, row, row.units - row.shown, row.outcome_held_out)
            for row in tx.connection.execute(query.where(MeasureRow.shown < MeasureRow.units))
        ],
    )


def lifts(tx: Tx, vault_id: str) -> list[Lift]:
    """The lift of the vault for each agent, suite and kind of outcome."""
    query = (
        select(LiftRow.__table__)
        .where(LiftRow.vault_id == vault_id, LiftRow.n > 0)
        .order_by(LiftRow.agent, LiftRow.suite, LiftRow.kind)
    )
    return [
        Lift(row.agent, row.suite, row.kind, Sums(row.n, row.total, row.squares))
        for row in tx.connection.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class _Summed:
    memory_id: str
    vault_id: str
    life: int
    current: int
    kind: OutcomeKind
    agent: str
    sums: Sums


def _sums(tx: Tx, *where: ColumnElement[bool], by_agent: bool = False) -> list[_Summed]:
    key = [EffectRow.memory_id, EffectRow.vault_id, EffectRow.life, EffectRow.kind, MemoryRow.version]
    if by_agent:
        key.append(EffectRow.agent)
    totals = [func.sum(column) for column in (EffectRow.n, EffectRow.total, EffectRow.squares)]
    query = (
        select(*key, *(total.label(name) for total, name in zip(totals, ("n", "total", "squares"), strict=True)))
        .join(MemoryRow, MemoryRow.id == EffectRow.memory_id)
        .where(*where)
        .group_by(*key)
        .having(totals[0] > 0)
        .order_by(*key)
    )
    found = tx.connection.execute(query).all()
    begun = lives(tx, [(row.memory_id, row.version) for row in found])
    return [
        _Summed(
            row.memory_id,
            row.vault_id,
            row.life,
            begun[row.memory_id, row.version],
            row.kind,
            row.agent if by_agent else "",
            # PostgreSQL adds whole numbers up to a decimal.
            Sums(int(row.n), int(row.total), int(row.squares)),
        )
        for row in found
    ]


def _believed(sums: Sequence[Sums]) -> tuple[Floats, Floats]:
    parts = [[item.n for item in sums], [item.total for item in sums], [item.squares for item in sums]]
    return mean_and_square_error(*(np.array(part, np.float64) for part in parts))


def _side(tx: Tx, row: Row[Any], units: int, outcome: float) -> Side:
    run_id = row.run_id if row.owner == tx.actor.user_id else None
    return Side(run_id, row.at, row.agent, row.kind, row.version, units, outcome)
