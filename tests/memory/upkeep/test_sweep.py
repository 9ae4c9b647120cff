"""The sweep: what is due leaves, everything else stays, and each move is a version, an audit line and an outbox entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import func, insert, select, update

from memory import audit, erase, reviews, store, versions
from memory.core import Core
from memory.tables import JobRow, MemoryRow, MemoryUse, OutboxRow, VaultRow
from memory.types import MemCube
from memory.upkeep import sweep
from memory.upkeep.sweep import Policy, Sweep
from tests.memory.conftest import ANN, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def sweeper(core: Core, clock: SetClock) -> Sweep:
    async def leads() -> bool:
        return True

    return Sweep(core, leads=leads, time=lambda _: clock.now(), policy=Policy(capacity={"user": 2}))


async def now_of(core: Core, cube: MemCube) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, cube.id))


async def use(core: Core, cube: MemCube, times: int) -> None:
    row = {"memory_id": cube.id, "uses": times, "last_used_at": core.clock.now()}
    await core.db.write(lambda connection: connection.execute(insert(MemoryUse).values(**row)))


async def test_a_memory_whose_time_is_up_expires_with_version_audit_and_outbox(
    core: Core, clock: SetClock, sweeper: Sweep
) -> None:
    soon = clock.now() + timedelta(seconds=2)
    states = ("activated", "generated", "quarantined")
    due = [await put(core, f"Ana is in Porto {n}", expires_at=soon, state=s) for n, s in enumerate(states)]
    kept = await put(core, "Ana lives in Porto", expires_at=soon + timedelta(days=1))
    assert (await sweeper.minutely())["expired"] == 0
    clock.pass_by(2)
    assert (await sweeper.minutely())["expired"] == 3
    for cube in due:
        after = await now_of(core, cube)
        assert (after.state, after.version, after.purge_after) == ("expired", 2, clock.now() + timedelta(days=7))
        history = await core.read(ANN, lambda tx, c=cube: versions.history(tx, c.id))  # type: ignore[misc]
        assert (history[0].actor_id, history[0].change) == ("system", "state")
        assert await core.read(ANN, lambda tx, c=cube: versions.verify_chain(tx, c.id))  # type: ignore[misc]
    assert (await now_of(core, kept)).state == "activated"
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[kept.vault_id], after=0, limit=10))
    assert {line.object_id for line in lines if line.action == "expire"} == {cube.id for cube in due}
    query = select(func.count()).where(OutboxRow.memory_id.in_([cube.id for cube in due]), OutboxRow.version == 2)
    assert await core.db.read(lambda connection: connection.execute(query).scalar_one()) == 3


async def test_more_than_one_batch_expires_in_one_round(
    core: Core, clock: SetClock, sweeper: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for n in range(5):
        await put(core, f"fact {n}", expires_at=clock.now())
    assert (await sweeper.minutely())["expired"] == 5


async def test_freezing_suspends_a_lifetime_unless_the_text_is_sensitive(
    core: Core, clock: SetClock, sweeper: Sweep
) -> None:
    plain = await put(core, "a", expires_at=clock.now(), state="frozen")
    health = await put(core, "b", expires_at=clock.now(), state="frozen", sensitivity=("health",))
    assert (await sweeper.minutely())["expired"] == 1
    assert ((await now_of(core, plain)).state, (await now_of(core, health)).state) == ("frozen", "expired")


async def test_a_vault_that_is_being_rolled_back_is_left_alone(core: Core, clock: SetClock, sweeper: Sweep) -> None:
    cube = await put(core, "a", expires_at=clock.now())
    await core.db.write(lambda c: c.execute(update(VaultRow).values(locked_by="job_1")))
    assert (await sweeper.minutely())["expired"] == 0
    assert (await now_of(core, cube)).state == "activated"


async def test_thirty_days_in_quarantine_without_a_decision_delete(core: Core, clock: SetClock, sweeper: Sweep) -> None:
    cube = await put(core, "Ana may live in Porto", state="quarantined")
    assert (await sweeper.minutely())["asked"] == 1
    clock.pass_by(29 * 86400)
    assert (await sweeper.minutely())["rejected"] == 0
    clock.pass_by(2 * 86400)
    found = await sweeper.minutely()
    assert (found["rejected"], found["withdrawn"]) == (1, 1)
    assert (await now_of(core, cube)).state == "deleted"
    assert await core.read(ANN, reviews.page) == []


async def test_cold_memories_are_archived_and_warm_or_pinned_ones_are_not(
    core: Core, clock: SetClock, sweeper: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    made: dict[str, Any] = {"origin": "inference_extraction"}
    cold, warm, pinned = await put(core, "a", **made), await put(core, "b", **made), await put(core, "c", pinned=True)
    written = await put(core, "d")
    for cube, times in ((cold, 1), (warm, 40), (pinned, 1)):
        await use(core, cube, times)
    clock.pass_by(14 * 86400)
    assert (await sweeper.daily())["archived"] == 0
    clock.pass_by(21 * 86400)
    assert (await sweeper.daily())["archived"] == 1
    states = [(await now_of(core, cube)).state for cube in (cold, warm, pinned, written)]
    assert states == ["archived", "activated", "activated", "activated"]


async def test_a_class_that_is_full_archives_its_coldest(core: Core, sweeper: Sweep) -> None:
    liked = [await put(core, f"Ana likes {n}", semantic_type="preference") for n in range(4)]
    facts = [await put(core, f"fact {n}") for n in range(4)]
    for cube in liked[2:]:
        await use(core, cube, 1)
    assert (await sweeper.daily())["crowded"] == 2
    assert [(await now_of(core, cube)).state for cube in liked] == ["archived"] * 2 + ["activated"] * 2
    assert {(await now_of(core, cube)).state for cube in facts} == {"activated"}


async def test_the_content_of_deleted_memories_goes_at_the_purge_date(
    core: Core, clock: SetClock, sweeper: Sweep
) -> None:
    cube = await put(core, "Ana lives in Porto")
    await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), "delete"))
    clock.pass_by(29 * 86400)
    assert (await sweeper.daily())["purged"] == 0
    clock.pass_by(2 * 86400)
    assert (await sweeper.daily())["purged"] == 1
    assert await core.read(ANN, lambda tx: erase.is_purged(tx, cube.id))
    assert (await now_of(core, cube)).content == ""
    assert (await sweeper.daily())["purged"] == 0


async def test_a_summary_is_stale_when_a_member_is_replaced_and_held_back_when_it_is_deleted(
    core: Core, clock: SetClock, sweeper: Sweep
) -> None:
    old, gone = await put(core, "Ana lives in Porto"), await put(core, "Ana is ill")
    summaries = [await put(core, f"About Ana {n}", semantic_type="summary", data={"title": "Ana"}) for n in range(2)]
    await core.write(ANN, lambda tx: store.link(tx, summaries[0].id, old.id, "PARENT"))
    await core.write(ANN, lambda tx: store.link(tx, summaries[1].id, gone.id, "PARENT"))
    assert (await sweeper.minutely())["summaries"] == 0
    clock.pass_by(1)
    new = await put(core, "Ana lives in Lisbon")
    await core.write(ANN, lambda tx: store.supersede(tx, store.get(tx, old.id), new))
    await core.write(ANN, lambda tx: store.move(tx, store.get(tx, gone.id), "delete"))
    assert (await sweeper.minutely())["summaries"] == 2
    stale, held = [await now_of(core, cube) for cube in summaries]
    assert (stale.state, dict(stale.data)) == ("activated", {"title": "Ana", "stale": True})
    assert held.state == "quarantined"
    clock.pass_by(60)
    assert (await sweeper.minutely())["summaries"] == 0


async def test_jobs_that_were_done_a_month_ago_are_forgotten(core: Core, clock: SetClock, sweeper: Sweep) -> None:
    rows = [
        {
            "id": f"job_{n}",
            "owner_id": "a",
            "kind": "k",
            "args": {},
            "state": state,
            "attempts": 1,
            "done": 0,
            "created_at": clock.now(),
            "finished_at": clock.now(),
        }
        for n, state in enumerate(("done", "dead", "failed"))
    ]
    await core.db.write(lambda c: c.execute(insert(JobRow), rows))
    clock.pass_by(31 * 86400)
    assert (await sweeper.daily())["jobs"] == 1


async def test_only_the_one_that_leads_sweeps(core: Core, clock: SetClock) -> None:
    cube = await put(core, "a", expires_at=clock.now())
    asked = anyio.Event()

    async def leads() -> bool:
        asked.set()
        return False

    async with anyio.create_task_group() as group:
        group.start_soon(Sweep(core, leads=leads, time=lambda _: clock.now()).run)
        await asked.wait()
        group.cancel_scope.cancel()
    assert (await now_of(core, cube)).state == "activated"


async def test_the_time_is_that_of_the_database(core: Core) -> None:
    moment = await core.db.read(sweep.database_time)
    assert moment.tzinfo is not None
    assert abs((moment - await core.db.read(sweep.database_time)).total_seconds()) < 60
    assert await core.db.read(lambda c: c.execute(select(func.count()).select_from(MemoryRow)).scalar_one()) == 0
    assert await vault_id(core)
