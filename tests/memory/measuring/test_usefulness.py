"""Counting runs: once, in any order, by any number of workers; and what is shown, ranked and proposed from it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import anyio
import pytest
from pydantic import JsonValue
from sqlalchemy import Connection, insert, select, update

from memory import erase, reviews, store
from memory.core import Core
from memory.measuring import measures
from memory.measuring.experiment import FIRST_SD, Sums
from memory.measuring.outcomes import OutcomeKind
from memory.measuring.retirement import LEAST, proposals, propose
from memory.measuring.units import plan
from memory.measuring.usefulness import FRESH, RELOADED, Usefulness
from memory.tables import (
    EffectRow,
    GrantRow,
    LiftRow,
    MeasuredRunRow,
    MeasureRow,
    OutcomeMeanRow,
    VaultRow,
)
from memory.tx import Tx
from memory.types import Actor, MemCube
from runtime import run_log
from runtime.errors import Conflict, Forbidden, Gone, InvalidInput, UnknownName
from runtime.events import AnyPayload, MemoryRead, RunCancelledEvent, RunFailed, RunFinished, StepCompleted
from runtime.ids import new_id
from runtime.run_types import RunSpec
from runtime.runs import RunStore
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock, claim

pytestmark = pytest.mark.anyio

UNITS = ("answer.0", "answer.1")
TABLES = (EffectRow, MeasureRow, MeasuredRunRow, OutcomeMeanRow, LiftRow)


@pytest.fixture
def usefulness(core: Core) -> Usefulness:
    return Usefulness(core)


async def a_run(
    core: Core,
    shown: Mapping[str, Mapping[str, bool]],
    outcomes: Mapping[str, float],
    *,
    cubes: Sequence[MemCube],
    kind: OutcomeKind = "verifier",
    p: float | Mapping[str, float] = 0.8,
    owner: Actor = ANN,
    agent: str = "best-of-n",
    centres: Mapping[str, Mapping[str, float]] | None = None,
    suite: str | None = None,
    end: Any = RunFinished(status="succeeded", output=None),  # noqa: B008 - frozen
) -> str:
    """A run whose units were shown these memories and had these outcomes; ended so, unless `end` is None."""
    by_id = {cube.id: cube for cube in cubes}
    items: list[tuple[AnyPayload, str | None]] = [
        (read(by_id[memory_id], unit, is_shown, p if isinstance(p, float) else p[unit]), "memories")
        for unit, sides in shown.items()
        for memory_id, is_shown in sides.items()
    ]
    said: JsonValue = {vault: dict(means) for vault, means in (centres or {}).items()}
    items.append((StepCompleted(name="memories", detail={"centres": said}), "memories"))
    items += [(StepCompleted(name=unit, score=score, outcome=kind), unit) for unit, score in outcomes.items()]
    spec, now = RunSpec(agent, "hi", seed=1, suite=suite), core.clock.now()

    def work(connection: Connection) -> str:
        held: dict[str, Any] = {"status": "running", "epoch": 1, "attempt": 1, "executor": "exe_a", "started_at": now}
        run = run_log.add_run(
            connection, spec, owner=owner.user_id, agent_version=1, model="m", now=now, last_seq=len(items), **held
        )
        run_log.add_events(connection, run.id, 0, items, now=now)
        for step in ("memories", *outcomes):
            run_log.add_step(connection, run.id, step, {}, seq=len(items), now=now)
        if end is not None:
            run_log.end(connection, run_log.standing(connection, run.id, 1), end, now=now)
        return run.id

    return await core.db.write(work)


def read(cube: MemCube, unit: str, is_shown: bool, p: float) -> MemoryRead:
    side = "shown" if is_shown else "held_out"
    return MemoryRead(id=cube.id, version=cube.version, score=1.0, why="words", unit=unit, shown=side, p=p)


async def two_units(core: Core, cube: MemCube, first: bool, outcomes: tuple[float, float], **more: Any) -> str:
    """A run of two units; the first is shown the memory or the second is."""
    shown = {UNITS[0]: {cube.id: first}, UNITS[1]: {cube.id: not first}}
    return await a_run(core, shown, dict(zip(UNITS, outcomes, strict=True)), cubes=[cube], **more)


async def helped(core: Core, usefulness: Usefulness, cube: MemCube, times: int, good: float = 1.0, **more: Any) -> None:
    """Runs in which the unit with the memory had the outcome `good`, and the one without the opposite."""
    for number in range(times):
        outcomes = (good, 1 - good) if number % 2 else (1 - good, good)
        await usefulness.settle(await two_units(core, cube, bool(number % 2), outcomes, **more))


async def rows_of(core: Core, *tables: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the tables, in order of their keys."""

    def work(tx: Tx) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table.__tablename__: [
                tuple(row)
                for row in tx.connection.execute(select(table.__table__).order_by(*table.__table__.primary_key))
            ]
            for table in tables or TABLES
        }

    return await core.read(ANN, work)


