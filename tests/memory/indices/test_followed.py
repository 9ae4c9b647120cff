"""A copy in memory that follows the database finds what any process wrote, as it is now."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from memory import profiles, store
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.hashing import Hashing
from memory.indices.base import Filter
from memory.indices.exact import ExactIndex
from memory.indices.followed import OVERLAP, Followed
from memory.profiles import StoredProfile
from memory.store import NewMemory
from memory.tables import BlobRow
from memory.types import Draft, MemCube
from runtime.ids import new_id
from tests.memory.conftest import ANN, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
DIM = 48
ENCODER = Hashing(DIM)


@pytest.fixture
async def profile(core: Core) -> StoredProfile:
    profile_id, now = new_id("emb"), core.clock.now()
    return await core.db.write(lambda c: profiles.ensure(c, profile_id, ENCODER.profile, "f32", now))


@pytest.fixture
def followed(core: Core, profile: StoredProfile) -> Followed:
    return Followed(core, profile.id, DIM, ExactIndex(DIM, codecs.make("f32", DIM)))


async def embedded(core: Core, profile: StoredProfile, content: str) -> MemCube:
    """A memory with its vector, as a service writes it."""
    (vector,) = await ENCODER.encode([content], role="doc")
    item = NewMemory(new_id("mem"), await vault_id(core), Draft(content), new_id("prv"), {profile.id: vector})
    return await core.write(ANN, lambda tx: store.insert_all(tx, [item])[0].cube)


async def found(core: Core, index: Followed, words: str) -> list[str]:
    (vector,) = await ENCODER.encode([words], role="query")
    return [hit.memory_id for hit in await index.search(vector, 3, Filter((await vault_id(core),)))]


async def test_it_is_filled_when_it_is_first_asked(core: Core, profile: StoredProfile, followed: Followed) -> None:
    made = [await embedded(core, profile, f"{word} in the garden") for word in ("roses", "tulips", "a spade")]
    assert (await found(core, followed, "tulips in the garden"))[0] == made[1].id
    assert await followed.count() == 3


async def test_what_others_write_is_found_at_the_next_question(
    core: Core, profile: StoredProfile, followed: Followed, clock: SetClock
) -> None:
    old = await embedded(core, profile, "an old oak")
    assert await found(core, followed, "oak") == [old.id]
    clock.pass_by(3600)
    new = await embedded(core, profile, "a young birch")
    assert (await found(core, followed, "a young birch"))[0] == new.id
    clock.pass_by(3600)
    await core.write(ANN, lambda tx: store.move(tx, new, "delete"))
    assert await found(core, followed, "a young birch") == [old.id]


async def test_a_write_that_was_committed_late_is_not_missed(
    core: Core, profile: StoredProfile, followed: Followed, clock: SetClock
) -> None:
    await found(core, followed, "anything")
    clock.pass_by(3600)
    await found(core, followed, "anything")
    clock.pass_by(-(OVERLAP - timedelta(seconds=1)).total_seconds())
    late = await embedded(core, profile, "began before the question, ended after it")
    clock.pass_by(OVERLAP.total_seconds())
    assert await found(core, followed, "began before the question") == [late.id]


async def test_a_vector_that_comes_later_is_taken_in_then(
    core: Core, profile: StoredProfile, followed: Followed, clock: SetClock
) -> None:
    item = NewMemory(new_id("mem"), await vault_id(core), Draft("not embedded yet"), new_id("prv"))
    cube = await core.write(ANN, lambda tx: store.insert_all(tx, [item])[0].cube)
    assert await found(core, followed, "not embedded yet") == []
    clock.pass_by(3600)
    assert await found(core, followed, "not embedded yet") == []
    (vector,) = await ENCODER.encode([cube.content], role="doc")
    row = store.blob_row(cube, profile.id, vector)
    await core.db.write(lambda c: c.execute(insert(BlobRow), row))
    clock.pass_by(3600)
    assert await found(core, followed, "not embedded yet") == [cube.id]


async def test_a_damaged_vector_gives_no_score(core: Core, profile: StoredProfile, followed: Followed) -> None:
    await embedded(core, profile, "bits rot")
    whole = await embedded(core, profile, "bits stay")
    damaged = update(BlobRow).where(BlobRow.memory_seq != whole.seq).values(crc32=1)
    await core.db.write(lambda c: c.execute(damaged))
    assert await found(core, followed, "bits rot") == [whole.id]
