"""Vaults: made, changed by who saw the version, listed for who may read, and erased with everything in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import func, insert, select

from memory import access, audit, jobs, reviews, store
from memory.core import Core
from memory.indices import lexical
from memory.jobs import JobRun
from memory.tables import (
    ArtifactRow,
    BlobRow,
    BranchRow,
    EntityRow,
    GrantRow,
    IncidenceRow,
    MemoryRow,
    OutboxRow,
    ReviewRow,
    SnapshotItemRow,
    SnapshotRow,
    SourceRow,
    VaultRow,
    VersionRow,
)
from memory.tx import Tx
from memory.types import Actor, Change, Draft, MemCube, Source, Verb
from memory.vault import emptying
from memory.vault.grants import Terms
from memory.vault.snapshots import Snapshot
from memory.vault.vaults import Vaults
from runtime.errors import Conflict, Forbidden, InvalidInput, Stale, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
EVERYTHING: frozenset[Verb] = frozenset({"read", "write", "share", "delete"})


async def give(core: Core, vault: str, *verbs: Verb, **terms: Any) -> str:
    return (await Vaults(core).grants.give(ANN, vault, Terms(frozenset(verbs), "bob", **terms))).grant.id


async def listed(core: Core, actor: Actor) -> list[tuple[str, int | None]]:
    return [(shown.vault.name, shown.memories) for shown in await Vaults(core).list(actor)]


async def test_a_vault_is_made_and_found_by_id_and_by_name(core: Core) -> None:
    vaults = Vaults(core)
    made = await vaults.create(
        ANN, "Work", kind="expert", default_ttl_s=60, default_sensitivity=["work", "work"], explore=0.25
    )
    vault = made.vault
    assert (vault.name, vault.kind, vault.default_ttl_s, vault.default_sensitivity, vault.explore, vault.version) == (
        "Work",
        "expert",
        60,
        ("work",),
        0.25,
        1,
    )
    assert (made.verbs, made.memories, made.locked_by, vault.owner_id) == (EVERYTHING, 0, None, ANN.user_id)
    assert await vaults.get(ANN, "Work") == made == await vaults.get(ANN, vault.id)
    for ref in ("Work", vault.id):
        with pytest.raises(UnknownName):
            await vaults.get(BOB, ref)


async def test_a_name_is_given_once_by_each_user(core: Core) -> None:
    vaults = Vaults(core)
    outcomes: list[str] = []

    async def making() -> None:
        try:
            await vaults.create(ANN, "twice")
        except Conflict:
            outcomes.append("taken")
        else:
            outcomes.append("made")

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(making)
    assert sorted(outcomes) == ["made", *["taken"] * 4]
    await vaults.create(BOB, "twice")
    other = await vaults.create(ANN, "other")
    with pytest.raises(Conflict, match="one of this name"):
        await vaults.edit(ANN, other.vault.id, {"name": "twice"}, expect=1)
    with pytest.raises(Conflict):
        await vaults.create(ANN, "default")


async def test_two_renames_to_one_name_at_once_are_one_rename(core: Core) -> None:
    vaults = Vaults(core)
    ids = [(await vaults.create(ANN, f"v{number}")).vault.id for number in range(4)]
    outcomes: list[str] = []

    async def naming(vault: str) -> None:
        try:
            await vaults.edit(ANN, vault, {"name": "wanted"}, expect=1)
        except Conflict as error:
            outcomes.append(str(error.param))
        else:
            outcomes.append("done")

    async with anyio.create_task_group() as group:
        for id_ in ids:
            group.start_soon(naming, id_)
    assert sorted(outcomes) == ["done", "name", "name", "name"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", ""),
        ("name", " padded"),
        ("name", "two\nlines"),
        ("name", "x" * 201),
        ("name", "vlt_" + "0" * 32),
        ("kind", "public"),
        ("default_ttl_s", 0),
        ("default_ttl_s", 2**40),
        ("default_sensitivity", [""]),
        ("default_sensitivity", [str(n) for n in range(101)]),
        ("explore", 1.5),
        ("explore", float("nan")),
    ],
)
async def test_bad_fields_are_named_when_it_is_made_and_when_it_is_changed(core: Core, field: str, wrong: Any) -> None:
    given: dict[str, Any] = {"name": "good"} | {field: wrong}
    with pytest.raises(InvalidInput) as refused:
        await Vaults(core).create(ANN, **given)
    assert refused.value.param == field
    with pytest.raises(InvalidInput) as refused:
        await Vaults(core).edit(ANN, "default", {field: wrong}, expect=1)
    assert refused.value.param == field


async def test_a_change_names_the_version_that_it_saw(core: Core, clock: SetClock) -> None:
    vaults = Vaults(core)
    made = await vaults.create(ANN, "v", default_ttl_s=60)
    changed = await vaults.edit(ANN, "v", {"name": "w", "default_ttl_s": None, "explore": 1.0}, expect=1)
    assert (changed.vault.name, changed.vault.default_ttl_s, changed.vault.explore, changed.vault.version) == (
        "w",
        None,
        1.0,
        2,
    )
    with pytest.raises(Stale) as stale:
        await vaults.edit(ANN, "w", {"name": "x"}, expect=1)
    assert (stale.value.expected, stale.value.current) == (1, 2)
    archived = await vaults.edit(ANN, "w", {"archived": True}, expect=2)
    clock.pass_by(1)
    again = await vaults.edit(ANN, "w", {"archived": True}, expect=3)
    assert archived.vault.archived_at == again.vault.archived_at == clock.now() - timedelta(seconds=1)
    assert (await vaults.edit(ANN, "w", {"archived": False}, expect=4)).vault.archived_at is None
    for wrong in ({}, {"owner_id": BOB.user_id}, {"locked_by": "x"}):
        with pytest.raises(InvalidInput):
            await vaults.edit(ANN, "w", wrong, expect=5)
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[made.vault.id], after=0, limit=10))
    assert [line.action for line in lines] == ["create", "edit", "edit", "edit", "edit"]
    assert await core.read(ANN, lambda tx: audit.verify(tx, made.vault.id)) is None


async def test_of_many_editors_who_saw_the_same_version_one_wins(core: Core) -> None:
    await Vaults(core).create(ANN, "v")
    outcomes: list[str] = []

    async def editing(number: int) -> None:
        try:
            await Vaults(core).edit(ANN, "v", {"explore": number / 10}, expect=1)
        except Stale:
            outcomes.append("stale")
        else:
            outcomes.append("done")

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(editing, number)
    assert sorted(outcomes) == ["done", *["stale"] * 5]


async def test_the_vault_default_keeps_its_name_and_stays(core: Core) -> None:
    vaults = Vaults(core)
    assert (await vaults.edit(ANN, "default", {"explore": 0.5}, expect=1)).vault.version == 2
    for changes in ({"name": "mine"}, {"archived": True}):
        with pytest.raises(Conflict, match="'default'"):
            await vaults.edit(ANN, "default", changes, expect=2)
    with pytest.raises(Conflict, match="emptied but not deleted"):
        await vaults.delete(ANN, "default", expect=2)
    assert (await vaults.get(BOB, "default")).vault.owner_id == BOB.user_id


async def test_a_list_holds_what_is_owned_and_what_may_be_read(core: Core, clock: SetClock) -> None:
    vaults = Vaults(core)
    made = {name: (await vaults.create(ANN, name)).vault.id for name in ("a", "b", "c", "d", "e")}
    await put(core, "one", vault=made["a"])
    await put(core, "two", vault=made["a"], sensitivity=("health",))
    await core.write(ANN, lambda tx: store.move(tx, _first(tx, made["a"]), "archive"))
    assert await listed(core, BOB) == [("default", 0)]
    await give(core, made["a"], "read")
    await give(core, made["b"], "read", masked_tags=("health",))
    await give(core, made["c"], "write")
    await give(core, made["d"], "read", context="support-bot")
    await give(core, made["e"], "read", expires_at=clock.now() + timedelta(seconds=5))
    assert await listed(core, BOB) == [("a", 1), ("b", None), ("e", 0), ("default", 0)]
    clock.pass_by(6)
    assert await listed(core, Actor(BOB.user_id, "support-bot")) == [("a", 1), ("b", None), ("d", 0), ("default", 0)]
    assert await listed(core, ANN) == [("default", 0), ("a", 1), ("b", 0), ("c", 0), ("d", 0), ("e", 0)]
    page = await vaults.list(ANN, limit=2)
    rest = await vaults.list(ANN, after=page[-1].vault.id)
    assert [shown.vault.name for shown in (*page, *rest)] == ["default", "a", "b", "c", "d", "e"]


def _first(tx: Tx, vault: str) -> MemCube:
    ids = tx.connection.execute(select(MemoryRow.id).where(MemoryRow.vault_id == vault).order_by(MemoryRow.seq))
    return store.get(tx, ids.scalars().first() or "")


async def test_what_a_reader_is_shown_are_the_verbs_of_all_their_grants(core: Core) -> None:
    home = await vault_id(core)
    await give(core, home, "read", masked_tags=("health",))
    await give(core, home, "write", masked_tags=("health",))
    shown = await Vaults(core).get(BOB, home)
    assert (shown.verbs, shown.memories) == (frozenset({"read", "write"}), None)


async def test_only_the_owner_changes_empties_and_deletes(core: Core) -> None:
    vaults = Vaults(core)
    home = (await vaults.create(ANN, "v")).vault.id
    calls = (
        lambda: vaults.edit(BOB, home, {"explore": 0.1}, expect=1),
        lambda: vaults.delete(BOB, home, expect=1),
        lambda: vaults.empty(BOB, home, expect=1),
    )
    for call in calls:
        with pytest.raises(UnknownName):
            await call()
    await give(core, home, *EVERYTHING)
    for call in calls:
        with pytest.raises(Forbidden, match="only its owner"):
            await call()
    assert (await vaults.get(ANN, home)).vault.version == 1


async def furnish(core: Core, vault: str, count: int = 3) -> tuple[list[MemCube], Snapshot]:
    """A vault with something of everything."""
    vaults = Vaults(core)
    cubes = [
        await put(
            core,
            f"quetzal {number}",
            vault=vault,
            entities=("Quetzal",),
            sources=(Source("message", quote="quetzal"),),
            state="quarantined" if number == 0 else "activated",
        )
        for number in range(count)
    ]
    await core.write(ANN, lambda tx: reviews.ask(tx, new_id("rev"), "quarantine", cubes[0], "quetzal"))
    snapshot = await vaults.snapshots.take(ANN, vault)
    await vaults.branches.create(ANN, vault, "b")
    await vaults.branches.add(ANN, vault, "b", Draft("a quetzal on the branch"))
    await vaults.branches.edit(ANN, vault, "b", cubes[1].id, Change({"content": "quetzal too"}), expect=1)
    await give(core, vault, "read")
    return cubes, snapshot


async def traces(core: Core, vault: str) -> dict[str, int]:
    """What is left of the vault beside stubs."""

    def work(tx: Tx) -> dict[str, int]:
        def count(table: Any, *where: Any) -> int:
            return int(tx.connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())

        mine = select(MemoryRow.id).where(MemoryRow.vault_id == vault)
        seqs = select(MemoryRow.seq).where(MemoryRow.vault_id == vault)
        return {
            "texts": count(MemoryRow, MemoryRow.vault_id == vault, MemoryRow.content != ""),
            "keys": count(MemoryRow, MemoryRow.vault_id == vault, MemoryRow.digest_key.is_not(None)),
            "versions": count(VersionRow, VersionRow.memory_id.in_(mine), VersionRow.content != ""),
            "sources": count(SourceRow, SourceRow.memory_id.in_(mine)),
            "vectors": count(BlobRow, BlobRow.memory_seq.in_(seqs)),
            "incidence": count(IncidenceRow, IncidenceRow.memory_seq.in_(seqs)),
            "entities": count(EntityRow, EntityRow.vault_id == vault),
            "snapshots": count(SnapshotRow, SnapshotRow.vault_id == vault),
            "items": count(SnapshotItemRow),
            "branch rows": count(BranchRow),
            "reviews": count(ReviewRow, ReviewRow.vault_id == vault),
            "words": len(lexical.search(tx.connection, "quetzal", [vault], 50)),
        }

    return await core.read(ANN, work)


@pytest.mark.parametrize("delete", [True, False], ids=["deleted", "emptied"])
async def test_a_vault_is_erased_with_everything_in_it_and_a_receipt_counts(core: Core, delete: bool) -> None:
    vaults = Vaults(core)
    home = (await vaults.create(ANN, "v", default_sensitivity=["quetzals"])).vault.id
    cubes, _ = await furnish(core, home)
    elsewhere = await put(core, "made from it")
    await core.write(ANN, lambda tx: store.link(tx, elsewhere.id, cubes[2].id, "DERIVED_FROM"))
    await core.write(ANN, lambda tx: store.link(tx, cubes[1].id, cubes[2].id, "DERIVED_FROM"))
    told = await (vaults.delete if delete else vaults.empty)(ANN, "v", expect=1)
    assert (told.vault_id, told.deleted, told.memories, told.job_id, told.stale) == (
        home,
        delete,
        3,
        None,
        (elsewhere.id,),
    )
    assert told.removed is not None
    expected = {"versions": 6, "sources": 3, "entities": 3, "snapshots": 2, "reviews": 1}
    assert {name: told.removed[name] for name in expected} == expected
    assert set((await traces(core, home)).values()) == {0}
    purges = select(func.count()).where(OutboxRow.op == "purge")
    assert await core.read(ANN, lambda tx: tx.connection.execute(purges).scalar_one()) == 3
    if delete:
        for ref in ("v", home):
            with pytest.raises(UnknownName):
                await vaults.get(ANN, ref)
        with pytest.raises(access.Hidden):
            await core.read(ANN, lambda tx: access.memory(tx, cubes[1].id, "read"))
        assert await listed(core, BOB) == [("default", 0)]
        assert (await vaults.create(ANN, "v")).vault.id != home
        row = await core.read(
            ANN, lambda tx: tx.connection.execute(select(VaultRow.__table__).where(VaultRow.id == home)).one()
        )
        assert "quetzal" not in str(row)
    else:
        shown = await vaults.get(ANN, "v")
        assert (shown.vault.version, shown.memories) == (2, 0)
        assert await listed(core, BOB) == [("v", 0), ("default", 0)]
        assert (await put(core, "quetzal 1", vault=home)).id not in {cube.id for cube in cubes}
    assert await core.read(ANN, lambda tx: audit.verify(tx, home)) is None
    assert (await core.read(ANN, lambda tx: store.get(tx, elsewhere.id))).content == "made from it"


async def test_files_made_from_what_is_erased_go_too(core: Core, tmp_path: Path) -> None:
    home = (await Vaults(core).create(ANN, "v")).vault.id
    cube = await put(core, "one", vault=home)
    file = tmp_path / "kv"
    file.write_text("tensors")
    artifact = {"id": "art_1", "memory_id": cube.id, "memory_version": 1, "kind": "kv", "identity": {}, "bytes": 1}
    artifact |= {"location": str(file), "sha256": "0", "state": "ready", "created_at": core.clock.now()}
    await core.write(ANN, lambda tx: tx.connection.execute(insert(ArtifactRow).values(**artifact)))
    await Vaults(core).delete(ANN, "v", expect=1)
    assert not file.exists()


async def test_erasing_names_the_version_that_was_seen(core: Core) -> None:
    vaults = Vaults(core)
    home = (await vaults.create(ANN, "v")).vault.id
    await put(core, "one", vault=home)
    for call in (vaults.delete, vaults.empty):
        with pytest.raises(Stale):
            await call(ANN, "v", expect=7)
    assert (await vaults.get(ANN, "v")).memories == 1


class Died(Exception):
    """The process is no more."""


@pytest.mark.parametrize("delete", [True, False], ids=["deleted", "emptied"])
async def test_many_memories_are_erased_by_a_job_that_goes_on_where_it_stopped(
    core: Core, delete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "BATCH", 2)
    home = (await Vaults(core).create(ANN, "v")).vault.id
    cubes, _ = await furnish(core, home, 7)
    told = await emptying.empty(core, ANN, home, expect=1, delete=delete, at_once=5)
    assert (told.memories, told.deleted) == (0, delete)
    job_id = str(told.job_id)
    if delete:
        with pytest.raises(UnknownName):
            await Vaults(core).get(ANN, home)
        with pytest.raises(access.Hidden):
            await core.read(ANN, lambda tx: access.memory(tx, cubes[6].id, "read"))
    else:
        assert (await Vaults(core).get(ANN, home)).locked_by == job_id
        with pytest.raises(Conflict, match=job_id):
            await core.write(ANN, lambda tx: access.vault(tx, home, "write"))
        with pytest.raises(Conflict, match=job_id):
            await Vaults(core).empty(ANN, home, expect=2)
    commit, calls = JobRun.commit, 0

    async def dying(self: JobRun, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Died
        return await commit(self, *args, **options)

    monkeypatch.setattr(JobRun, "commit", dying)
    with pytest.raises(Died):
        await execute(core, job_id)
    job = await core.read(ANN, lambda tx: jobs.get(tx, job_id))
    await core.write(ANN, lambda tx: jobs.release(tx, job))
    result = await execute(core, job_id)
    assert (result["memories"], result["deleted"], result["removed"]["sources"]) == (7, delete, 7)
    assert set((await traces(core, home)).values()) == {0}
    if not delete:
        assert (await Vaults(core).get(ANN, home)).locked_by is None
        await put(core, "quetzal 1", vault=home)


async def execute(core: Core, job_id: str) -> dict[str, Any]:
    job = await core.write(ANN, lambda tx: jobs.claim(tx, job_id))
    assert job is not None
    result = await Vaults(core).handlers[job.kind](JobRun(core, job))
    await core.write(ANN, lambda tx: jobs.finish(tx, job, result))
    return dict(result)


async def test_access_from_another_tenant_discloses_nothing_and_every_refusal_is_audited(core: Core) -> None:
    """The acceptance check of the sheet, for what the store offers on a whole vault."""
    vaults = Vaults(core)
    home = (await vaults.create(ANN, "v")).vault.id
    cubes, snapshot = await furnish(core, home)
    grants = await vaults.grants.list(ANN, home)
    for given in grants:
        await vaults.grants.revoke(ANN, home, given.grant.id)
    await core.default_vault(BOB)

    def calls(vault: str, memory: str, snapshot_id: str, grant_id: str) -> Sequence[Any]:
        branches, snapshots = vaults.branches, vaults.snapshots
        return (
            vaults.get(BOB, vault),
            vaults.edit(BOB, vault, {"explore": 0.1}, expect=1),
            vaults.delete(BOB, vault, expect=1),
            vaults.empty(BOB, vault, expect=9),
            vaults.rollback(BOB, vault, snapshot_id),
            vaults.compose(BOB, [vault]),
            vaults.migrate(BOB, vault, "default"),
            vaults.migrate(BOB, "default", vault),
            vaults.fuse(BOB, vault, "default"),
            vaults.fuse(BOB, "default", vault),
            vaults.grants.give(BOB, vault, Terms(frozenset({"read"}), "bob")),
            vaults.grants.list(BOB, vault),
            vaults.grants.revoke(BOB, vault, grant_id),
            snapshots.take(BOB, vault),
            snapshots.page(BOB, vault),
            snapshots.show(BOB, vault, snapshot_id),
            snapshots.diff(BOB, vault, snapshot_id),
            snapshots.forget(BOB, vault, snapshot_id),
            branches.create(BOB, vault, "c"),
            branches.all(BOB, vault),
            branches.page(BOB, vault, "b"),
            branches.get(BOB, vault, "b", memory),
            branches.add(BOB, vault, "b", Draft("x")),
            branches.edit(BOB, vault, "b", memory, Change({"content": "x"}), expect=1),
            branches.delete(BOB, vault, "b", memory, expect=1),
            branches.merge(BOB, vault, "b"),
            branches.drop(BOB, vault, "b"),
        )

    async def told(vault: str, memory: str, snapshot_id: str, grant_id: str) -> list[str]:
        found = []
        for call in calls(vault, memory, snapshot_id, grant_id):
            with pytest.raises(access.Hidden) as hidden:
                await call
            found.append(str(hidden.value).replace(vault, "VAULT"))
        return found

    real = await told(home, cubes[1].id, snapshot.id, grants[0].grant.id)
    never = await told(new_id("vlt"), new_id("mem"), new_id("snp"), new_id("grt"))
    assert real == never
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=500))
    denied = [line for line in lines if line.decision == "deny" and line.chain == home]
    assert len(denied) == len(real)
    assert {line.actor_id for line in denied} == {BOB.user_id}
    assert all("quetzal" not in str(line) for line in lines)
    counts = select(func.count()).select_from(GrantRow)
    assert await core.read(ANN, lambda tx: tx.connection.execute(counts).scalar_one()) == 0
