"""The relay: what was committed gets into every index that is written to, whatever fails on the way, and only once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import anyio
import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from memory import erase, profiles, store
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.base import Role, Vectors
from memory.encoders.hashing import Hashing
from memory.indices.base import PointVersion, VectorOp
from memory.indices.exact import ExactIndex
from memory.spaces import Space, Spaces
from memory.tables import BlobRow, MemoryRow, OutboxRow
from memory.types import MemCube
from memory.upkeep import outbox
from memory.upkeep.outbox import Relay
from runtime.errors import ModelUnavailable, StorageError
from runtime.ids import new_id
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
DIM = 64


class Moody(Hashing):
    """An encoder whose server can be away."""

    away = False

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        if self.away:
            raise ModelUnavailable("the embedding server is away")
        return await super().encode(texts, role=role)


class Broken(ExactIndex):
    """An index that can refuse."""

    down = False

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        if self.down:
            raise StorageError("the index is down")
        await super().apply(ops)


@pytest.fixture
async def spaces(core: Core) -> AsyncIterator[Spaces]:
    encoder = Moody(DIM)
    profile_id, now = new_id("emb"), core.clock.now()
    profile = await core.db.write(lambda c: profiles.ensure(c, profile_id, encoder.profile, "f32", now))
    made = Spaces(Space(profile.id, profile.slug, encoder, Broken(DIM, codecs.make("f32", DIM))))
    yield made
    await made.aclose()


@pytest.fixture
def relay(core: Core, spaces: Spaces) -> Relay:
    return Relay(core, spaces, name="rly_a", alone=core.db.dialect == "sqlite")


async def points(spaces: Spaces) -> dict[str, PointVersion]:
    return {point.memory_id: point async for point in spaces.active.index.versions()}


async def drained(relay: Relay) -> None:
    while await relay.step():
        pass


async def now_of(core: Core, cube: MemCube) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, cube.id))


async def waiting(core: Core) -> int:
    return await core.db.read(lambda c: c.execute(select(func.count()).select_from(OutboxRow)).scalar_one())


async def test_a_new_memory_is_embedded_kept_and_written(core: Core, spaces: Spaces, relay: Relay) -> None:
    cube = await put(core, "The tide turns at noon")
    await drained(relay)
    assert await points(spaces) == {cube.id: PointVersion(cube.id, 1, tombstone=False)}
    after = await now_of(core, cube)
    assert (after.vector_state, after.embedded_version, after.version) == ("synced", 1, 1)
    assert await waiting(core) == 0
    kept = await core.db.read(lambda c: c.execute(select(BlobRow.profile_id, BlobRow.version)).all())
    assert [tuple(row) for row in kept] == [(spaces.active.id, 1)]


async def test_an_edit_that_was_not_carried_yet_is_carried_once_and_as_it_is(
    core: Core, spaces: Spaces, relay: Relay
) -> None:
    cube = await put(core, "first words")
    cube = await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", content="second words"))
    assert await waiting(core) == 2
    await drained(relay)
    assert (await points(spaces))[cube.id].version == 2
    (vector,) = await spaces.active.encoder.encode(["second words"], role="doc")
    data = await core.db.read(lambda c: c.execute(select(BlobRow.data)).scalar_one())
    assert np.allclose(np.frombuffer(data, "<f2").astype(np.float32), vector, atol=1e-3)


@pytest.mark.parametrize("event", ["delete", "expire", "quarantine"])
async def test_what_may_not_be_found_leaves_a_tombstone(core: Core, spaces: Spaces, relay: Relay, event: str) -> None:
    cube = await put(core, "away with it")
    await drained(relay)
    await core.write(ANN, lambda tx: store.move(tx, cube, event))
    await drained(relay)
    assert (await points(spaces))[cube.id] == PointVersion(cube.id, 2, tombstone=True)
    assert (await now_of(core, cube)).vector_state == "none"


async def test_a_purge_leaves_no_vector_anywhere(core: Core, spaces: Spaces, relay: Relay) -> None:
    cube = await put(core, "nobody may know this")
    await drained(relay)
    await core.write(ANN, lambda tx: erase.erase(tx, store.move(tx, cube, "delete")))
    await drained(relay)
    assert (await points(spaces))[cube.id].tombstone
    assert await core.db.read(lambda c: c.execute(select(func.count()).select_from(BlobRow)).scalar_one()) == 0


async def test_an_archived_memory_keeps_its_point_for_questions_about_the_past(
    core: Core, spaces: Spaces, relay: Relay
) -> None:
    cube = await put(core, "old but true then")
    await core.write(ANN, lambda tx: store.move(tx, cube, "archive"))
    await drained(relay)
    assert (await points(spaces))[cube.id] == PointVersion(cube.id, 2, tombstone=False)


async def test_while_the_index_is_down_entries_stay_and_are_carried_when_it_is_back(
    core: Core, spaces: Spaces, relay: Relay
) -> None:
    index = spaces.active.index
    assert isinstance(index, Broken)
    index.down = True
    cube = await put(core, "wait for me")
    with pytest.raises(StorageError, match="down"):
        await relay.step()
    assert await waiting(core) == 1
    assert (await now_of(core, cube)).vector_state == "pending"
    index.down = False
    await drained(Relay(core, spaces, name="rly_a", alone=relay._alone))
    assert cube.id in await points(spaces)


async def test_while_the_encoder_is_away_it_is_asked_again_later_and_at_last_given_up(
    core: Core, spaces: Spaces, relay: Relay, clock: SetClock
) -> None:
    encoder = spaces.active.encoder
    assert isinstance(encoder, Moody)
    encoder.away = True
    cube = await put(core, "no vector yet")
    assert await relay.step() == 1
    assert await relay.step() == 0, "it is not asked again at once"
    row = await core.db.read(
        lambda c: c.execute(select(OutboxRow.attempts, OutboxRow.error, OutboxRow.not_before)).one()
    )
    assert row.attempts == 1
    assert "away" in row.error
    assert row.not_before == clock.now() + timedelta(seconds=2)
    for _ in range(outbox.ATTEMPTS - 1):
        clock.pass_by(outbox.BACKOFF_CAP_S)
        assert await relay.step() == 1
    assert (await now_of(core, cube)).vector_state == "failed"
    assert await waiting(core) == 0
    assert not await outbox.wait_for(core, [cube.id], 1)


async def test_a_damaged_stored_vector_is_made_again(core: Core, spaces: Spaces, relay: Relay) -> None:
    cube = await put(core, "bits rot")
    await drained(relay)
    await core.db.write(lambda c: c.execute(update(BlobRow).values(crc32=1)))
    await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", tags=("x",)))
    await drained(relay)
    assert (await points(spaces))[cube.id].version == 2
    crc32 = await core.db.read(lambda c: c.execute(select(BlobRow.crc32)).scalar_one())
    assert crc32 != 1


async def test_carried_but_not_marked_is_carried_again_without_a_change(
    core: Core, spaces: Spaces, relay: Relay
) -> None:
    cube = await put(core, "twice is once")
    await drained(relay)
    await core.write(ANN, lambda tx: store.enqueue(tx, [cube]))
    await drained(relay)
    assert await points(spaces) == {cube.id: PointVersion(cube.id, 1, tombstone=False)}
    assert await waiting(core) == 0


async def test_an_entry_of_a_memory_that_is_not_there_any_more_is_dropped(core: Core, relay: Relay) -> None:
    cube = await put(core, "gone")
    await core.db.write(lambda c: c.execute(update(OutboxRow).values(memory_id="mem_" + "0" * 32)))
    await drained(relay)
    assert await waiting(core) == 0
    assert (await now_of(core, cube)).vector_state == "pending"


async def test_two_relays_share_the_work_and_a_dead_one_loses_its_claims(
    core: Core, spaces: Spaces, clock: SetClock
) -> None:
    first = Relay(core, spaces, name="rly_a", alone=False)
    second = Relay(core, spaces, name="rly_b", alone=False)
    for number in range(20):
        await put(core, f"memory number {number}")
    now = clock.now()
    taken = await core.db.write(lambda c: outbox._claim(c, now, "rly_dead"))
    assert len(taken) == 20
    assert await second.step() == 0, "what is claimed is left alone"
    clock.pass_by(61)
    async with anyio.create_task_group() as both:
        both.start_soon(drained, first)
        both.start_soon(drained, second)
    assert await waiting(core) == 0
    assert len(await points(spaces)) == 20


async def test_no_two_relays_have_entries_of_one_memory(core: Core, spaces: Spaces, clock: SetClock) -> None:
    cube = await put(core, "one claim per memory")
    now = clock.now()
    assert len(await core.db.write(lambda c: outbox._claim(c, now, "rly_a"))) == 1
    await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", tags=("new",)))
    assert await core.db.write(lambda c: outbox._claim(c, now, "rly_b")) == []
    assert len(await core.db.write(lambda c: outbox._claim(c, now, "rly_a"))) == 2


async def test_waiting_ends_when_the_index_has_it(core: Core, spaces: Spaces, relay: Relay) -> None:
    cube = await put(core, "tell me when")
    assert not await outbox.wait_for(core, [cube.id], 0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run)
        assert await outbox.wait_for(core, [cube.id], 5)
        tasks.cancel_scope.cancel()


async def test_an_edit_between_reading_and_marking_keeps_its_own_entry(
    core: Core, spaces: Spaces, relay: Relay
) -> None:
    cube = await put(core, "in the middle")
    index = spaces.active.index
    applied = index.apply

    async def meanwhile(ops: Sequence[VectorOp]) -> None:
        await applied(ops)
        if ops[0].version == 1:
            await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", content="edited meanwhile"))

    index.apply = meanwhile  # type: ignore[method-assign]
    await relay.step()
    assert (await now_of(core, cube)).vector_state == "pending"
    assert await waiting(core) == 1
    await drained(relay)
    assert (await points(spaces))[cube.id].version == 2
    assert (await now_of(core, cube)).embedded_version == 2


async def test_rows_that_vanish_do_not_stop_the_relay(core: Core, spaces: Spaces, relay: Relay) -> None:
    await put(core, "stays")
    await core.db.write(lambda c: c.execute(delete(BlobRow)))
    await core.db.write(lambda c: c.execute(update(MemoryRow).values(vector_state="synced")))
    await drained(relay)
    assert len(await points(spaces)) == 1
