"""Copies between vaults keep what they came from; fused vaults say each thing once and are open to fewer people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from memory import access, audit, erase, explain, jobs, store
from memory.core import Core
from memory.jobs import JobRun
from memory.tables import BlobRow, GrantRow, ProfileRow
from memory.tx import Tx
from memory.types import Actor, MemCube, Source, Verb
from memory.vault import migrating
from memory.vault.grants import Grants, Terms
from memory.vault.migrating import Moved, migrate
from memory.vault.vaults import Vaults
from runtime.errors import Conflict, Forbidden, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
LONG = "Ana has lived in a small house by the river near Porto since the spring of last year"


@pytest.fixture
async def target(core: Core) -> str:
    return (await Vaults(core).create(ANN, "target")).vault.id


async def all_of(core: Core, vault: str, actor: Actor = ANN) -> list[MemCube]:
    return list((await Vaults(core).compose(actor, [vault], limit=500)).items)


async def now(core: Core, memory_id: str) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, memory_id))


async def give(core: Core, vault: str, *verbs: Verb, user: str | None = "bob", **terms: Any) -> str:
    return (await Grants(core).give(ANN, vault, Terms(frozenset(verbs), user, **terms))).grant.id


async def move(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), event))


async def embed(core: Core, vectors: Mapping[str, Sequence[float]]) -> None:
    """Give memories vectors in the active profile `p`."""

    def work(tx: Tx) -> None:
        if tx.connection.execute(select(ProfileRow.id)).first() is None:
            words = ("provider", "model", "revision", "metric", "prefix_doc", "prefix_query", "codec")
            row = dict.fromkeys(words, "") | {"id": "p", "slug": "p", "dim": 2, "normalise": True, "state": "active"}
            tx.connection.execute(insert(ProfileRow).values(**row, cursor=0, created_at=tx.now))
        for memory_id, vector in vectors.items():
            row = store.blob_row(store.get(tx, memory_id), "p", np.array(vector, np.float32))
            tx.connection.execute(insert(BlobRow).values(**row))

    await core.write(ANN, work)


async def test_a_copy_has_everything_of_the_original_and_leads_back_to_it(core: Core, target: str) -> None:
    source = Source("message", message_id="m1", quote="Porto")
    original = await put(
        core,
        "Ana lives in Porto",
        subject="Ana",
        attribute="home",
        entities=("Ana",),
        tags=("t",),
        sensitivity=("private",),
        confidence=0.7,
        priority=1,
        pinned=True,
        session_id="s",
        position=4,
        sources=(source,),
    )
    await embed(core, {original.id: [0.6, 0.8]})
    moved = await migrate(core, ANN, "default", "target")
    assert (moved.copied, moved.duplicates, moved.merged, moved.target_id) == (1, 0, 0, target)
    assert moved.ids is not None
    copy = await now(core, moved.ids[original.id])
    same = ("content", "subject", "attribute", "entities", "tags", "sensitivity", "confidence", "priority", "pinned")
    for name in (*same, "session_id", "position", "origin", "provenance_id", "semantic_type", "state"):
        assert getattr(copy, name) == getattr(original, name), name
    assert (copy.vault_id, copy.version, copy.id != original.id) == (target, 1, True)
    told = await core.read(ANN, lambda tx: explain.provenance(tx, copy))
    assert [(item.source.kind, item.source.uri) for item in told.sources] == [
        ("message", None),
        ("document", f"mneme:{original.id}@1"),
    ]
    assert [(edge.src_id, edge.dst_id, edge.type) for edge in told.edges] == [(copy.id, original.id, "DERIVED_FROM")]
    blobs = select(BlobRow.memory_seq, BlobRow.version, BlobRow.data)
    rows = {row.memory_seq: row for row in await core.read(ANN, lambda tx: tx.connection.execute(blobs).all())}
    assert (rows[copy.seq].data, rows[copy.seq].version) == (rows[original.seq].data, 1)
    receipt = await core.write(ANN, lambda tx: erase.erase(tx, store.move(tx, store.get(tx, original.id), "delete")))
    assert receipt.stale == (copy.id,)


async def test_only_live_memories_that_the_reader_may_see_are_copied(core: Core, target: str, clock: SetClock) -> None:
    home = await vault_id(core)
    kept, held, frozen = (
        await put(core, "kept"),
        await put(core, "held", state="quarantined"),
        await put(core, "frozen"),
    )
    await move(core, frozen, "freeze")
    await move(core, await put(core, "archived"), "archive")
    await move(core, await put(core, "deleted"), "delete")
    await put(core, "over", expires_at=clock.now() + timedelta(seconds=1))
    masked = await put(core, "masked", sensitivity=("health",))
    clock.pass_by(2)
    await core.default_vault(BOB)
    await give(core, home, "read", masked_tags=("health",))
    mine = await migrate(core, BOB, home, "default")
    assert mine.ids is not None
    assert mine.ids.keys() == {kept.id, held.id, frozen.id}
    assert [(await now(core, mine.ids[cube.id])).state for cube in (kept, held, frozen)] == [
        "activated",
        "quarantined",
        "frozen",
    ]
    for wrong in (masked.id, new_id("mem"), (await put(core, "elsewhere", vault=target)).id):
        with pytest.raises(UnknownName, match="not found"):
            await migrate(core, BOB, home, "default", ids=[kept.id, wrong])


async def test_the_target_adds_its_defaults_and_what_it_has_already_is_not_stored_twice(
    core: Core, clock: SetClock
) -> None:
    strict = await Vaults(core).create(ANN, "strict", default_ttl_s=60, default_sensitivity=["work"])
    a, b = await put(core, "a", sensitivity=("private",)), await put(core, "b")
    there = await put(core, "b", vault=strict.vault.id)
    moved = await migrate(core, ANN, "default", "strict", ids=[b.id, a.id])
    assert (moved.copied, moved.duplicates) == (1, 1)
    assert moved.ids is not None
    copy = await now(core, moved.ids[a.id])
    assert (copy.sensitivity, copy.expires_at) == (("private", "work"), clock.now() + timedelta(seconds=60))
    assert (await now(core, there.id)).version == 1


async def test_places_that_the_store_gave_are_given_anew(core: Core, target: str) -> None:
    await put(core, "there already", vault=target, session_id="s")
    for number in range(3):
        await put(core, f"m{number}", session_id="s")
    await migrate(core, ANN, "default", "target")
    found = sorted(await all_of(core, target), key=lambda cube: cube.position or 0)
    assert [(cube.content, cube.position) for cube in found] == [
        ("there already", 0),
        ("m0", 1),
        ("m1", 2),
        ("m2", 3),
    ]


@pytest.mark.parametrize("arriving_is", ["newer", "older"])
async def test_of_two_statements_about_the_same_the_later_closes_the_other(
    core: Core, target: str, clock: SetClock, arriving_is: str
) -> None:
    then, later = clock.now() - timedelta(days=9), clock.now()
    arrives, is_there = (later, then) if arriving_is == "newer" else (then, later)
    slot: dict[str, Any] = {"subject": "Ana", "attribute": "home"}
    original = await put(core, "arrives", valid_from=arrives, **slot)
    other = await put(core, "is there", valid_from=is_there, vault=target, **slot)
    moved = await migrate(core, ANN, "default", "target")
    assert moved.ids is not None
    states = {"arriving": (await now(core, moved.ids[original.id])).state, "there": (await now(core, other.id)).state}
    closed = "there" if arriving_is == "newer" else "arriving"
    assert states == {"arriving": "activated", "there": "activated"} | {closed: "archived"}
    assert (await now(core, original.id)).state == "activated"


async def test_both_ends_are_decided_on(core: Core, target: str) -> None:
    home = await vault_id(core)
    await put(core, "a")
    await core.default_vault(BOB)
    for source, to in ((home, "default"), ("default", home)):
        with pytest.raises(UnknownName):
            await migrate(core, BOB, source, to)
    await give(core, target, "read")
    with pytest.raises(Forbidden, match="'write'"):
        await migrate(core, BOB, "default", target)
    with pytest.raises(InvalidInput, match="both ends"):
        await migrate(core, ANN, home, "default")
    with pytest.raises(InvalidInput, match="ids"):
        await migrate(core, ANN, home, target, ids=[])
    await Vaults(core).edit(ANN, target, {"archived": True}, expect=1)
    with pytest.raises(Conflict, match="archived"):
        await migrate(core, ANN, home, target)


async def test_copying_is_one_read_on_a_metered_grant_and_audited_at_both_ends(core: Core) -> None:
    home = await vault_id(core)
    cubes = [await put(core, name) for name in "ab"]
    await core.default_vault(BOB)
    own = await vault_id(core, BOB)
    await give(core, home, "read", max_reads=1)
    with pytest.raises(Conflict, match="counts reads"):
        await migrate(core, BOB, home, "default", at_once=1)
    assert (await migrate(core, BOB, home, "default", ids=[cubes[0].id])).copied == 1
    with pytest.raises(UnknownName):
        await migrate(core, BOB, home, "default", ids=[cubes[1].id])
    for chain in (home, own):
        lines = await core.read(ANN, lambda tx, c=chain: audit.read(tx, chains=[c], after=0, limit=50))  # type: ignore[misc]
        told = [line.detail for line in lines if line.action == "migrate"]
        assert [(line["from"], line["to"], line["copied"]) for line in told] == [(home, own, 1)]
        assert await core.read(ANN, lambda tx, c=chain: audit.verify(tx, c)) is None  # type: ignore[misc]


async def execute(core: Core, job_id: str) -> dict[str, Any]:
    job = await core.write(ANN, lambda tx: jobs.claim(tx, job_id))
    assert job is not None
    result = await migrating.finish(JobRun(core, job))
    await core.write(ANN, lambda tx: jobs.finish(tx, job, result))
    return dict(result)


class Died(Exception):
    """The process is no more."""


async def test_many_are_a_job_that_goes_on_where_it_stopped(
    core: Core, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "BATCH", 3)
    for number in range(10):
        await put(core, f"m{number}")
    await put(core, "m3", vault=target)
    moved = await migrate(core, ANN, "default", target, at_once=5)
    assert (moved.copied, moved.ids) == (0, None)
    await put(core, "came after the call")
    job_id = str(moved.job_id)
    commit, calls = JobRun.commit, 0

    async def dying(self: JobRun, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (2, 4):
            raise Died
        return await commit(self, *args, **options)

    monkeypatch.setattr(JobRun, "commit", dying)
    for _ in range(2):
        with pytest.raises(Died):
            await execute(core, job_id)
        job = await core.read(ANN, lambda tx: jobs.get(tx, job_id))
        await core.write(ANN, lambda tx, j=job: jobs.release(tx, j))  # type: ignore[misc]
    assert await execute(core, job_id) == {"copied": 9, "duplicates": 1, "merged": 0}
    assert sorted(cube.content for cube in await all_of(core, target)) == [f"m{number}" for number in range(10)]


async def test_a_job_stops_when_the_right_to_read_is_taken_away(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "BATCH", 1)
    home = await vault_id(core)
    for name in "abc":
        await put(core, name)
    await core.default_vault(BOB)
    grant_id = await give(core, home, "read")
    moved = await migrate(core, BOB, home, "default", at_once=2)
    await Grants(core).revoke(ANN, home, grant_id)
    job = await core.write(BOB, lambda tx: jobs.claim(tx, str(moved.job_id)))
    assert job is not None
    with pytest.raises(access.Hidden):
        await migrating.finish(JobRun(core, job))
    assert await all_of(core, "default", BOB) == []


async def fuse(core: Core, source: str, to: str) -> Moved:
    return await Vaults(core).fuse(ANN, source, to)


async def test_fused_vaults_say_each_thing_once_and_hide_what_either_hid(core: Core, target: str) -> None:
    exact = await put(core, "Bees dance", tags=("a",), sensitivity=("private",))
    near = await put(core, f"{LONG}.", sensitivity=("private",), sources=(Source("url", uri="u"),))
    other_year = await put(core, LONG.replace("last year", "2021"))
    there_exact = await put(core, "bees  DANCE", vault=target, tags=("b",), sensitivity=("work",))
    there_near = await put(core, LONG, vault=target, sensitivity=("work",))
    moved = await fuse(core, "default", target)
    assert (moved.copied, moved.duplicates, moved.merged) == (2, 1, 1)
    assert moved.ids is not None
    exact_now = await now(core, there_exact.id)
    assert (exact_now.content, exact_now.tags, set(exact_now.sensitivity)) == (
        "bees  DANCE",
        ("b", "a"),
        {"work", "private"},
    )
    kept = await now(core, moved.ids[near.id])
    merged = await now(core, there_near.id)
    assert (kept.content, set(kept.sensitivity), merged.state) == (near.content, {"private", "work"}, "merged")
    assert (await now(core, moved.ids[other_year.id])).state == "activated"
    told = await core.read(ANN, lambda tx: explain.provenance(tx, exact_now))
    assert f"mneme:{exact.id}@1" in [item.source.uri for item in told.sources]
    assert [(await now(core, cube.id)).version for cube in (exact, near)] == [1, 1]


async def test_pairs_are_found_by_their_vectors_too_and_another_claim_is_never_merged(core: Core, target: str) -> None:
    same, other, placed = (
        await put(core, "Ana likes tea"),
        await put(core, "Ana owns 3 cats"),
        await put(core, "Ana reads", session_id="s", position=1),
    )
    there = [await put(core, text, vault=target) for text in ("Ana likes her tea", "Ana owns 4 cats", "Ana reads!")]
    vectors = {same.id: [1.0, 0.0], other.id: [0.0, 1.0], placed.id: [0.6, 0.8]}
    vectors |= dict(zip([cube.id for cube in there], vectors.values(), strict=True))
    await embed(core, vectors)
    moved = await fuse(core, "default", target)
    assert (moved.copied, moved.merged) == (3, 1)
    assert moved.ids is not None
    assert moved.ids[same.id] == there[0].id
    assert [(await now(core, cube.id)).state for cube in there] == ["activated"] * 3


async def test_pinned_and_frozen_memories_are_not_altered_by_a_fusion(core: Core, target: str) -> None:
    for text in (LONG, "Bees dance", "Ants walk"):
        await put(core, text, tags=("new",))
    pinned = await put(core, f"{LONG}.", vault=target, pinned=True)
    frozen = await move(core, await put(core, "Bees dance", vault=target), "freeze")
    kept = await put(core, "Ants walk", vault=target, pinned=True)
    moved = await fuse(core, "default", target)
    assert (moved.copied, moved.duplicates, moved.merged) == (1, 2, 0)
    for cube in (pinned, frozen, kept):
        assert await now(core, cube.id) == cube


async def test_a_fused_vault_is_open_to_those_who_could_see_both(core: Core, target: str) -> None:
    home = await vault_id(core)
    both = await give(core, target, "read", "write", masked_tags=("health",))
    await give(core, home, "read", masked_tags=("money",))
    await give(core, target, "read", user=None)
    moved = await fuse(core, "default", target)
    assert both in moved.revoked
    found = {
        (row.grantee_id, row.can_read, row.can_write, tuple(row.masked_tags))
        for row in await core.read(
            ANN, lambda tx: tx.connection.execute(select(GrantRow.__table__).where(GrantRow.vault_id == target)).all()
        )
    }
    assert found == {
        (BOB.user_id, True, False, ("health", "money")),
        (BOB.user_id, True, False, ("money",)),
    }


async def test_grants_that_hold_for_both_stay_as_they_are(core: Core, target: str) -> None:
    home = await vault_id(core)
    for vault in (home, target):
        await give(core, vault, "read")
    assert (await fuse(core, "default", target)).revoked == ()


async def test_only_the_owner_fuses_into_a_vault(core: Core, target: str) -> None:
    await give(core, target, "read", "write", "share")
    await core.default_vault(BOB)
    with pytest.raises(Forbidden, match="only its owner"):
        await migrate(core, BOB, "default", target, fuse=True)
