"""Does this memory help? The service behind the experiment that runs inside normal use.

A run plans who is shown what (`plan`), and when it has ended well its outcomes are counted from its log (`settle`), once.
A person's word about a run counts the same way (`feedback`). What came of it ranks (`draws`) and is shown (`uplift`,
`uses`, `vault`). The pieces: experiment.py the arithmetic, units.py the draws, outcomes.py what a run says, measures.py
the sums, effects.py what they mean, lives.py when an edit begins anew, retirement.py what becomes of the harmful.
Source: design usefulness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
from sqlalchemy import exists, select

from memory import access, audit, rows
from memory.access import Access, Hidden, Refused
from memory.core import Core
from memory.measuring import effects, measures
from memory.measuring.effects import Estimate, Lift, Side, View
from memory.measuring.experiment import FIRST_SD, Prior, normal_draw
from memory.measuring.lives import lives
from memory.measuring.measures import Centres, RunLog
from memory.measuring.outcomes import RANKING, problem
from memory.measuring.units import Draw, plan
from memory.ranking.measured import Draws
from memory.tables import EffectRow, MemoryRow, VaultRow
from memory.tx import Tx
from memory.types import SEARCHABLE, Actor, MemCube
from memory.vault import grants
from memory.workers import SYSTEM
from runtime.errors import Conflict, Gone, InvalidInput, UnknownName

# How old what ranking knows of a vault may be: when another process has counted, and when a memory was edited.
FRESH: Final = timedelta(seconds=5)
RELOADED: Final = timedelta(minutes=1)
# Vaults whose view is kept.
KEPT: Final = 256
PAGE: Final = 10
ANSWERED: Final = ("succeeded", "budget_exhausted")


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is shown what, and the means with which the outcomes of a single unit are centred."""

    draws: tuple[Draw, ...]
    centres: Centres


