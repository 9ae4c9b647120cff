"""What-if branches: `main` sees nothing of them, and a merge takes all of a branch or nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import func, select

from memory import access, audit, erase, store, versions
from memory.core import Core
from memory.tables import BranchRow, SnapshotItemRow, SnapshotRow
from memory.tx import Tx
from memory.types import Actor, Change, Draft, MemCube, Source
from memory.vault.branch_merge import Clash
from memory.vault.branches import Branches
from memory.vault.grants import Grants, Terms
from memory.vault.snapshots import Snapshots
from runtime.errors import Conflict, Forbidden, Gone, InvalidInput, Stale, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
NAME = "what-if"


async def begin(core: Core, name: str = NAME) -> Branches:
    branches = Branches(core)
    await branches.create(ANN, "default", name)
    return branches


async def edit(
    core: Core, cube: MemCube, expect: int = 1, *, branch: str = NAME, by: Actor = ANN, **fields: Any
) -> MemCube:
    home = cube.vault_id
    return await Branches(core).edit(by, home, branch, cube.id, Change(fields), expect=expect)


async def edit_main(core: Core, cube: MemCube, **new: Any) -> MemCube:
    return await core.write(ANN, lambda tx: store.change(tx, store.get(tx, cube.id), kind="edit", **new))


async def move_main(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), event))


async def main(core: Core, cube: MemCube) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, cube.id))


async def contents(core: Core, branch: str = NAME) -> list[str]:
    return [cube.content for cube in (await Branches(core).page(ANN, "default", branch)).items]


async def left(core: Core) -> tuple[int, int, int]:
    def count(tx: Tx) -> tuple[int, int, int]:
        a, b, c = (
            tx.connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (SnapshotRow, SnapshotItemRow, BranchRow)
        )
        return a, b, c

    return await core.read(ANN, count)


async def test_edits_on_a_branch_are_not_seen_on_main_until_they_are_merged(core: Core) -> None:
    a, b, c = [await put(core, name, tags=("t",)) for name in "abc"]
    branches = await begin(core)
    changed = await edit(core, a, content="a on the branch", tags=())
    assert (changed.content, changed.tags, changed.version) == ("a on the branch", (), 2)
    added = await branches.add(ANN, "default", NAME, Draft("d", entities=("D",), sources=(Source("url", uri="u"),)))
    await branches.delete(ANN, "default", NAME, b.id, expect=1)
    assert await contents(core) == ["d", "c", "a on the branch"]
    with pytest.raises(Gone):
        await branches.get(ANN, "default", NAME, b.id)
    assert [(await main(core, cube)).content for cube in (a, b, c)] == ["a", "b", "c"]
    with pytest.raises(UnknownName):
        await core.read(ANN, lambda tx: access.memory(tx, added.id, "read"))

    merged = await branches.merge(ANN, "default", NAME)

    assert (merged.changed, merged.added, merged.deleted, merged.settled, merged.clashes) == (
        (a.id,),
        (added.id,),
        (b.id,),
        (),
        (),
    )
    after = await main(core, a)
    assert (after.content, after.tags, after.version) == ("a on the branch", (), 2)
    new = await core.read(ANN, lambda tx: access.memory(tx, added.id, "read"))
    assert (new[0].content, new[0].entities, new[0].provenance_id) == ("d", ("D",), added.provenance_id)
    assert (await main(core, b)).state == "deleted"
    history = await core.read(ANN, lambda tx: versions.history(tx, a.id))
    assert history[0].reason == f"merged from branch {NAME}"
    assert await left(core) == (0, 0, 0)
    assert await branches.all(ANN, "default") == []
    assert await core.read(ANN, lambda tx: audit.verify(tx, a.vault_id)) is None


async def test_a_merge_after_a_conflicting_edit_on_main_gives_one_conflict_and_changes_nothing(core: Core) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    branches = await begin(core)
    await edit(core, a, content="a on the branch")
    await edit(core, a, 2, tags=("x",))
    await edit(core, b, content="b on the branch")
    await branches.add(ANN, "default", NAME, Draft("new"))
    await edit_main(core, a, content="a on main")
    merged = await branches.merge(ANN, "default", NAME)
    assert merged.clashes == (Clash(a.id, 1, 3, 2, "it was changed on main as well"),)
    assert (merged.changed, merged.added) == ((), ())
    assert [(await main(core, cube)).content for cube in (a, b)] == ["a on main", "b"]
    assert await contents(core) == ["new", "b on the branch", "a on the branch"]
    assert [branch.edits for branch in await branches.all(ANN, "default")] == [3]


async def test_a_branch_stays_what_its_base_was(core: Core) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    await begin(core)
    await edit_main(core, a, content="a on main")
    await move_main(core, b, "archive")
    await put(core, "later")
    assert await contents(core) == ["b", "a"]
    assert await Branches(core).merge(ANN, "default", NAME) is not None
    assert (await main(core, a)).content == "a on main"


async def test_what_main_did_as_well_is_settled(core: Core) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    branches = await begin(core)
    await edit(core, a, content="same", tags=("t",))
    await branches.delete(ANN, "default", NAME, b.id, expect=1)
    twin = await branches.add(ANN, "default", NAME, Draft("twin"))
    await edit_main(core, a, content="same", tags=("t",))
    await move_main(core, b, "delete")
    await put(core, "twin")
    merged = await branches.merge(ANN, "default", NAME)
    assert (set(merged.settled), merged.changed, merged.added, merged.clashes) == ({a.id, b.id, twin.id}, (), (), ())
    assert (await main(core, a)).version == 2


@pytest.mark.parametrize(
    ("event", "why"),
    [("archive", "changed on main"), ("delete", "changed on main"), ("freeze", "changed on main"), ("purge", "erased")],
)
async def test_whatever_main_did_with_the_memory_is_a_clash(core: Core, event: str, why: str) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    await edit(core, cube, content="b")
    await move_main(core, cube, "delete" if event == "purge" else event)
    if event == "purge":
        await core.write(ANN, lambda tx: erase.erase(tx, store.get(tx, cube.id)))
        # The edit on the branch is erased with the memory, so there is nothing to merge.
        assert (await branches.merge(ANN, "default", NAME)).clashes == ()
        assert (await main(core, cube)).content == ""
        return
    merged = await branches.merge(ANN, "default", NAME)
    assert [clash.main for clash in merged.clashes] == [2]
    assert why in merged.clashes[0].why


async def test_frozen_memories_can_be_edited_on_a_branch_but_not_merged(core: Core) -> None:
    cube, other = await put(core, "a"), await put(core, "b")
    await move_main(core, cube, "freeze")
    branches = await begin(core)
    await edit(core, other, content="b on the branch")
    await edit(core, cube, 2, content="a on the branch")
    merged = await branches.merge(ANN, "default", NAME)
    assert [(clash.memory_id, clash.base, clash.main) for clash in merged.clashes] == [(cube.id, 2, 2)]
    assert "frozen" in merged.clashes[0].why
    assert [(await main(core, each)).content for each in (cube, other)] == ["a", "b"]


async def test_a_text_that_another_memory_got_meanwhile_is_a_clash(core: Core) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    await edit(core, cube, content="taken")
    other = await put(core, "taken")
    merged = await branches.merge(ANN, "default", NAME)
    assert [clash.memory_id for clash in merged.clashes] == [cube.id]
    assert other.id in merged.clashes[0].why
    assert (await main(core, cube)).content == "a"


async def test_memories_may_swap_their_texts_on_a_branch(core: Core) -> None:
    a, b, c = [await put(core, name) for name in "abc"]
    branches = await begin(core)
    await edit(core, a, content="b")
    await edit(core, b, content="a")
    await branches.delete(ANN, "default", NAME, c.id, expect=1)
    added = await branches.add(ANN, "default", NAME, Draft("c"))
    merged = await branches.merge(ANN, "default", NAME)
    assert (merged.clashes, merged.added) == ((), (added.id,))
    assert [(await main(core, cube)).content for cube in (a, b)] == ["b", "a"]
    for text, cube in (("b", a), ("a", b)):
        assert (await put(core, text)).id == cube.id


async def test_an_edit_that_writes_the_same_words_again_keeps_them_claimed(core: Core) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    await edit(core, cube, content="a", tags=("x",))
    await branches.merge(ANN, "default", NAME)
    assert (await put(core, "a")).id == cube.id


async def test_what_is_added_on_a_branch_can_be_edited_and_taken_back_there(core: Core) -> None:
    branches = await begin(core)
    added = await branches.add(ANN, "default", NAME, Draft("one"))
    changed = await edit(core, added, content="two")
    assert (changed.version, changed.content) == (2, "two")
    gone = await branches.add(ANN, "default", NAME, Draft("gone"))
    await branches.delete(ANN, "default", NAME, gone.id, expect=1)
    merged = await branches.merge(ANN, "default", NAME)
    assert merged.added == (added.id,)
    assert ((await main(core, added)).content, (await main(core, added)).version) == ("two", 1)


async def test_a_newer_fact_from_a_branch_takes_the_place_of_the_old(core: Core, clock: SetClock) -> None:
    then = clock.now() - timedelta(days=9)
    old = await put(core, "Ana lives in Porto", subject="Ana", attribute="home", valid_from=then)
    branches = await begin(core)
    draft = Draft("Ana lives in Lisbon", subject="Ana", attribute="home", valid_from=clock.now())
    await branches.add(ANN, "default", NAME, draft)
    await branches.merge(ANN, "default", NAME)
    assert ((await main(core, old)).state, (await main(core, old)).valid_to) == ("archived", clock.now())


async def test_of_two_editors_on_a_branch_the_second_is_told(core: Core) -> None:
    cube = await put(core, "a")
    await begin(core)
    outcomes: list[str] = []

    async def editing(number: int) -> None:
        try:
            await edit(core, cube, content=f"edit {number}")
        except Stale as stale:
            outcomes.append(f"stale: {stale.expected}, not {stale.current}")
        else:
            outcomes.append("done")

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(editing, number)
    assert sorted(outcomes) == ["done", *["stale: 1, not 2"] * 4]
    with pytest.raises(Stale):
        await Branches(core).delete(ANN, "default", NAME, cube.id, expect=1)


async def test_two_merges_at_once_merge_once(core: Core) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    await edit(core, cube, content="b")
    outcomes: list[str] = []

    async def merging() -> None:
        try:
            outcomes.append(str(len((await branches.merge(ANN, "default", NAME)).changed)))
        except UnknownName:
            outcomes.append("gone")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(merging)
    assert sorted(outcomes) == ["1", "gone", "gone"]
    assert (await main(core, cube)).version == 2


async def test_names_are_taken_once_and_a_dropped_branch_leaves_nothing(core: Core) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    outcomes: list[str] = []

    async def creating() -> None:
        try:
            await branches.create(ANN, "default", "second")
        except Conflict:
            outcomes.append("taken")
        else:
            outcomes.append("made")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(creating)
    assert sorted(outcomes) == ["made", "taken", "taken"]
    for name in ("main", "", "a/b", "a\nb", "x" * 201):
        with pytest.raises(InvalidInput, match="name"):
            await branches.create(ANN, "default", name)
    await edit(core, cube, content="b")
    for name in (NAME, "second"):
        await branches.drop(ANN, "default", name)
    assert await left(core) == (0, 0, 0)
    assert (await main(core, cube)).content == "a"


async def test_the_base_of_a_branch_is_no_snapshot_to_go_back_to(core: Core) -> None:
    await put(core, "a")
    made = await Branches(core).create(ANN, "default", NAME)
    assert await Snapshots(core).page(ANN, "default") == []
    with pytest.raises(UnknownName):
        await Snapshots(core).show(ANN, "default", made.id)


async def test_lists_come_in_pages(core: Core) -> None:
    cubes = [await put(core, f"m{number}") for number in range(5)]
    branches = await begin(core)
    added = await branches.add(ANN, "default", NAME, Draft("added"))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await branches.page(ANN, "default", NAME, after=after, limit=2)
        seen += [cube.id for cube in page.items]
        after = page.next
        if after is None:
            break
    assert seen == [added.id, *(cube.id for cube in reversed(cubes))]


async def test_a_branch_shows_nobody_more_than_main_does(core: Core) -> None:
    home = await vault_id(core)
    seen, masked, later = await put(core, "a"), await put(core, "b", sensitivity=("health",)), await put(core, "c")
    branches = await begin(core)
    secret = await branches.add(ANN, home, NAME, Draft("d", sensitivity=("health",)))
    for call in (branches.page(BOB, home, NAME), branches.get(BOB, home, NAME, seen.id), branches.all(BOB, home)):
        with pytest.raises(UnknownName):
            await call
    given = await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob", masked_tags=("health",)))
    # What is hidden on main since the branch began is hidden on the branch.
    await edit_main(core, later, sensitivity=("health",))
    assert [cube.id for cube in (await branches.page(BOB, home, NAME)).items] == [seen.id]
    for cube in (masked, later, secret):
        with pytest.raises(UnknownName, match="not found"):
            await branches.get(BOB, home, NAME, cube.id)
    with pytest.raises(Forbidden):
        await edit(core, seen, by=BOB, content="x")
    await Grants(core).revoke(ANN, home, given.grant.id)
    await Grants(core).give(ANN, home, Terms(frozenset({"read", "write"}), "bob", masked_tags=("health",)))
    with pytest.raises(UnknownName):
        await edit(core, masked, by=BOB, content="x")
    await edit(core, seen, by=BOB, content="x")
    with pytest.raises(Forbidden, match="hidden from you"):
        await branches.merge(BOB, home, NAME)


async def test_who_may_not_delete_merges_no_deletion(core: Core) -> None:
    cube, home = await put(core, "a"), await vault_id(core)
    branches = await begin(core)
    await branches.delete(ANN, home, NAME, cube.id, expect=1)
    await Grants(core).give(ANN, home, Terms(frozenset({"read", "write"}), "bob"))
    with pytest.raises(Forbidden, match="'delete'"):
        await branches.merge(BOB, home, NAME)
    assert (await main(core, cube)).state == "activated"


async def test_reading_a_branch_counts_on_a_metered_grant(core: Core) -> None:
    cube, home = await put(core, "a"), await vault_id(core)
    branches = await begin(core)
    await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob", max_reads=2))
    await branches.get(BOB, home, NAME, cube.id)
    await branches.page(BOB, home, NAME)
    with pytest.raises(UnknownName):
        await branches.get(BOB, home, NAME, cube.id)


async def test_lifetimes_go_on_on_a_branch(core: Core, clock: SetClock) -> None:
    cube = await put(core, "a", expires_at=clock.now() + timedelta(seconds=5))
    branches = await begin(core)
    await edit(core, cube, content="b")
    clock.pass_by(6)
    assert await contents(core) == []
    with pytest.raises(Gone):
        await branches.get(ANN, "default", NAME, cube.id)
    merged = await branches.merge(ANN, "default", NAME)
    assert [clash.why for clash in merged.clashes] == ["its lifetime is over"]


async def test_a_draft_or_an_edit_that_main_would_refuse_is_refused(core: Core) -> None:
    cube = await put(core, "a")
    branches = await begin(core)
    with pytest.raises(InvalidInput, match="content"):
        await branches.add(ANN, "default", NAME, Draft(" "))
    with pytest.raises(InvalidInput, match="state"):
        await edit(core, cube, state="deleted")
    with pytest.raises(UnknownName):
        await branches.edit(ANN, "default", NAME, new_id("mem"), Change({"content": "x"}), expect=1)
    with pytest.raises(UnknownName):
        await branches.add(ANN, "default", "none", Draft("x"))
