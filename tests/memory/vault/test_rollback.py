"""Rollback: the texts and states of the snapshot are back, newcomers archived, history only longer, and done twice is
done once."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
import pytest
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, insert, select, update

from memory import access, audit, erase, jobs, rows, store, versions
from memory.core import Core
from memory.indices import lexical
from memory.jobs import JobRun
from memory.tables import BlobRow, JobRow, MemoryRow, OutboxRow, ProfileRow, VaultRow, VersionRow
from memory.tx import Tx
from memory.types import LIVE, MemCube
from memory.vault import rollback
from memory.vault.grants import Grants, Terms
from memory.vault.rollback import Rolled
from memory.vault.snapshots import Snapshot, Snapshots, digest_now
from runtime.db import open_database
from runtime.errors import Conflict, Forbidden, UnknownName
from tests.conftest import make_settings
from tests.memory.conftest import ANN, BOB, add_users, put, vault_id
from tests.migrated import migrate
from tests.storing import SetClock

T = TypeVar("T")


async def take(core: Core) -> Snapshot:
    return await Snapshots(core).take(ANN, "default", "before")


async def roll(core: Core, snapshot: Snapshot, **options: Any) -> Rolled:
    return await rollback.rollback(core, ANN, snapshot.vault_id, snapshot.id, **options)


async def edit(core: Core, cube: MemCube, **new: Any) -> MemCube:
    return await core.write(ANN, lambda tx: store.change(tx, store.get(tx, cube.id), kind="edit", **new))


async def move(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), event))


async def now(core: Core, cube: MemCube) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, cube.id))


async def execute(core: Core, job_id: str) -> dict[str, Any]:
    """Do the job as a worker does, once."""
    job = await core.write(ANN, lambda tx: jobs.claim(tx, job_id))
    assert job is not None
    result = await rollback.finish(JobRun(core, job))
    await core.write(ANN, lambda tx: jobs.finish(tx, job, result))
    return dict(result)


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [rollback.AT_ONCE, 0], ids=["one transaction", "a job"])
async def test_a_vault_goes_back_to_a_snapshot(core: Core, at_once: int) -> None:
    """The acceptance check of the sheet: ten, of which three are edited and one is deleted, and two that came later."""
    originals = [await put(core, f"original {number}", tags=("t",)) for number in range(10)]
    snapshot = await take(core)
    edited = [await edit(core, cube, content=f"edited {cube.id}", tags=()) for cube in originals[:3]]
    newcomers = [await put(core, f"newcomer {number}") for number in range(2)]
    await move(core, originals[9], "delete")

    report = await roll(core, snapshot, at_once=at_once)
    if report.job_id is None:
        told = rollback.body(report)
    else:
        assert not report.equal
        told = await execute(core, report.job_id)

    assert told == {
        "snapshot_id": snapshot.id,
        "restored": 4,
        "archived": 2,
        "purged": [],
        "expired": [],
        "equal": True,
        "job_id": None,
    }
    after = [await now(core, cube) for cube in originals]
    assert [(cube.content, cube.tags, cube.state) for cube in after] == [
        (f"original {number}", ("t",), "activated") for number in range(10)
    ]
    assert [cube.version for cube in after] == [3, 3, 3, 1, 1, 1, 1, 1, 1, 3]
    assert [(await now(core, cube)).state for cube in newcomers] == ["archived", "archived"]
    assert await core.read(ANN, lambda tx: digest_now(tx, snapshot.id)) == snapshot.digest
    history = await core.read(ANN, lambda tx: versions.history(tx, edited[0].id))
    assert [(v.content, v.change, v.reason) for v in history][:2] == [
        ("original 0", "restore", f"rollback to {snapshot.id}"),
        (edited[0].content, "edit", ""),
    ]
    assert await core.read(ANN, lambda tx: versions.broken_chains(tx, [cube.id for cube in originals])) == set()
    assert await core.read(ANN, lambda tx: audit.verify(tx, snapshot.vault_id)) is None


@pytest.mark.anyio
async def test_the_indexes_follow_a_rollback(core: Core) -> None:
    vector = np.array([0.6, 0.8], np.float32)

    def profile(tx: Tx) -> None:
        words = ("provider", "model", "revision", "metric", "prefix_doc", "prefix_query", "codec")
        row = dict.fromkeys(words, "") | {"id": "p", "slug": "p", "dim": 2, "normalise": True, "state": "active"}
        tx.connection.execute(insert(ProfileRow).values(**row, cursor=0, created_at=tx.now))

    await core.write(ANN, profile)
    cube, tagged = await put(core, "the kettle sings"), await put(core, "the cat sleeps")
    for each in (cube, tagged):
        blob = store.blob_row(each, "p", vector)
        await core.write(ANN, lambda tx, row=blob: tx.connection.execute(insert(BlobRow).values(**row)))  # type: ignore[misc]
    snapshot = await take(core)
    await edit(core, cube, content="the drum is loud")
    await edit(core, tagged, tags=("pet",))
    seq = await core.read(ANN, lambda tx: tx.connection.execute(select(func.max(OutboxRow.seq))).scalar_one())
    await roll(core, snapshot)

    def found(tx: Tx) -> tuple[list[int], list[int], set[str], set[int]]:
        search = [lexical.search(tx.connection, words, [cube.vault_id], 5) for words in ("kettle", "drum")]
        waiting = tx.connection.execute(select(OutboxRow.memory_id).where(OutboxRow.seq > seq)).scalars()
        blobs = tx.connection.execute(select(BlobRow.memory_seq)).scalars()
        return [hit.seq for hit in search[0]], [hit.seq for hit in search[1]], set(waiting), set(blobs)

    # The vector of the text that is back has to be made; that of a text that never changed is still right.
    assert await core.read(ANN, found) == ([cube.seq], [], {cube.id, tagged.id}, {tagged.seq})
    assert {(await now(core, each)).vector_state for each in (cube, tagged)} == {"pending"}


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [rollback.AT_ONCE, 0], ids=["one transaction", "a job"])
async def test_memories_that_got_each_others_texts_get_their_own_back(
    core: Core, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback, "BATCH", 1)
    a, b = await put(core, "a"), await put(core, "b")
    snapshot = await take(core)
    await edit(core, a, content="c")
    await edit(core, b, content="a")
    await edit(core, a, content="b")
    twin = await put(core, "x", semantic_type="event")
    report = await roll(core, snapshot, at_once=at_once)
    if report.job_id:
        await execute(core, report.job_id)
    assert [(await now(core, cube)).content for cube in (a, b)] == ["a", "b"]
    assert (await now(core, twin)).state == "archived"
    for text, kept in (("a", a), ("b", b)):
        assert (await put(core, text)).id == kept.id


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["archive"]),
        (["archive"], ["restore"]),
        (["archive"], ["delete"]),
        (["delete"], ["restore"]),
        (["freeze"], ["unfreeze"]),
        ([], ["freeze"]),
        (["freeze"], ["delete"]),
        (["quarantine"], ["approve"]),
        ([], ["quarantine"]),
        ([], ["fuse"]),
        (["fuse"], ["restore"]),
        ([], ["expire"]),
        (["expire"], ["restore"]),
    ],
)
async def test_every_state_is_restored_whatever_came_of_it(core: Core, before: list[str], after: list[str]) -> None:
    cube = await put(core, "one")
    for event in before:
        cube = await move(core, cube, event)
    snapshot = await take(core)
    for event in after:
        await move(core, cube, event)
    assert (await now(core, cube)).state != cube.state
    report = await roll(core, snapshot)
    back = await now(core, cube)
    assert (report.restored, report.equal, back.state, back.version) == (1, True, cube.state, cube.version + 2)
    assert (back.deleted_at is None) == (cube.deleted_at is None)
    kept = {"deleted": store.DELETED_KEPT, "expired": store.EXPIRED_KEPT}.get(back.state)
    assert back.purge_after == (None if kept is None else core.clock.now() + kept)


@pytest.mark.anyio
async def test_what_took_the_place_of_another_gives_it_back(core: Core) -> None:
    slot: dict[str, Any] = {"subject": "Ana", "attribute": "home"}
    then, later = core.clock.now() - timedelta(days=9), core.clock.now()
    old = await put(core, "Ana lives in Porto", valid_from=then, **slot)
    snapshot = await take(core)
    new = await put(core, "Ana lives in Lisbon", valid_from=later, **slot)
    await core.write(ANN, lambda tx: store.supersede(tx, old, new))
    await roll(core, snapshot)
    back = await now(core, old)
    assert (back.state, back.superseded_at, back.valid_to, back.valid_from) == ("activated", None, None, then)
    assert (await now(core, new)).state == "archived"


@pytest.mark.anyio
async def test_purged_memories_stay_gone_and_are_named(core: Core) -> None:
    kept, purged = await put(core, "kept"), await put(core, "purged")
    snapshot = await take(core)
    await edit(core, kept, content="edited")
    await move(core, purged, "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, store.get(tx, purged.id)))
    report = await roll(core, snapshot)
    assert (report.restored, report.purged, report.equal) == (1, (purged.id,), False)
    assert ((await now(core, purged)).content, (await now(core, purged)).state) == ("", "deleted")
    assert (await now(core, kept)).content == "kept"


@pytest.mark.anyio
async def test_a_lifetime_that_is_over_is_not_given_back(core: Core, clock: SetClock) -> None:
    soon = clock.now() + timedelta(seconds=5)
    expired, extended = await put(core, "a", expires_at=soon), await put(core, "b", expires_at=soon)
    snapshot = await take(core)
    await edit(core, extended, expires_at=None)
    clock.pass_by(6)
    await move(core, expired, "expire")
    report = await roll(core, snapshot)
    assert report.expired == (expired.id, extended.id)
    assert (await now(core, expired)).state == "expired"
    assert (await now(core, extended)).expires_at == soon


@pytest.mark.anyio
async def test_doing_it_again_changes_nothing_and_a_rollback_can_be_rolled_back(core: Core) -> None:
    cube = await put(core, "one")
    first = await take(core)
    await edit(core, cube, content="two")
    new = await put(core, "new")
    second = await take(core)
    assert (await roll(core, first)).restored == 1
    again = await roll(core, first)
    assert (again.restored, again.archived, again.equal) == (0, 0, True)
    assert (await now(core, cube)).version == 3
    report = await roll(core, second)
    assert (report.restored, report.equal) == (2, True)
    assert ((await now(core, cube)).content, (await now(core, new)).state) == ("two", "activated")


@pytest.mark.anyio
async def test_only_who_sees_everything_and_may_write_rolls_back_and_frozen_ones_are_the_owners(core: Core) -> None:
    cube, home = await put(core, "one"), await vault_id(core)
    snapshot = await take(core)
    await edit(core, cube, content="two")
    with pytest.raises(UnknownName):
        await rollback.rollback(core, BOB, home, snapshot.id)
    given = await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob"))
    with pytest.raises(Forbidden, match="'write'"):
        await rollback.rollback(core, BOB, home, snapshot.id)
    await Grants(core).revoke(ANN, home, given.grant.id)
    masked = await Grants(core).give(ANN, home, Terms(frozenset({"read", "write"}), "bob", masked_tags=("health",)))
    with pytest.raises(Forbidden, match="hidden from you"):
        await rollback.rollback(core, BOB, home, snapshot.id)
    await Grants(core).revoke(ANN, home, masked.grant.id)
    await Grants(core).give(ANN, home, Terms(frozenset({"read", "write"}), "bob"))
    await move(core, cube, "freeze")
    with pytest.raises(Forbidden, match="frozen"):
        await rollback.rollback(core, BOB, home, snapshot.id)
    assert (await now(core, cube)).content == "two"
    assert (await roll(core, snapshot)).restored == 1
    await edit(core, cube, content="three")
    assert (await rollback.rollback(core, BOB, home, snapshot.id)).restored == 1


@pytest.mark.anyio
async def test_while_a_job_rolls_back_nobody_else_writes_and_everybody_reads(core: Core) -> None:
    cube = await put(core, "one")
    snapshot = await take(core)
    await edit(core, cube, content="two")
    report = await roll(core, snapshot, at_once=0)
    home = snapshot.vault_id
    for verb in ("write", "delete"):
        with pytest.raises(Conflict, match=str(report.job_id)):
            await core.write(ANN, lambda tx, v=verb: access.memory(tx, cube.id, v))  # type: ignore[misc]
    for call in (roll(core, snapshot), roll(core, snapshot, at_once=0), Snapshots(core).take(ANN, home)):
        with pytest.raises(Conflict, match=str(report.job_id)):
            await call
    assert (await core.read(ANN, lambda tx: access.memory(tx, cube.id, "read")))[0].content == "two"
    await execute(core, str(report.job_id))
    await core.write(ANN, lambda tx: access.memory(tx, cube.id, "write"))
    assert (await now(core, cube)).content == "one"


class Died(Exception):
    """The process is no more."""


@pytest.mark.anyio
async def test_a_job_that_died_goes_on_where_it_was(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "BATCH", 2)
    originals = [await put(core, f"o{number}") for number in range(7)]
    snapshot = await take(core)
    for cube in originals:
        await edit(core, cube, content=f"e{cube.id}")
    for number in range(5):
        await put(core, f"n{number}")
    report = await roll(core, snapshot, at_once=3)
    job_id = str(report.job_id)
    commit, calls = JobRun.commit, 0

    async def dying(self: JobRun, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Died
        return await commit(self, *args, **options)

    monkeypatch.setattr(JobRun, "commit", dying)
    result: dict[str, Any] = {}
    deaths = 0
    while not result:
        try:
            result = await execute(core, job_id)
        except Died:
            deaths += 1
            job = await core.read(ANN, lambda tx: jobs.get(tx, job_id))
            await core.write(ANN, lambda tx, j=job: jobs.release(tx, j))  # type: ignore[misc]
    assert deaths >= 3
    assert (result["restored"], result["archived"], result["equal"]) == (7, 5, True)
    assert [(await now(core, cube)).version for cube in originals] == [3] * 7


@pytest.mark.anyio
async def test_the_lock_of_a_dead_job_is_taken_over_and_the_dead_does_no_more_harm(core: Core) -> None:
    cube, other = await put(core, "one"), await put(core, "other")
    snapshot = await take(core)
    await edit(core, cube, content="two")
    await edit(core, other, content="else")
    report = await roll(core, snapshot, at_once=0)
    job = await core.write(ANN, lambda tx: jobs.claim(tx, str(report.job_id)))
    assert job is not None
    dead = update(JobRow).where(JobRow.id == job.id)
    await core.write(ANN, lambda tx: tx.connection.execute(dead.values(state="dead")))
    with pytest.raises(Conflict):
        await edit_by_service(core, cube)
    assert (await roll(core, snapshot)).equal
    await edit(core, cube, content="three")
    await core.write(ANN, lambda tx: tx.connection.execute(dead.values(state="running")))
    with pytest.raises(Conflict, match="not held"):
        await rollback.finish(JobRun(core, job))
    assert (await now(core, cube)).content == "three"
    assert (await put(core, "other")).id == other.id


async def edit_by_service(core: Core, cube: MemCube) -> None:
    await core.write(ANN, lambda tx: access.memory(tx, cube.id, "write"))


@pytest.mark.anyio
async def test_two_rollbacks_at_once_end_as_one(core: Core) -> None:
    originals = [await put(core, f"o{number}") for number in range(20)]
    snapshot = await take(core)
    for cube in originals:
        await edit(core, cube, content=f"e{cube.id}")
    reports: list[Rolled] = []

    async def going() -> None:
        reports.append(await roll(core, snapshot))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(going)
    assert sorted(report.restored for report in reports) == [0, 0, 0, 20]
    assert all(report.equal for report in reports)
    assert {(await now(core, cube)).version for cube in originals} == {3}


@pytest.mark.anyio
async def test_writers_during_a_rollback_come_before_it_or_after_it(core: Core) -> None:
    """Nobody is half rolled back: a memory has its old text, or the one that was written after the rollback."""
    originals = [await put(core, f"o{number}") for number in range(12)]
    snapshot = await take(core)
    for cube in originals:
        await edit(core, cube, content=f"e{cube.id}")

    async def write(number: int) -> None:
        def work(tx: Tx) -> None:
            cube, _ = access.memory(tx, originals[number].id, "write")
            store.change(tx, store.get(tx, cube.id), kind="edit", content=f"w{number}")
            audit.record(tx, "edit", "memory", cube.id, chain=cube.vault_id)

        await core.write(ANN, work)

    async with anyio.create_task_group() as group:
        for number in range(0, 12, 2):
            group.start_soon(write, number)
        group.start_soon(roll, core, snapshot)
        for number in range(1, 12, 2):
            group.start_soon(write, number)
    for number, original in enumerate(originals):
        cube = await now(core, original)
        assert cube.content in (f"o{number}", f"w{number}")
    ids = [cube.id for cube in originals]
    assert await core.read(ANN, lambda tx: versions.broken_chains(tx, ids)) == set()
    assert await core.read(ANN, lambda tx: audit.verify(tx, snapshot.vault_id)) is None


@dataclass
class Kept:
    """A snapshot and what it should bring back."""

    snapshot: Snapshot
    memories: dict[str, tuple[str, str, tuple[str, ...]]]


class Vault(RuleBasedStateMachine):
    """A vault against a model: whatever was done, a rollback brings back what was, and history never loses a version."""

    EVENTS = ("archive", "restore", "freeze", "unfreeze", "delete", "quarantine", "approve", "fuse")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="mneme-machine-"))
        settings = make_settings(self.folder)
        migrate(settings)
        self.db = open_database(settings)
        self.core = Core(self.db, SetClock(), settings)
        self.kept: list[Kept] = []
        self.history: dict[str, int] = {}

    def do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    @initialize()
    def begin(self) -> None:
        self.do(add_users(self.db, SetClock()))
        self.do(self.core.default_vault(ANN))
        self.home = self.do(vault_id(self.core))

    def cubes(self) -> list[MemCube]:
        def read(tx: Tx) -> Sequence[MemCube]:
            return [rows.cube(row, tx.now) for row in tx.connection.execute(rows.SELECT.order_by(MemoryRow.seq))]

        return list(self.do(self.core.read(ANN, read)))

    def some(self, number: int) -> MemCube | None:
        cubes = self.cubes()
        return cubes[number % len(cubes)] if cubes else None

    def try_(self, work: Awaitable[Any]) -> None:
        # A move that there is not, or a text that another one has.
        with contextlib.suppress(Conflict):
            self.do(work)

    @rule(words=st.sampled_from("abcdefg"))
    def add(self, words: str) -> None:
        self.do(put(self.core, words, vault=self.home))

    @rule(number=st.integers(0, 50), words=st.sampled_from("abcdefg"), tag=st.sampled_from(["", "x", "y"]))
    def change(self, number: int, words: str, tag: str) -> None:
        cube = self.some(number)
        if cube is not None and cube.state not in ("deleted", "expired"):
            self.try_(edit(self.core, cube, content=words, tags=(tag,) if tag else ()))

    @rule(number=st.integers(0, 50), event=st.sampled_from(EVENTS))
    def event(self, number: int, event: str) -> None:
        cube = self.some(number)
        if cube is not None:
            self.try_(move(self.core, cube, event))

    @rule()
    def snapshot(self) -> None:
        taken = self.do(take(self.core))
        self.kept.append(Kept(taken, {c.id: (c.content, c.state, c.tags) for c in self.cubes()}))

    @precondition(lambda self: self.kept)
    @rule(number=st.integers(0, 20), as_job=st.booleans())
    def back(self, number: int, as_job: bool) -> None:
        kept = self.kept[number % len(self.kept)]
        report = self.do(roll(self.core, kept.snapshot, at_once=0 if as_job else 100))
        if report.job_id is not None:
            told = self.do(execute(self.core, report.job_id))
            report = replace(report, equal=bool(told["equal"]))
        assert report.equal
        found = {c.id: (c.content, c.state, c.tags) for c in self.cubes()}
        assert {id_: found[id_] for id_ in kept.memories} == kept.memories
        newcomers = {state for id_, (_, state, _) in found.items() if id_ not in kept.memories}
        assert newcomers <= {"archived", "merged", "deleted"}

    @invariant()
    def history_only_grows_and_live_texts_are_claimed(self) -> None:
        if not hasattr(self, "home"):
            return

        def look(tx: Tx) -> tuple[dict[str, int], int, set[str], str | None]:
            counted = select(VersionRow.memory_id, func.count()).group_by(VersionRow.memory_id)
            counts = {row[0]: row[1] for row in tx.connection.execute(counted)}
            unclaimed = select(func.count()).where(MemoryRow.content_hash.is_(None), MemoryRow.state.in_(sorted(LIVE)))
            locked = select(VaultRow.locked_by).where(VaultRow.id == self.home)
            return (
                counts,
                tx.connection.execute(unclaimed).scalar_one(),
                versions.broken_chains(tx, list(counts)),
                tx.connection.execute(locked).scalar_one(),
            )

        counts, unclaimed, broken, locked = self.do(self.core.read(ANN, look))
        assert all(counts[id_] >= number for id_, number in self.history.items())
        assert (unclaimed, broken, locked) == (0, set(), None)
        self.history = counts

    def teardown(self) -> None:
        self.do(self.db.aclose())
        self.runner.close()
        shutil.rmtree(self.folder, ignore_errors=True)


Vault.TestCase.settings = how(max_examples=8, stateful_step_count=20, deadline=None)
TestVault = Vault.TestCase