@dataclass(frozen=True, slots=True)
class MemoryUses:
    """What is known of one memory: its estimates in this life and in earlier ones, and the last runs on each side."""

    memory: MemCube
    life: int
    estimates: tuple[Estimate, ...]
    earlier: tuple[Estimate, ...]
    shown: tuple[Side, ...]
    held_out: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A memory of a vault and what to think of it, over the kinds that rank."""

    memory: MemCube
    mean: float
    sd: float
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class VaultUses:
    """A vault: what helped most, what hurt most, what was never measured (the newest), and what the store is worth."""

    vault_id: str
    explore: float | None
    prior: Prior
    helped: tuple[Judged, ...]
    hurt: tuple[Judged, ...]
    unmeasured: tuple[MemCube, ...]
    lifts: tuple[Lift, ...]


class Usefulness:
    """See the module."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._views: dict[str, View] = {}
        self._loading = anyio.Lock()

    # -- ranking -------------------------------------------------------------------------------------------------------

    async def draws(self, vault_ids: Sequence[str], memory_ids: Sequence[str], seed: int | None) -> Draws:
        """Effects of the memories beyond what is thought of one that was never measured, and with a seed a draw of the doubt
        about each (Thompson). Vaults that are not measured are left out, and with them their memories.

        At most 5 s behind what other processes have counted, and a minute behind an edit. Raises `StorageError`.
        """
        views = [view for view in await self._fresh(vault_ids) if view.explore != 0]
        if not views:
            return Draws({}, FIRST_SD)
        unknown_sd = max(view.prior.sd for view in views)
        effects: dict[str, float] = {}
        doubts: dict[str, float] = {}
        for memory_id in memory_ids:
            mean, sd = 0.0, unknown_sd
            for view in views:
                if memory_id in view.effects:
                    mean, sd = view.effects[memory_id]
                    mean -= view.prior.mean
                    break
            if mean:
                effects[memory_id] = mean
            if seed is not None:
                doubts[memory_id] = sd * normal_draw(seed, memory_id)
        return Draws(effects, unknown_sd, doubts)

    # -- measuring -----------------------------------------------------------------------------------------------------

    async def plan(
        self,
        actor: Actor,
        cubes: Sequence[MemCube],
        units: Sequence[str],
        *,
        seed: int,
        agent: str,
        explore: float | None = None,
    ) -> Plan:
        """Draw who is shown which of the memories that a recall gave. `explore`: what the run asks for, 0 for nothing held
        out. Raises `StorageError`."""
        ids = sorted({cube.vault_id for cube in cubes})
        if not ids:
            return Plan((), {})

        def work(tx: Tx) -> tuple[dict[str, float | None], Centres]:
            said = tx.connection.execute(select(VaultRow.id, VaultRow.explore).where(VaultRow.id.in_(ids)))
            return {row.id: row.explore for row in said}, measures.centres(tx, ids, agent)

        vaults, centres = await self._core.read(actor, work)
        return Plan(plan(cubes, units, seed=seed, explore=explore, vaults=vaults), centres)

    async def settle(self, run_id: str) -> int:
        """Count the outcomes that the run's log tells; how many memories they said something about. Counting twice is
        counting once, and a run that failed or was cancelled counts for nothing. Raises `StorageError`."""
        log = await self._core.read(SYSTEM, partial(measures.run_log, run_id=run_id))
        if log is None or log.status in ("failed", "cancelled"):
            return 0
        counted = 0
        for kind, outcomes in sorted(log.outcomes.items()):
            said = problem(log.draws, outcomes, log.centre_of(kind))
            if said is None:
                continue
            if await self._core.write(SYSTEM, partial(measures.count, log=log, kind=kind, problem=said)):
                counted += len(said.observations)
        self._forget_views(log)
        return counted

    async def feedback(self, actor: Actor, memory_id: str, run_id: str, *, helpful: bool) -> int:
        """A person says whether the answer of their run helped; how many memories that says something about.

        It is the outcome of the run, for the memories that it showed and for those it held out, in the vaults that the
        person may write. Said again it takes the place of what was said. Raises `UnknownName` for a run that is not
        theirs, `InvalidInput` for a memory that the run had nothing to do with, `Conflict` before it has answered.
        """

        def read(tx: Tx) -> RunLog:
            access.memory(tx, memory_id, "write")
            log = measures.run_log(tx, run_id)
            if log is None or log.owner != actor.user_id:
                raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
            if log.status not in ANSWERED:
                raise Conflict(f"run {run_id!r} is {log.status}; say what you think of its answer when it has one")
            if memory_id not in log.vault_of:
                raise InvalidInput(
                    f"run {run_id!r} did not read memory {memory_id!r}; name a run that did", param="run_id"
                )
            return _writable(tx, log)

        log = await self._core.read(actor, read)
        outcomes = {draw.unit: float(helpful) for draw in log.draws}
        said = problem(log.draws, outcomes, log.centre_of("feedback"), whole=True)

        def write(tx: Tx) -> int:
            cube, allowed = access.memory(tx, memory_id, "write")
            measures.take_out(tx, run_id, "feedback")
            counted = said is not None and measures.count(tx, log, "feedback", said)
            about = len(said.observations) if counted and said is not None else 0
            detail = {"run": run_id, "helpful": helpful, "memories": about}
            audit.record(tx, "feedback", "memory", memory_id, chain=cube.vault_id, rule=allowed.rule, detail=detail)
            return about

        about = await self._core.write(actor, write)
        self._forget_views(log)
        return about

    # -- showing -------------------------------------------------------------------------------------------------------

    async def uplift(self, ids: Sequence[str]) -> dict[str, list[Estimate]]:
        """The estimates of each measured memory in its current life, by kind. Whoever asks may see them already."""
        vaults = await self._core.read(SYSTEM, partial(_measured_vaults, ids=ids)) if ids else []
        if not vaults:
            return {}
        priors = await self._priors(vaults)
        found = await self._core.read(SYSTEM, partial(effects.estimates, ids=ids, priors=priors))
        current = {memory_id: [item for item in items if item.current] for memory_id, items in found.items()}
        return {memory_id: items for memory_id, items in current.items() if items}

    async def uses(self, actor: Actor, memory_id: str) -> MemoryUses:
        """What is known of a memory. Raises `UnknownName`, and `Gone` for one that was deleted."""
        vault_id = (await self._core.read(actor, partial(access.memory, memory_id=memory_id, verb="read")))[0].vault_id
        priors = await self._priors([vault_id])

        def work(tx: Tx) -> tuple[MemoryUses, Access]:
            cube, allowed = access.memory(tx, memory_id, "read")
            if cube.state in ("deleted", "expired"):
                raise Gone(f"memory {memory_id!r} was deleted or has expired")
            life = lives(tx, [(cube.id, cube.version)])[cube.id, cube.version]
            found = effects.estimates(tx, [memory_id], priors).get(memory_id, [])
            shown, held_out = effects.sides(tx, memory_id)
            current = tuple(item for item in found if item.current)
            earlier = tuple(item for item in found if not item.current)
            return MemoryUses(cube, life, current, earlier, tuple(shown), tuple(held_out)), allowed

        uses, allowed = await self._core.read(actor, work)
        await self._spend(actor, allowed)
        return uses

    async def vault(self, actor: Actor, ref: str) -> VaultUses:
        """What is known of a vault, as far as the actor may see its memories. Raises `UnknownName`."""
        await self._core.default_vault(actor)

        def work(tx: Tx) -> tuple[VaultUses, Access]:
            allowed = access.vault(tx, ref, "read")
            seen = effects.view(tx, allowed.vault.id)
            order = sorted(seen.effects, key=lambda memory_id: (-seen.effects[memory_id][0], memory_id))
            found = VaultUses(
                seen.vault_id,
                seen.explore,
                seen.prior,
                _judged(tx, allowed, seen, [memory_id for memory_id in order if seen.effects[memory_id][0] > 0]),
                _judged(tx, allowed, seen, [memory_id for memory_id in order[::-1] if seen.effects[memory_id][0] < 0]),
                _unmeasured(tx, allowed),
                tuple(effects.lifts(tx, seen.vault_id)),
            )
            return found, allowed

        uses, allowed = await self._core.read(actor, work)
        await self._spend(actor, allowed)
        return uses

    async def _priors(self, vault_ids: Sequence[str]) -> dict[str, Mapping[str, Prior]]:
        return {view.vault_id: view.priors for view in await self._fresh(vault_ids)}

    async def _fresh(self, vault_ids: Sequence[str]) -> list[View]:
        oldest = self._core.clock.now() - FRESH
        found: list[View] = []
        for vault_id in dict.fromkeys(vault_ids):
            view = self._views.get(vault_id)
            if view is None or view.at < oldest:
                async with self._loading:
                    # Whoever waited finds what the one before has loaded.
                    view = self._views.get(vault_id)
                    if view is None or view.at < oldest:
                        view = await self._core.read(SYSTEM, partial(_looked_at, vault_id=vault_id, known=view))
                        self._keep(view)
            found.append(view)
        return found

    def _keep(self, view: View) -> None:
        self._views.pop(view.vault_id, None)
        self._views[view.vault_id] = view
        while len(self._views) > KEPT:
            del self._views[next(iter(self._views))]

    def _forget_views(self, log: RunLog) -> None:
        for vault_id in set(log.vault_of.values()):
            self._views.pop(vault_id, None)

    async def _spend(self, actor: Actor, allowed: Access) -> None:
        if allowed.metered:
            await self._core.write(actor, partial(grants.spend, metered=[allowed]))


