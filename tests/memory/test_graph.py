"""The neighbourhood of a memory or an entity: nearest first, and nothing in it that the reader could not find."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from memory import graph, store
from memory.core import Core
from memory.graph import Neighbourhood, around_entity, around_memory
from memory.indices.csr import HUB
from memory.tables import GrantRow
from memory.types import MemCube
from runtime.errors import Gone, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


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


async def link(core: Core, src: MemCube, dst: MemCube) -> None:
    await core.write(ANN, lambda tx: store.link(tx, src.id, dst.id, "RELATES", 0.5))


async def move(core: Core, cube: MemCube, event: str) -> None:
    await core.write(ANN, lambda tx: store.move(tx, cube, event))


def named(found: Neighbourhood) -> dict[str, int]:
    """Degree by name."""
    return {node.name: node.degree for node in found.nodes}


def memories(found: Neighbourhood) -> list[str]:
    return [edge.memory for edge in found.edges]


def bound(found: Neighbourhood, cube: MemCube) -> set[str]:
    """The names of the entities of one memory in the answer."""
    names = {node.id: node.name for node in found.nodes}
    (edge,) = (edge for edge in found.edges if edge.memory == cube.id)
    return {names[each] for each in edge.entities}


async def refusal(call: Awaitable[Neighbourhood], *names: str) -> str:
    """What Bob is told, without the names that he asked with."""
    with pytest.raises(UnknownName) as unknown:
        await call
    said = unknown.value.message
    for name in names:
        said = said.replace(name, "IT")
    return said


async def test_a_memory_lies_among_those_that_share_its_entities(core: Core) -> None:
    start = await put(core, "Ana and Rui meet in Porto", entities=("Ana", "Rui", "Porto"), title="The meeting")
    one = await put(core, "Porto has " + "a very long and winding " * 20 + "river", entities=("PORTO",))
    two = await put(core, "Ana writes to Rui", entities=("Ana", "Rui"), semantic_type="event")
    far = await put(core, "Eva sings", entities=("Eva",))
    way = await put(core, "Rui listens to Eva", entities=("Rui", "Eva"))
    await link(core, two, start)
    await link(core, far, start)
    found = await around_memory(core, ANN, start.id)
    assert memories(found) == [start.id, two.id, one.id, way.id]
    assert named(found) == {"Ana": 2, "Rui": 3, "Porto": 2, "Eva": 2}
    assert bound(found, start) == {"Ana", "Rui", "Porto"}
    assert bound(found, way) == {"Rui", "Eva"}
    first, second = found.edges[:2]
    assert (first.title, first.state, first.vault) == ("The meeting", "activated", start.vault_id)
    assert second.semantic_type == "event"
    (long,) = (edge.title for edge in found.edges if edge.memory == one.id)
    assert len(long) <= graph.LABEL
    assert long.startswith("Porto has a very")
    assert long.endswith("…")
    assert [(edge.src_id, edge.dst_id, edge.type, edge.weight) for edge in found.links] == [
        (two.id, start.id, "RELATES", 0.5)
    ]
    assert not found.truncated
    farther = await around_memory(core, ANN, start.id, hops=2)
    assert memories(farther) == [*memories(found), far.id]
    assert {edge.src_id for edge in farther.links} == {two.id, far.id}
    assert not farther.truncated


async def test_an_entity_shows_the_memories_that_name_it(core: Core) -> None:
    first = await put(core, "one", entities=("Ana", "Rui"))
    second = await put(core, "two", entities=("ana",))
    far = await put(core, "three", entities=("Rui",))
    home = await vault_id(core)
    found = await around_entity(core, ANN, "  ANA ", home)
    assert memories(found) == [second.id, first.id]
    assert named(found) == {"Ana": 2, "Rui": 2}
    assert memories(await around_entity(core, ANN, "Ana", "default", hops=2)) == [second.id, first.id, far.id]


async def test_a_memory_without_entities_is_alone(core: Core) -> None:
    alone = await put(core, "nobody here")
    await put(core, "nobody here either")
    found = await around_memory(core, ANN, alone.id, hops=3)
    assert (memories(found), found.nodes, found.links, found.truncated) == ([alone.id], (), (), False)


async def test_the_limit_keeps_the_nearest_and_says_that_there_are_more(core: Core) -> None:
    start = await put(core, "start", entities=("Ana", "Rui", "Eva"))
    far = [await put(core, f"shares one, {n}", entities=("Ana",)) for n in range(3)]
    near = [await put(core, f"shares two, {n}", entities=("Ana", "Rui")) for n in range(3)]
    found = await around_memory(core, ANN, start.id, limit=4)
    assert memories(found) == [start.id, *(cube.id for cube in reversed(near))]
    assert found.truncated
    whole = await around_memory(core, ANN, start.id, limit=7)
    assert memories(whole) == [start.id, *(cube.id for cube in reversed(near)), *(cube.id for cube in reversed(far))]
    assert not whole.truncated
    assert (await around_memory(core, ANN, start.id, limit=1)).truncated


async def test_what_everything_names_is_not_passed_but_may_be_asked_for(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "HUB", 3)
    cubes = [await put(core, f"day {n}", entities=("Ana", f"week {n // 2}")) for n in range(6)]
    found = await around_memory(core, ANN, cubes[0].id, hops=3)
    assert memories(found) == [cubes[0].id, cubes[1].id]
    assert named(found) == {"Ana": 6, "week 0": 2}
    assert found.truncated
    every = await around_entity(core, ANN, "Ana", "default")
    assert memories(every) == [cube.id for cube in reversed(cubes)]
    assert not every.truncated
    monkeypatch.setattr(graph, "MOST", 4)
    assert memories(await around_entity(core, ANN, "Ana", "default")) == [cube.id for cube in reversed(cubes[2:])]
    assert (await around_entity(core, ANN, "Ana", "default")).truncated
    assert HUB > 3


async def test_only_what_a_search_may_find_appears_and_counts(core: Core, clock: SetClock) -> None:
    start = await put(core, "start", entities=("Ana",))
    for state in ("quarantined", "merged", "archived", "expired", "deleted"):
        await put(core, f"hidden: {state}", entities=("Ana", f"named by {state}"), state=state)
    brief = await put(core, "brief", entities=("Ana",), expires_at=clock.now() + timedelta(seconds=2))
    frozen = await put(core, "frozen", entities=("Ana",), expires_at=clock.now() + timedelta(seconds=2))
    await move(core, frozen, "freeze")
    secret = await put(core, "secret", entities=("Ana",), sensitivity=("health",), expires_at=brief.expires_at)
    await move(core, secret, "freeze")
    shown = await put(core, "generated", entities=("Ana",), state="generated")
    await link(core, shown, brief)
    found = await around_memory(core, ANN, start.id)
    assert set(memories(found)) == {start.id, brief.id, frozen.id, secret.id, shown.id}
    assert named(found) == {"Ana": 5}
    assert len(found.links) == 1
    clock.pass_by(3)
    found = await around_memory(core, ANN, start.id)
    assert set(memories(found)) == {start.id, frozen.id, shown.id}
    assert named(found) == {"Ana": 3}
    assert found.links == ()
    with pytest.raises(Gone):
        await around_memory(core, ANN, brief.id)
    await move(core, await put(core, "away", entities=("Zoe",)), "delete")
    with pytest.raises(UnknownName, match="'Zoe'"):
        await around_entity(core, ANN, "Zoe", "default")


async def test_a_start_that_is_archived_is_shown_to_who_asks_for_it(core: Core) -> None:
    old = await put(core, "old", entities=("Ana",), state="archived")
    new = await put(core, "new", entities=("Ana",))
    found = await around_memory(core, ANN, old.id)
    assert memories(found) == [old.id, new.id]
    assert named(found) == {"Ana": 1}


async def test_unknown_foreign_and_masked_look_the_same(core: Core) -> None:
    foreign = await put(core, "mine", entities=("Ana",))
    home, nowhere, nothing = await vault_id(core), new_id("vlt"), new_id("mem")

    async def memory(memory_id: str) -> str:
        return await refusal(around_memory(core, BOB, memory_id), memory_id)

    async def entity(name: str, vault: str) -> str:
        return await refusal(around_entity(core, BOB, name, vault), name, vault)

    assert await memory(foreign.id) == await memory(nothing)
    assert await entity("Ana", home) == await entity("Ana", nowhere)
    await grant(core, masked_tags=["health"])
    masked = await put(core, "ill", entities=("Doctor",), sensitivity=("health",))
    assert await memory(masked.id) == await memory(nothing)
    assert await entity("Doctor", home) == await entity("Nobody", home)


async def test_what_is_masked_leaves_no_trace(core: Core) -> None:
    start = await put(core, "open", entities=("Ana",))
    masked = await put(core, "Ana sees a doctor", entities=("Ana", "Doctor"), sensitivity=("health",))
    behind = await put(core, "The doctor's house", entities=("Doctor",))
    other = await put(core, "also open", entities=("Ana",), sensitivity=("work",))
    await link(core, masked, start)
    await grant(core, masked_tags=["health"])
    found = await around_memory(core, BOB, start.id, hops=3)
    assert set(memories(found)) == {start.id, other.id}
    assert named(found) == {"Ana": 2}
    assert found.links == ()
    assert not found.truncated
    mine = await around_memory(core, ANN, start.id, hops=3)
    assert set(memories(mine)) == {start.id, other.id, masked.id, behind.id}
    assert named(mine) == {"Ana": 3, "Doctor": 2}


async def test_a_walk_stays_in_its_vault(core: Core) -> None:
    await core.default_vault(BOB)
    mine = [await put(core, f"mine {n}", entities=("Ana",)) for n in range(2)]
    await put(core, "Bob's", BOB, entities=("Ana",))
    found = await around_memory(core, ANN, mine[0].id, hops=3)
    assert set(memories(found)) == {cube.id for cube in mine}
    assert named(found) == {"Ana": 2}
    assert named(await around_entity(core, BOB, "Ana", "default")) == {"Ana": 1}


async def test_a_read_on_a_grant_of_so_many_reads_is_counted(core: Core) -> None:
    cube = await put(core, "shared", entities=("Ana",))
    home = await vault_id(core)
    await grant(core, max_reads=2)
    await around_memory(core, BOB, cube.id)
    await around_entity(core, BOB, "Ana", home)
    used = await core.db.read(lambda connection: connection.execute(select(GrantRow.reads_used)).scalar_one())
    assert used == 2
    with pytest.raises(UnknownName):
        await around_memory(core, BOB, cube.id)


@pytest.mark.parametrize(("hops", "limit"), [(0, 10), (4, 10), (1, 0), (1, 501)])
async def test_other_sizes_are_refused(core: Core, hops: int, limit: int) -> None:
    cube = await put(core, "one", entities=("Ana",))
    with pytest.raises(InvalidInput, match="expected 1 to"):
        await around_memory(core, ANN, cube.id, hops=hops, limit=limit)
    with pytest.raises(InvalidInput, match="expected 1 to"):
        await around_entity(core, ANN, "Ana", "default", hops=hops, limit=limit)
