"""What happened in a vault, and what was believed: every kind once, in order, and nothing that the reader may not know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from memory import erase, merging, store
from memory.core import Core
from memory.tables import GrantRow
from memory.timeline import BINS, Timeline, What, believed, timeline
from memory.types import Actor, MemCube
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import new_id
from runtime.tables import Run, RunEvent
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


async def grant(core: Core, **given: Any) -> None:
    row = {
        "id": new_id("grt"),
        "vault_id": await vault_id(core),
        "grantee_id": BOB.user_id,
        "can_read": True,
        "can_write": False,
        "can_share": False,
        "can_delete": False,
        "masked_tags": [],
        "reads_used": 0,
        "created_at": core.clock.now(),
        "created_by": ANN.user_id,
    } | given
    await core.write(ANN, lambda tx: tx.connection.execute(insert(GrantRow).values(**row)))


async def edit(core: Core, cube: MemCube, content: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", reason="better", content=content))


async def move(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, cube, event))


async def recall(core: Core, actor: Actor, memory: str, shown: str = "shown") -> str:
    """A run of the actor whose log says that it found the memory."""
    run_id, now = new_id("run"), core.clock.now()
    run = {
        "id": run_id,
        "owner": actor.user_id,
        "agent": "direct",
        "agent_version": 1,
        "model": "m",
        "status": "succeeded",
    }
    read = {"id": memory, "version": 1, "score": 1.0, "why": "w", "unit": "u", "shown": shown, "p": 1.0}
    event = {"run_id": run_id, "seq": 1, "at": now, "type": "memory.read", "data": read}

    def work(tx: Any) -> None:
        tx.connection.execute(insert(Run).values(**run, spec={}, usage={}, created_at=now))
        tx.connection.execute(insert(RunEvent).values(**event))

    await core.write(actor, work)
    return run_id


def told(found: Timeline) -> list[tuple[str, str, int]]:
    return [(one.what, one.memory, one.version) for one in found.items]


async def test_every_kind_of_happening_is_told_once_and_the_newest_first(core: Core, clock: SetClock) -> None:
    one = await put(core, "Ana lives in Porto")
    clock.pass_by(3600)
    edited = await edit(core, one, "Ana lives in Lisbon")
    clock.pass_by(3600)
    run_id = await recall(core, ANN, one.id, "held_out")
    clock.pass_by(3600)
    two, three = await put(core, "Rui sails"), await put(core, "Rui sails at sea")
    clock.pass_by(3600)
    await core.write(ANN, lambda tx: merging.merge(tx, three, two))
    clock.pass_by(3600)
    new = await put(core, "Ana lives in Faro")
    await core.write(ANN, lambda tx: store.supersede(tx, edited, new))
    clock.pass_by(3600)
    await move(core, new, "delete")
    found = await timeline(core, ANN)
    assert [one.what for one in found.items if one.what not in ("born", "merged")] == [
        "gone",
        "superseded",
        "recalled",
        "edited",
    ]
    assert {(what, memory) for what, memory, _ in told(found)} >= {
        ("born", one.id),
        ("edited", one.id),
        ("merged", two.id),
        ("merged", three.id),
        ("superseded", one.id),
        ("gone", new.id),
    }
    assert found.counts == {"born": 4, "edited": 1, "recalled": 1, "merged": 2, "superseded": 1, "gone": 1}
    assert found.total == sum(found.counts.values()) == len(found.items)
    assert [each.at for each in found.items] == sorted((each.at for each in found.items), reverse=True)
    read = next(each for each in found.items if each.what == "recalled")
    assert (read.run_id, read.seq, read.held_out) == (run_id, 1, True)
    changed = next(each for each in found.items if each.what == "edited")
    assert (changed.reason, changed.actor, changed.title) == ("better", ANN.user_id, "Ana lives in Lisbon")
    assert next(each for each in found.items if each.what == "gone").title == ""
    assert not found.truncated


async def test_lanes_hold_everything_and_the_rows_the_chosen_part(core: Core, clock: SetClock) -> None:
    begin = clock.now()
    cubes = []
    for n in range(5):
        cubes.append(await put(core, f"Reading number {n} of the buoy"))
        clock.pass_by(3600)
    found = await timeline(core, ANN, begin=begin + HOUR, end=begin + 3 * HOUR, limit=2)
    assert found.lanes is not None
    assert sum(found.lanes.counts["born"]) == 5
    assert {len(counts) for counts in found.lanes.counts.values()} == {BINS}
    assert found.lanes.counts["born"][0] == found.lanes.counts["born"][-1] == 1
    assert told(found) == [("born", cubes[3].id, 1), ("born", cubes[2].id, 1)]
    assert (found.total, found.next) == (3, 2)
    rest = await timeline(core, ANN, begin=begin + HOUR, end=begin + 3 * HOUR, skip=2, limit=2)
    assert (told(rest), rest.next) == ([("born", cubes[1].id, 1)], None)
    ends: tuple[What, ...] = ("gone",)
    none = await timeline(core, ANN, whats=ends)
    assert (none.items, none.total, none.counts["born"]) == ((), 0, 5)


async def test_a_vault_in_which_nothing_happened_has_no_axis(core: Core) -> None:
    found = await timeline(core, ANN)
    assert (found.lanes, found.items, found.total) == (None, (), 0)


async def test_recalls_by_the_runs_of_somebody_else_are_not_told(core: Core) -> None:
    one = await put(core, "Ana lives in Porto")
    await grant(core)
    await recall(core, BOB, one.id)
    assert (await timeline(core, ANN)).counts["recalled"] == 0
    assert (await timeline(core, BOB, await vault_id(core))).counts["recalled"] == 1


async def test_a_reader_is_told_nothing_of_what_is_masked_and_no_words_of_what_is_gone(core: Core) -> None:
    await put(core, "The password is x", sensitivity=("secret",))
    gone = await put(core, "Ana lives in Porto")
    await move(core, await edit(core, gone, "Ana lives in Faro"), "delete")
    await grant(core, masked_tags=["secret"])
    found = await timeline(core, BOB, await vault_id(core))
    assert {one.memory for one in found.items} == {gone.id}
    assert {(one.title, one.reason) for one in found.items} == {("", "")}
    assert {one.reason for one in (await timeline(core, ANN)).items} >= {"better", "delete"}


async def test_a_purged_memory_keeps_its_birth_and_its_end(core: Core) -> None:
    cube = await move(core, await put(core, "Ana lives in Porto"), "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, cube))
    found = await timeline(core, ANN)
    assert {(one.what, one.title) for one in found.items} == {("born", ""), ("gone", "")}


async def test_a_foreign_vault_is_not_there(core: Core) -> None:
    vault = await vault_id(core)
    with pytest.raises(UnknownName):
        await timeline(core, BOB, vault)
    with pytest.raises(UnknownName):
        await believed(core, BOB, vault, core.clock.now())


async def test_an_impossible_part_is_refused(core: Core) -> None:
    now = core.clock.now()
    with pytest.raises(InvalidInput, match="before the beginning"):
        await timeline(core, ANN, begin=now, end=now - HOUR)
    with pytest.raises(InvalidInput, match="limit 0"):
        await timeline(core, ANN, limit=0)
    with pytest.raises(InvalidInput, match="cursor -1"):
        await believed(core, ANN, None, now, skip=-1)


async def test_believed_is_what_was_recorded_in_use_and_true_then(core: Core, clock: SetClock) -> None:
    start = clock.now()
    one = await put(core, "Ana lives in Porto")
    past = await put(core, "Rui was mayor", valid_to=start + 2 * HOUR)
    clock.pass_by(3600)
    edited = await edit(core, one, "Ana lives in Lisbon")
    clock.pass_by(4 * 3600)
    later = await put(core, "The ferry is late", valid_from=start + 9 * HOUR)
    erased = await move(core, await put(core, "The key is y"), "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, erased))
    await move(core, edited, "archive")
    clock.pass_by(3600)

    async def at(hours: float) -> dict[str, str]:
        found = await believed(core, ANN, None, start + hours * HOUR)
        return {each.then.id: each.then.content for each in found.items}

    assert await at(-1) == {}
    assert await at(0.5) == {one.id: "Ana lives in Porto", past.id: "Rui was mayor"}
    assert await at(3) == {one.id: "Ana lives in Lisbon"}
    assert await at(5.5) == {}
    assert await at(10) == {later.id: "The ferry is late"}
    then = await believed(core, ANN, None, start + HOUR / 2, limit=1)
    assert (then.total, then.next, then.items[0].then.id) == (2, 1, past.id)
    rest = await believed(core, ANN, None, start + HOUR / 2, skip=1)
    assert [(each.then.version, each.now.version, each.now.state) for each in rest.items] == [(1, 3, "archived")]
