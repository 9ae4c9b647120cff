"""Verify finds every difference between the memories and what follows from them, and repair leaves none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, delete, func, select, update

from memory import access, erase, profiles, store
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.hashing import Hashing
from memory.indices import lexical
from memory.indices.base import VectorOp, payload_of
from memory.indices.exact import ExactIndex
from memory.spaces import Space, Spaces
from memory.tables import AuditRow, BlobRow, EntityRow, IncidenceRow, MemoryRow, VersionRow
from memory.types import MemCube
from memory.upkeep import reconcile
from memory.upkeep.outbox import Relay, wait_for
from runtime.ids import new_id
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
DIM = 32


@pytest.fixture
async def spaces(core: Core, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Spaces]:
    """A space whose relay is going."""
    monkeypatch.setattr(reconcile, "BETWEEN_S", 0.01)
    encoder, profile_id, now = Hashing(DIM), new_id("emb"), core.clock.now()
    profile = await core.db.write(lambda c: profiles.ensure(c, profile_id, encoder.profile, "f32", now))
    made = Spaces(Space(profile.id, profile.slug, encoder, ExactIndex(DIM, codecs.make("f32", DIM))))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Relay(core, made, name="rly_a", alone=True).run)
        yield made
        tasks.cancel_scope.cancel()
    await made.aclose()


@pytest.fixture
async def cubes(core: Core, spaces: Spaces) -> list[MemCube]:
    """Five memories: one edited, one archived, one deleted, one purged."""
    made = [await put(core, f"Memory {n} of Ann and Ben", entities=("Ann", f"thing {n}")) for n in range(5)]
    made[1] = await core.write(ANN, lambda tx: store.change(tx, made[1], kind="edit", content="Other words"))
    made[2] = await core.write(ANN, lambda tx: store.move(tx, made[2], "archive"))
    made[3] = await core.write(ANN, lambda tx: store.move(tx, made[3], "delete"))
    purged = await core.write(ANN, lambda tx: store.move(tx, made[4], "delete"))
    await core.write(ANN, lambda tx: erase.erase(tx, purged))
    assert await wait_for(core, [cube.id for cube in made], 10)
    return made


async def checked(core: Core, spaces: Spaces, *kinds: str) -> None:
    """Exactly these kinds of drift are found, all are repaired, and none is found again."""
    found = await reconcile.verify(core, spaces, repair=False)
    assert sorted({each.kind for each in found.drift}) == sorted(kinds), found.drift
    assert found.ok is not bool(kinds)
    mended = await reconcile.verify(core, spaces, repair=True)
    assert mended.ok
    again = await reconcile.verify(core, spaces, repair=False)
    assert again.drift == ()
    assert again.ok


async def test_a_store_that_agrees_has_no_drift(core: Core, spaces: Spaces, cubes: list[MemCube]) -> None:
    report = await reconcile.verify(core, spaces, repair=False)
    assert (report.checked, report.drift, report.ok) == (5, (), True)


def _forget_text(connection: Connection) -> None:
    lexical.drop(connection, lexical.seqs(connection)[:1])


def _other_text(connection: Connection) -> None:
    lexical.put(connection, min(lexical.seqs(connection)), "vlt_other", "something else", "")


def _forget_nodes(connection: Connection) -> None:
    seq = connection.execute(select(func.min(IncidenceRow.memory_seq))).scalar_one()
    connection.execute(delete(IncidenceRow).where(IncidenceRow.memory_seq == seq))


def _stray_text(connection: Connection) -> None:
    lexical.put(connection, 10**6, "vlt_other", "of no memory", "")


DAMAGE: dict[str, tuple[Callable[[Connection], Any], tuple[str, ...]]] = {
    "full text is gone": (_forget_text, ("text",)),
    "full text is of another text": (_other_text, ("text",)),
    "full text of no memory": (_stray_text, ("text",)),
    "incidence is gone": (_forget_nodes, ("graph",)),
    "degrees are wrong": (lambda c: c.execute(update(EntityRow).values(degree=EntityRow.degree + 1)), ("graph",)),
    "stored vectors are gone": (lambda c: c.execute(delete(BlobRow)), ("blob",)),
    "stored vectors are damaged": (lambda c: c.execute(update(BlobRow).values(crc32=7)), ("blob",)),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_follows_in_sql_is_mended(core: Core, spaces: Spaces, cubes: list[MemCube], damage: str) -> None:
    work, kinds = DAMAGE[damage]
    await core.db.write(work)
    await checked(core, spaces, *kinds)


async def test_points_that_are_missing_old_extra_or_of_nobody_are_mended(
    core: Core, spaces: Spaces, cubes: list[MemCube]
) -> None:
    index = spaces.active.index
    (vector,) = await spaces.active.encoder.encode(["x"], role="doc")
    stranger = "mem_" + "f" * 32
    await index.remove([cubes[0].id, cubes[1].id, cubes[3].id])
    older = cubes[1]
    await index.apply(
        [
            VectorOp(older.id, older.version - 1, vector, payload_of(older)),
            VectorOp(cubes[3].id, cubes[3].version, vector, payload_of(cubes[3])),
            VectorOp(stranger, 1, vector, payload_of(cubes[0])),
        ]
    )
    found = await reconcile.verify(core, spaces, repair=False)
    assert {each.memory_id: each.detail for each in found.drift} == {
        cubes[0].id: "it has no point",
        cubes[1].id: "its point is of version 1, it is at 2",
        cubes[3].id: "its point can be found, but it is deleted",
        stranger: "a point of no memory",
    }
    await checked(core, spaces, "vector")


async def test_the_hourly_round_mends_points_too(core: Core, spaces: Spaces, cubes: list[MemCube]) -> None:
    await spaces.active.index.remove([cubes[0].id])
    assert (await reconcile.reconcile(core, spaces))["mended"] == 1
    assert await wait_for(core, [cubes[0].id], 10)
    assert (await reconcile.verify(core, spaces, repair=False)).ok


async def test_tombstones_go_after_their_grace_and_not_before(
    core: Core, spaces: Spaces, cubes: list[MemCube], clock: SetClock
) -> None:
    assert (await reconcile.reconcile(core, spaces))["removed"] == 0
    clock.pass_by((reconcile.TOMBSTONE_KEPT + timedelta(hours=1)).total_seconds())
    assert (await reconcile.reconcile(core, spaces))["removed"] == 2
    there = {point.memory_id async for point in spaces.active.index.versions()}
    assert there == {cube.id for cube in cubes[:3]}
    assert (await reconcile.verify(core, spaces, repair=False)).ok


async def test_a_change_of_history_is_reported_and_not_mended(core: Core, spaces: Spaces, cubes: list[MemCube]) -> None:
    changed = update(VersionRow).where(VersionRow.memory_id == cubes[1].id, VersionRow.version == 1)
    await core.db.write(lambda c: c.execute(changed.values(content="never said")))
    report = await reconcile.verify(core, spaces, repair=True)
    assert [(each.kind, each.memory_id) for each in report.drift] == [("version", cubes[1].id)]
    assert not report.ok


async def test_a_memory_that_was_changed_without_a_version_is_reported(
    core: Core, spaces: Spaces, cubes: list[MemCube]
) -> None:
    behind = update(MemoryRow).where(MemoryRow.id == cubes[0].id).values(confidence=0.1)
    await core.db.write(lambda c: c.execute(behind))
    report = await reconcile.verify(core, spaces, repair=True)
    assert [(each.kind, each.memory_id) for each in report.drift] == [("version", cubes[0].id)]


async def test_an_audit_line_that_was_removed_is_reported(core: Core, spaces: Spaces, cubes: list[MemCube]) -> None:
    for _ in range(3):
        with pytest.raises(access.Hidden):
            await core.read(ANN, lambda tx: access.memory(tx, "mem_" + "0" * 32, "read"))
    assert (await reconcile.verify(core, spaces, repair=False)).ok
    await core.db.write(lambda c: c.execute(delete(AuditRow).where(AuditRow.n == 2)))
    report = await reconcile.verify(core, spaces, repair=False)
    assert [each.kind for each in report.drift] == ["audit"]


async def test_what_waits_for_the_index_is_no_drift(core: Core, spaces: Spaces, cubes: list[MemCube]) -> None:
    async def busy() -> None:
        for number in range(60):
            await put(core, f"while it looks {number}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(busy)
        for _ in range(3):
            assert (await reconcile.verify(core, spaces, repair=False)).drift == ()


async def test_a_process_without_the_index_says_what_it_could_not_look_at(
    core: Core, spaces: Spaces, cubes: list[MemCube]
) -> None:
    report = await reconcile.verify(core, spaces, repair=False, owned=False)
    assert report.unchecked == (spaces.active.slug,)
    assert report.drift == ()
    assert not report.ok
