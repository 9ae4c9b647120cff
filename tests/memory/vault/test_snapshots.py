"""Snapshots: what the vault was at one moment, told without text, and what differs from it now."""

from __future__ import annotations

from typing import Any

import pytest

from memory import audit, erase, store
from memory.core import Core
from memory.types import MemCube
from memory.vault.grants import Grants, Terms
from memory.vault.snapshots import Difference, Item, Snapshot, Snapshots, digest_now
from runtime.errors import Forbidden, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id

pytestmark = pytest.mark.anyio


async def take(core: Core, label: str = "now") -> Snapshot:
    return await Snapshots(core).take(ANN, "default", label)


async def edit(core: Core, cube: MemCube, **new: Any) -> MemCube:
    return await core.write(ANN, lambda tx: store.change(tx, store.get(tx, cube.id), kind="edit", **new))


async def move(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), event))


async def test_a_snapshot_holds_every_memory_that_is_not_purged_in_any_state(core: Core) -> None:
    used, archived, deleted, purged = [await put(core, f"m{number}") for number in range(4)]
    await move(core, archived, "archive")
    for cube in (deleted, purged):
        await move(core, cube, "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, store.get(tx, purged.id)))
    snapshot, items = await Snapshots(core).show(ANN, "default", (await take(core)).id)
    assert (snapshot.label, snapshot.branch, snapshot.parent_id, snapshot.created_by) == (
        "now",
        "main",
        None,
        ANN.user_id,
    )
    assert items == [Item(used.id, 1, "activated"), Item(archived.id, 2, "archived"), Item(deleted.id, 2, "deleted")]


async def test_the_digest_is_of_contents_and_states_and_not_of_versions(core: Core) -> None:
    cube = await put(core, "one")
    snapshot = await take(core)

    async def digest() -> str:
        return await core.read(ANN, lambda tx: digest_now(tx, snapshot.id))

    assert await digest() == snapshot.digest
    await edit(core, cube, content="two")
    assert await digest() != snapshot.digest
    await edit(core, cube, content="one")
    assert await digest() == snapshot.digest
    await move(core, cube, "archive")
    assert await digest() != snapshot.digest
    await move(core, cube, "restore")
    await put(core, "a newcomer")
    assert await digest() == snapshot.digest


async def test_a_diff_names_what_changed_what_is_new_and_what_was_purged(core: Core) -> None:
    same, edited, archived, purged = [await put(core, f"m{number}") for number in range(4)]
    snapshot = await take(core)
    assert await Snapshots(core).diff(ANN, "default", snapshot.id) == []
    await edit(core, edited, content="other")
    await move(core, archived, "archive")
    await move(core, purged, "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, store.get(tx, purged.id)))
    new = await put(core, "newcomer")
    gone = await put(core, "came and went")
    await move(core, gone, "delete")
    found = await Snapshots(core).diff(ANN, "default", snapshot.id)
    assert [(each.memory_id, each.what, each.then, each.now.state) for each in found] == [
        (edited.id, "changed", Item(edited.id, 1, "activated"), "activated"),
        (archived.id, "changed", Item(archived.id, 1, "activated"), "archived"),
        (purged.id, "purged", Item(purged.id, 1, "activated"), "deleted"),
        (new.id, "new", None, "activated"),
    ]
    pages: list[Difference] = []
    after = ""
    while page := await Snapshots(core).diff(ANN, "default", snapshot.id, after=after, limit=1):
        pages += page
        after = page[-1].memory_id
    assert pages == found
    assert same.id not in {each.memory_id for each in found}


async def test_snapshots_come_newest_first_know_their_parent_and_can_be_forgotten(core: Core) -> None:
    made = [await take(core, f"s{number}") for number in range(3)]
    assert [snapshot.parent_id for snapshot in made] == [None, made[0].id, made[1].id]
    first = await Snapshots(core).page(ANN, "default", limit=2)
    rest = await Snapshots(core).page(ANN, "default", after=first[-1].id)
    assert [*first, *rest] == made[::-1]
    await put(core, "m")
    await Snapshots(core).forget(ANN, "default", made[1].id)
    assert [snapshot.id for snapshot in await Snapshots(core).page(ANN, "default")] == [made[2].id, made[0].id]
    with pytest.raises(UnknownName):
        await Snapshots(core).show(ANN, "default", made[1].id)


async def test_who_may_not_see_a_memory_does_not_find_it_in_a_snapshot(core: Core) -> None:
    home = await vault_id(core)
    seen, masked = await put(core, "a"), await put(core, "b", sensitivity=("health",))
    snapshot = await take(core)
    with pytest.raises(UnknownName):
        await Snapshots(core).show(BOB, home, snapshot.id)
    await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob", masked_tags=("health",)))
    for cube in (seen, masked):
        await edit(core, cube, content=f"{cube.content}!")
    await put(core, "c", sensitivity=("health",))
    _, items = await Snapshots(core).show(BOB, home, snapshot.id)
    assert [item.memory_id for item in items] == [seen.id]
    assert [each.memory_id for each in await Snapshots(core).diff(BOB, home, snapshot.id)] == [seen.id]
    for call in (Snapshots(core).take(BOB, home), Snapshots(core).forget(BOB, home, snapshot.id)):
        with pytest.raises(Forbidden):
            await call


async def test_a_snapshot_is_looked_for_in_its_vault_only(core: Core) -> None:
    snapshot = await take(core)
    await core.default_vault(BOB)
    told = []
    for snapshot_id in (snapshot.id, new_id("snp")):
        with pytest.raises(UnknownName) as unknown:
            await Snapshots(core).show(BOB, "default", snapshot_id)
        told.append(str(unknown.value).replace(snapshot_id, "ID"))
    assert told[0] == told[1]


async def test_taking_and_forgetting_is_audited_and_bad_input_refused(core: Core) -> None:
    snapshot = await take(core)
    await Snapshots(core).forget(ANN, "default", snapshot.id)
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[snapshot.vault_id], after=0, limit=10))
    assert [(line.action, line.detail) for line in lines] == [
        ("snapshot", {"id": snapshot.id}),
        ("forget", {"id": snapshot.id}),
    ]
    with pytest.raises(InvalidInput, match="label"):
        await take(core, "x" * 201)
    with pytest.raises(InvalidInput, match="limit"):
        await Snapshots(core).page(ANN, "default", limit=0)