def _looked_at(tx: Tx, vault_id: str, known: View | None) -> View:
    if known is not None and known.loaded >= tx.now - RELOADED and known.stamp == effects.stamp(tx, vault_id):
        return replace(known, at=tx.now)
    return effects.view(tx, vault_id)


def _measured_vaults(tx: Tx, ids: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        part = EffectRow.memory_id.in_(ids[start : start + rows.IN_ONE_QUERY])
        found.update(tx.connection.execute(select(EffectRow.vault_id).where(part).distinct()).scalars())
    return sorted(found)


def _writable(tx: Tx, log: RunLog) -> RunLog:
    """The log without what it says about vaults that the actor may not write."""
    allowed: set[str] = set()
    for vault_id in sorted(set(log.vault_of.values())):
        try:
            access.vault(tx, vault_id, "write")
        except (Hidden, Refused, Conflict):
            continue
        allowed.add(vault_id)
    vault_of = {memory_id: vault_id for memory_id, vault_id in log.vault_of.items() if vault_id in allowed}
    return replace(log, draws=tuple(draw for draw in log.draws if draw.memory_id in vault_of), vault_of=vault_of)


def _judged(tx: Tx, allowed: Access, view: View, order: Sequence[str]) -> tuple[Judged, ...]:
    """The first `PAGE` memories of this order that are in use and that the actor may see."""
    shown: list[MemCube] = []
    for start in range(0, len(order), rows.IN_ONE_QUERY):
        part = order[start : start + rows.IN_ONE_QUERY]
        cubes = rows.cubes(tx, part)
        shown += [cubes[id_] for id_ in part if cubes[id_].state in SEARCHABLE and allowed.sees(cubes[id_].sensitivity)]
        if len(shown) >= PAGE:
            break
    shown = shown[:PAGE]
    found = effects.estimates(tx, [cube.id for cube in shown], {view.vault_id: view.priors})
    return tuple(
        Judged(cube, *view.effects[cube.id], tuple(item for item in found.get(cube.id, ()) if item.current))
        for cube in shown
    )


def _unmeasured(tx: Tx, allowed: Access) -> tuple[MemCube, ...]:
    """The newest memories in use that no run has said anything about."""
    measured = exists().where(EffectRow.memory_id == MemoryRow.id, EffectRow.n > 0, EffectRow.kind.in_(RANKING))
    query = (
        rows.SELECT.where(MemoryRow.vault_id == allowed.vault.id, MemoryRow.state.in_(sorted(SEARCHABLE)))
        .where(MemoryRow.pinned.is_(False), ~measured)
        .order_by(MemoryRow.seq.desc())
        .limit(rows.IN_ONE_QUERY if allowed.masked else PAGE)
    )
    cubes = [rows.cube(row, tx.now) for row in tx.connection.execute(query)]
    return tuple(cube for cube in cubes if allowed.sees(cube.sensitivity))[:PAGE]