async def sums_of(core: Core, cube: MemCube) -> dict[str, Sums]:
    query = select(EffectRow.kind, EffectRow.n, EffectRow.total, EffectRow.squares).where(
        EffectRow.memory_id == cube.id
    )
    found = await core.read(ANN, lambda tx: tx.connection.execute(query).all())
    return {row.kind: Sums(row.n, row.total, row.squares) for row in found}


# -- counting ----------------------------------------------------------------------------------------------------------


async def test_a_run_says_one_number_about_each_memory_that_it_read(core: Core, usefulness: Usefulness) -> None:
    with_it, without = await put(core, "Try small numbers first"), await put(core, "Draw a picture")
    shown = {UNITS[0]: {with_it.id: True, without.id: False}, UNITS[1]: {with_it.id: False, without.id: True}}
    run_id = await a_run(core, shown, {UNITS[0]: 1.0, UNITS[1]: 0.0}, cubes=[with_it, without])
    assert await usefulness.settle(run_id) == 2
    assert await sums_of(core, with_it) == {"verifier": Sums.of(3.125)}
    assert await sums_of(core, without) == {"verifier": Sums.of(-3.125)}


async def test_a_run_that_is_counted_again_counts_once(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    run_id = await two_units(core, cube, True, (1.0, 0.0))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(usefulness.settle, run_id)
    assert await usefulness.settle(run_id) == 0
    assert (await sums_of(core, cube))["verifier"].n == 1


@pytest.mark.parametrize(
    "end", [RunFailed(code="model_error", message="the server broke off"), RunCancelledEvent(reason="enough")]
)
async def test_a_run_that_fails_for_a_technical_reason_contributes_nothing(
    core: Core, usefulness: Usefulness, end: Any
) -> None:
    cube = await put(core, "Try small numbers first")
    assert await usefulness.settle(await two_units(core, cube, True, (1.0, 0.0), end=end)) == 0
    assert await rows_of(core) == {table.__tablename__: [] for table in TABLES}


async def test_a_unit_that_was_done_again_counts_as_it_was_done_last(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    run_id = await two_units(core, cube, True, (0.0, 0.0), end=None)
    runs = RunStore(core.db, core.clock)
    # Died before the step of a third unit was finished: that line is void when the run is picked up.
    await runs.append(run_id, 1, [(StepCompleted(name=UNITS[0], score=0.5, outcome="verifier"), "answer.9")])
    held = await claim(runs, run_id, "exe_b")
    await runs.append(run_id, held.epoch, [(StepCompleted(name=UNITS[0], score=1.0, outcome="verifier"), None)])
    await usefulness.settle(run_id)
    assert await sums_of(core, cube) == {"verifier": Sums.of(3.125)}


async def test_a_fork_does_not_count_the_draws_that_it_shares(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    run_id = await two_units(core, cube, True, (1.0, 0.0))
    await usefulness.settle(run_id)
    runs = RunStore(core.db, core.clock)
    last = (await runs.events(run_id))[-1].seq
    fork = await runs.fork(run_id, last, owner=ANN.user_id)
    assert await usefulness.settle(fork.id) == 0
    assert (await sums_of(core, cube))["verifier"].n == 1


async def test_replaying_the_logs_in_any_order_gives_equal_sums(core: Core, usefulness: Usefulness) -> None:
    cubes = [await put(core, f"Hint number {number}") for number in range(4)]
    rng = random.Random(2)
    runs = []
    for _ in range(25):
        units = UNITS[: rng.choice([1, 2])]
        shown = {unit: {cube.id: rng.random() < 0.8 for cube in cubes} for unit in units}
        centres = {cubes[0].vault_id: {"verifier": rng.random()}}
        runs.append(await a_run(core, shown, {unit: rng.random() for unit in units}, cubes=cubes, centres=centres))
    counted = []
    for _ in range(3):
        rng.shuffle(runs)
        for run_id in runs:
            await usefulness.settle(run_id)
        counted.append(await rows_of(core))
        for run_id in runs:
            assert await core.write(ANN, lambda tx, run_id=run_id: measures.take_out(tx, run_id, "verifier"))  # type: ignore[misc]
    assert counted[0] == counted[1] == counted[2]
    assert len(counted[0]["memory_measures"]) == 100
    # Taken out again, nothing of them is left.
    assert all(row[-3:] == (0, 0, 0) for row in (await rows_of(core, EffectRow))["memory_effects"])


async def test_two_workers_that_count_at_once_lose_nothing(core: Core, clock: SetClock) -> None:
    cubes = [await put(core, f"Hint number {number}") for number in range(3)]
    runs = []
    for number in range(24):
        sides = {cube.id: bool((number + place) % 2) for place, cube in enumerate(cubes)}
        other = {memory_id: not side for memory_id, side in sides.items()}
        runs.append(await a_run(core, {UNITS[0]: sides, UNITS[1]: other}, {UNITS[0]: 1.0, UNITS[1]: 0.3}, cubes=cubes))
    workers = [Usefulness(core), Usefulness(Core(core.db, clock, core.settings))]
    async with anyio.create_task_group() as group:
        for number, run_id in enumerate(runs):
            group.start_soon(workers[number % 2].settle, run_id)
            group.start_soon(workers[(number + 1) % 2].settle, run_id)
    home = cubes[0].vault_id
    again = await core.read(ANN, lambda tx: measures.recounted(tx, home))
    kept = {row[:4]: row[5:] for row in (await rows_of(core, EffectRow))["memory_effects"]}
    assert kept == again
    assert {n for n, _, _ in kept.values()} == {24}


async def test_kinds_of_outcomes_are_kept_apart_and_a_judge_does_not_rank(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    await helped(core, usefulness, cube, 6, kind="judge")
    assert set(await sums_of(core, cube)) == {"judge"}
    assert (await usefulness.draws([cube.vault_id], [cube.id], None)).effects == {}
    assert [item.kind for item in (await usefulness.uplift([cube.id]))[cube.id]] == ["judge"]


async def test_where_nothing_is_held_out_estimates_are_frozen(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    await helped(core, usefulness, cube, 4)
    before = await rows_of(core)
    shown = {unit: {cube.id: True} for unit in UNITS}
    assert await usefulness.settle(await a_run(core, shown, {UNITS[0]: 1.0}, cubes=[cube], p=1.0)) == 0
    assert await rows_of(core) == before


async def test_a_single_unit_is_centred_with_the_runs_before_it(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    for outcome in (1.0, 0.0, 1.0, 1.0):
        shown = {"answer": {cube.id: True}}
        await usefulness.settle(await a_run(core, shown, {"answer": outcome}, cubes=[cube], p=0.9, agent="direct"))
    found = await usefulness.plan(ANN, [cube], ["answer"], seed=1, agent="direct")
    assert found.centres == {cube.vault_id: {"verifier": 0.75}}
    assert (await usefulness.plan(ANN, [cube], ["answer"], seed=1, agent="best-of-n")).centres == {}
    before = await sums_of(core, cube)
    run_id = await a_run(
        core, {"answer": {cube.id: True}}, {"answer": 1.0}, cubes=[cube], p=0.9, agent="direct", centres=found.centres
    )
    await usefulness.settle(run_id)
    assert await sums_of(core, cube) == {"verifier": before["verifier"] + Sums.of(0.1 / 0.09 * 0.25)}


async def test_the_free_unit_is_the_lift_of_the_vault_by_agent_and_suite(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    shown = {UNITS[0]: {cube.id: True}, UNITS[1]: {cube.id: False}}
    chances = {UNITS[0]: 0.8, UNITS[1]: 0.0}
    for with_it, suite in ((1.0, "math500"), (0.75, "math500"), (0.5, None)):
        outcomes = {UNITS[0]: with_it, UNITS[1]: 0.25}
        await usefulness.settle(await a_run(core, shown, outcomes, cubes=[cube], p=chances, suite=suite))
    lifts = {(item.agent, item.suite, item.kind): item.sums for item in (await usefulness.vault(ANN, "default")).lifts}
    assert lifts == {
        ("best-of-n", "math500", "verifier"): Sums.of(0.75, 0.5),
        ("best-of-n", "", "verifier"): Sums.of(0.25),
    }


# -- feedback ----------------------------------------------------------------------------------------------------------


async def test_a_persons_word_counts_for_what_the_run_showed_and_held_out(core: Core, usefulness: Usefulness) -> None:
    with_it, without = await put(core, "Try small numbers first"), await put(core, "Draw a picture")
    run_id = await a_run(core, {"answer": {with_it.id: True, without.id: False}}, {}, cubes=[with_it, without])
    assert await usefulness.feedback(ANN, with_it.id, run_id, helpful=True) == 2
    assert await sums_of(core, with_it) == {"feedback": Sums.of(1.25 * 0.5)}
    assert await sums_of(core, without) == {"feedback": Sums.of(-5 * 0.5)}


async def test_said_again_it_takes_the_place_of_what_was_said(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    run_id = await a_run(core, {"answer": {cube.id: True}}, {}, cubes=[cube])
    for helpful in (True, True, False):
        assert await usefulness.feedback(ANN, cube.id, run_id, helpful=helpful) == 1
    assert await sums_of(core, cube) == {"feedback": Sums.of(-1.25 * 0.5)}
    (mean,) = (await rows_of(core, OutcomeMeanRow))["outcome_means"]
    assert mean[-2:] == (1, 0)


async def test_feedback_is_refused_for_a_run_that_is_not_ones_own_not_done_or_not_about_it(
    core: Core, usefulness: Usefulness
) -> None:
    cube, other = await put(core, "Try small numbers first"), await put(core, "Draw a picture")
    shown = {"answer": {cube.id: True}}
    foreign = await a_run(core, shown, {}, cubes=[cube], owner=BOB)
    going = await a_run(core, shown, {}, cubes=[cube], end=None)
    done = await a_run(core, shown, {}, cubes=[cube])
    for run_id in (foreign, "run_" + "0" * 32):
        with pytest.raises(UnknownName, match="no such run"):
            await usefulness.feedback(ANN, cube.id, run_id, helpful=True)
    with pytest.raises(Conflict, match="is running"):
        await usefulness.feedback(ANN, cube.id, going, helpful=True)
    with pytest.raises(InvalidInput, match="did not read"):
        await usefulness.feedback(ANN, other.id, done, helpful=True)
    with pytest.raises(UnknownName):
        await usefulness.feedback(BOB, cube.id, foreign, helpful=True)
    assert (await rows_of(core, MeasureRow))["memory_measures"] == []


async def test_a_reader_measures_by_running_and_not_by_saying(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    await share(core, cube.vault_id)
    run_id = await two_units(core, cube, True, (1.0, 0.0), owner=BOB)
    assert await usefulness.settle(run_id) == 1
    with pytest.raises(Forbidden):
        await usefulness.feedback(BOB, cube.id, run_id, helpful=True)


async def share(core: Core, vault: str, *masked: str) -> None:
    """Let Bob read."""
    row = {
        "id": new_id("grt"),
        "vault_id": vault,
        "grantee_id": BOB.user_id,
        "can_read": True,
        "can_write": False,
        "can_share": False,
        "can_delete": False,
        "masked_tags": list(masked),
        "reads_used": 0,
        "created_at": core.clock.now(),
        "created_by": ANN.user_id,
    }
    await core.write(ANN, lambda tx: tx.connection.execute(insert(GrantRow), row))


# -- lives, erasure ----------------------------------------------------------------------------------------------------


async def edit(core: Core, cube: MemCube, text: str) -> MemCube:
    def work(tx: Tx) -> MemCube:
        return store.change(tx, store.get(tx, cube.id), kind="edit", content=text)

    return await core.write(ANN, work)


async def test_an_edit_starts_a_new_life_and_the_old_one_stays_readable(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    await helped(core, usefulness, cube, 3)
    cube = await edit(core, cube, "Try small numbers first!")
    assert [item.n for item in (await usefulness.uplift([cube.id]))[cube.id]] == [3]
    cube = await edit(core, cube, "Try large numbers first")
    assert await usefulness.uplift([cube.id]) == {}
    await helped(core, usefulness, cube, 2)
    uses = await usefulness.uses(ANN, cube.id)
    assert uses.life == 3
    assert [(item.life, item.n) for item in uses.estimates] == [(3, 2)]
    assert [(item.life, item.n) for item in uses.earlier] == [(1, 3)]
    cube = await edit(core, cube, "Try small numbers first")
    assert [item.n for item in (await usefulness.uplift([cube.id]))[cube.id]] == [3]


async def test_a_purge_removes_what_was_measured_and_says_so(core: Core, usefulness: Usefulness) -> None:
    cube, other = await put(core, "Try small numbers first"), await put(core, "Draw a picture")
    await helped(core, usefulness, cube, 3)
    await helped(core, usefulness, other, 1)
    late = await two_units(core, cube, True, (1.0, 0.0))

    def purge(tx: Tx) -> erase.Receipt:
        return erase.erase(tx, store.move(tx, store.get(tx, cube.id), "delete"))

    receipt = await core.write(ANN, purge)
    assert receipt.removed["measures"] == 3
    assert await usefulness.settle(late) == 0
    assert {row[0] for row in (await rows_of(core, EffectRow))["memory_effects"]} == {other.id}
    assert {row[0] for row in (await rows_of(core, MeasureRow))["memory_measures"]} == {other.id}
    with pytest.raises(Gone):
        await usefulness.uses(ANN, cube.id)


# -- ranking -----------------------------------------------------------------------------------------------------------


async def test_ranking_gets_posterior_means_or_seeded_draws(core: Core, usefulness: Usefulness) -> None:
    good, bad, new = [await put(core, text) for text in ("Try small numbers", "Guess", "Draw a picture")]
    await helped(core, usefulness, good, 8)
    await helped(core, usefulness, bad, 8, good=0.0)
    ids, vaults = [good.id, bad.id, new.id], [good.vault_id]
    means = await usefulness.draws(vaults, ids, None)
    assert means.prior_sd == FIRST_SD
    assert means.effects[good.id] > 0 > means.effects[bad.id]
    assert new.id not in means.effects
    (estimate,) = (await usefulness.uplift([good.id]))[good.id]
    assert means.effects[good.id] == pytest.approx(estimate.mean)
    drawn = await usefulness.draws(vaults, ids, 5)
    assert drawn == await usefulness.draws(vaults, ids[::-1], 5)
    assert drawn != await usefulness.draws(vaults, ids, 6)
    assert set(drawn.doubts) == set(ids)
    assert drawn.effects == means.effects
    assert means.doubts == {}


async def test_a_vault_that_is_switched_off_does_not_rank_and_is_not_measured(
    core: Core, usefulness: Usefulness
) -> None:
    cube = await put(core, "Try small numbers first")
    await helped(core, usefulness, cube, 8)
    off = update(VaultRow).where(VaultRow.id == cube.vault_id).values(explore=0.0)
    await core.write(ANN, lambda tx: tx.connection.execute(off))
    assert (await Usefulness(core).draws([cube.vault_id], [cube.id], 3)).effects == {}
    found = await usefulness.plan(ANN, [cube], UNITS, seed=1, agent="best-of-n")
    assert all(draw.shown and draw.p == 1 for draw in found.draws)
    assert (await usefulness.vault(ANN, "default")).explore == 0


async def test_ranking_follows_other_processes_within_seconds_and_edits_within_a_minute(
    core: Core, clock: SetClock
) -> None:
    cube = await put(core, "Try small numbers first")
    here, there = Usefulness(core), Usefulness(core)
    assert (await here.draws([cube.vault_id], [cube.id], None)).effects == {}
    await helped(core, there, cube, 8)
    assert (await there.draws([cube.vault_id], [cube.id], None)).effects != {}
    clock.pass_by(FRESH.total_seconds() + 1)
    known = await here.draws([cube.vault_id], [cube.id], None)
    assert known == await there.draws([cube.vault_id], [cube.id], None)
    await edit(core, cube, "Try large numbers first")
    clock.pass_by(FRESH.total_seconds() + 1)
    assert await here.draws([cube.vault_id], [cube.id], None) == known
    clock.pass_by(RELOADED.total_seconds())
    assert (await here.draws([cube.vault_id], [cube.id], None)).effects == {}


async def test_a_recall_of_ten_memories_costs_less_than_a_third_of_a_millisecond(
    core: Core, usefulness: Usefulness
) -> None:
    cubes = [await put(core, f"Hint number {number}") for number in range(10)]
    await helped(core, usefulness, cubes[0], 2)
    ids, vaults = [cube.id for cube in cubes], [cubes[0].vault_id]
    await usefulness.draws(vaults, ids, 0)
    took = []
    for seed in range(50):
        begun = perf_counter()
        await usefulness.draws(vaults, ids, seed)
        plan(cubes, UNITS, seed=seed, vaults={vaults[0]: None})
        took.append(perf_counter() - begun)
    assert sorted(took)[len(took) // 2] < 0.0003


# -- showing -----------------------------------------------------------------------------------------------------------


async def test_uses_show_both_sides_and_hide_the_runs_of_others(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Try small numbers first")
    await share(core, cube.vault_id)
    both = await two_units(core, cube, True, (1.0, 0.25))
    theirs = await a_run(core, {"answer": {cube.id: True}}, {"answer": 1.0}, cubes=[cube], owner=BOB, agent="direct")
    for run_id in (both, theirs):
        await usefulness.settle(run_id)
    uses = await usefulness.uses(ANN, cube.id)
    assert [(side.run_id, side.outcome, side.agent) for side in uses.shown] == [
        (None, 1.0, "direct"),
        (both, 1.0, "best-of-n"),
    ]
    assert [(side.run_id, side.outcome) for side in uses.held_out] == [(both, 0.25)]
    assert uses.estimates[0].by_agent.keys() == {"best-of-n", "direct"}
    assert [side.run_id for side in (await usefulness.uses(BOB, cube.id)).shown] == [theirs, None]
    with pytest.raises(UnknownName):
        await usefulness.uses(Actor("usr_eve"), cube.id)


async def test_a_vault_shows_what_helped_what_hurt_and_what_was_never_measured(
    core: Core, usefulness: Usefulness
) -> None:
    good, bad, new, secret = [await put(core, text) for text in ("Try small numbers", "Guess", "Draw", "The PIN")]
    await put(core, "Always be polite", pinned=True)
    await core.write(ANN, lambda tx: store.change(tx, store.get(tx, secret.id), kind="edit", sensitivity=("private",)))
    await helped(core, usefulness, good, 6)
    await helped(core, usefulness, bad, 6, good=0.0)
    await helped(core, usefulness, secret, 9)
    with pytest.raises(UnknownName):
        await usefulness.vault(BOB, good.vault_id)
    await share(core, good.vault_id, "private")
    mine = await usefulness.vault(ANN, "default")
    assert [item.memory.id for item in mine.helped] == [secret.id, good.id]
    assert [item.memory.id for item in mine.hurt] == [bad.id]
    assert [cube.id for cube in mine.unmeasured] == [new.id]
    assert mine.helped[1].mean > 0 > mine.hurt[0].mean
    theirs = await usefulness.vault(BOB, good.vault_id)
    assert [item.memory.id for item in theirs.helped] == [good.id]


# -- retirement --------------------------------------------------------------------------------------------------------


async def harmful(core: Core, usefulness: Usefulness, times: int = LEAST) -> MemCube:
    cube = await put(core, "Guess")
    await helped(core, usefulness, cube, times, good=0.0)
    return cube


async def test_a_harmful_memory_is_proposed_with_its_evidence_and_archived_when_a_person_agrees(
    core: Core, usefulness: Usefulness
) -> None:
    cube = await harmful(core, usefulness)
    fine = await put(core, "Try small numbers first")
    await helped(core, usefulness, fine, LEAST)
    assert await propose(core) == 1
    assert await propose(core) == 0
    (item,) = await core.read(ANN, reviews.page)
    assert (item.kind, item.memory_id) == ("retirement", cube.id)
    assert item.evidence["n"] == LEAST
    assert item.evidence["tested"] == 2
    assert "-3.125" in item.reason
    await core.write(ANN, lambda tx: reviews.decide(tx, item.id, "accept"))
    after = await core.read(ANN, lambda tx: store.get(tx, cube.id))
    assert after.state == "archived"


async def test_before_enough_problems_nothing_is_proposed(core: Core, usefulness: Usefulness) -> None:
    await harmful(core, usefulness, LEAST - 1)
    assert await propose(core) == 0


async def test_a_proposal_that_was_turned_down_comes_again_with_twice_the_evidence(
    core: Core, usefulness: Usefulness
) -> None:
    cube = await harmful(core, usefulness)
    await propose(core)
    (item,) = await core.read(ANN, reviews.page)
    await core.write(ANN, lambda tx: reviews.decide(tx, item.id, "reject"))
    await helped(core, usefulness, cube, LEAST - 1, good=0.0)
    assert await propose(core) == 0
    await helped(core, usefulness, cube, 1, good=0.0)
    assert await propose(core) == 1


async def test_what_was_edited_pinned_or_archived_since_is_not_proposed(core: Core, usefulness: Usefulness) -> None:
    cube = await harmful(core, usefulness)
    home = await vault_id(core)
    assert len(await core.read(ANN, lambda tx: proposals(tx, home))) == 1
    for fields in ({"pinned": True}, {"pinned": False, "content": "Never guess"}):
        await core.write(
            ANN,
            lambda tx, fields=fields: store.change(tx, store.get(tx, cube.id), kind="edit", **fields),  # type: ignore[misc]
        )
        assert await core.read(ANN, lambda tx: proposals(tx, home)) == []


async def test_kinds_are_tested_apart(core: Core, usefulness: Usefulness) -> None:
    cube = await put(core, "Guess")
    await helped(core, usefulness, cube, LEAST - 1, good=0.0)
    run_id = await a_run(core, {"answer": {cube.id: True}}, {}, cubes=[cube])
    await usefulness.feedback(ANN, cube.id, run_id, helpful=False)
    assert await propose(core) == 0
