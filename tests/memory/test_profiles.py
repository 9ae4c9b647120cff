"""The pointer to the active profile: always one, moved in one transaction, never to vectors of another model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import anyio
import pytest
from sqlalchemy import Connection, func, insert, select

from memory import erase, profiles, store
from memory.core import Core
from memory.encoders.base import Profile
from memory.encoders.hashing import Hashing
from memory.profiles import StoredProfile
from memory.tables import BlobRow
from memory.types import MemCube
from runtime.db import open_database
from runtime.errors import Conflict, SettingsError, UnknownName
from runtime.ids import new_id
from runtime.settings import Settings
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
T = TypeVar("T")
SMALL, LARGE = Hashing(384).profile, Hashing(768).profile
PARAMS = b"parameters of a fit"


async def write(core: Core, work: Callable[[Connection], T]) -> T:
    return await core.db.write(work)


async def ensured(core: Core, space: Profile = SMALL, codec: str = "int8") -> StoredProfile:
    now, id_ = core.clock.now(), new_id("emb")
    return await write(core, lambda c: profiles.ensure(c, id_, space, codec, now))


async def begun(
    core: Core, space: Profile = LARGE, codec: str = "int8", params: bytes = b"", *, refit: bool = False
) -> StoredProfile:
    now, id_ = core.clock.now(), new_id("emb")
    return await write(core, lambda c: profiles.begin(c, id_, space, codec, params, now, refit=refit))


async def switched(core: Core, profile: StoredProfile) -> StoredProfile:
    now = core.clock.now()
    return await write(core, lambda c: profiles.switch(c, profile.id, now))


async def states(core: Core) -> dict[str, str]:
    return {p.slug: p.state for p in await core.db.read(profiles.every)}


async def test_a_new_store_takes_the_configured_encoder_and_keeps_it(core: Core) -> None:
    assert await core.db.read(profiles.active) is None
    made = await ensured(core)
    assert (made.slug, made.state, made.space, made.codec) == ("hashing-384.int8", "active", SMALL, "int8")
    assert await ensured(core) == made
    # Another codec in the settings of a store that has vectors is a move, not a change of what is there.
    assert await ensured(core, codec="f16") == made


async def test_two_processes_that_open_a_new_store_at_once_make_one_profile(core: Core) -> None:
    made: list[StoredProfile] = []
    refused: list[SettingsError] = []

    async def open_with(space: Profile) -> None:
        try:
            made.append(await ensured(core, space))
        except SettingsError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for space in (SMALL, LARGE, SMALL, LARGE):
            group.start_soon(open_with, space)
    assert len({profile.id for profile in made}) == 1
    assert len(made) == len(refused) == 2
    assert list((await states(core)).values()) == ["active"]


async def test_a_store_does_not_start_with_vectors_of_another_size_or_model(core: Core) -> None:
    await ensured(core)
    with pytest.raises(SettingsError, match=r"384 dimensions.*'hashing-768' \(768\).*mneme memory reembed"):
        await ensured(core, LARGE)
    with pytest.raises(SettingsError, match=r"384 dimensions .* gives 512"):
        await ensured(core, replace(SMALL, dim=512))
    with pytest.raises(SettingsError, match="vectors of two models are never mixed"):
        await ensured(core, replace(SMALL, revision="2"))
    assert await states(core) == {"hashing-384.int8": "active"}


async def test_a_new_store_cannot_begin_with_a_codec_that_has_to_be_fitted(core: Core) -> None:
    with pytest.raises(SettingsError, match=r"embed\.codec 'pca50_f8': has to be fitted"):
        await ensured(core, codec="pca50_f8")
    assert await states(core) == {}


async def test_a_profile_is_built_switched_to_and_back(core: Core) -> None:
    old = await ensured(core)
    new = await begun(core)
    assert (new.state, new.cursor) == ("building", 0)
    assert [p.id for p in await core.db.read(profiles.written)] == [old.id, new.id]
    assert await core.db.read(profiles.written_ids) == [old.id, new.id]
    after = await switched(core, new)
    assert (after.state, after.drain_until) == ("active", None)
    assert await core.db.read(profiles.written_ids) == [new.id, old.id]
    drained = await core.db.read(lambda c: profiles.by_slug(c, old.slug))
    assert (drained.state, drained.drain_until) == ("draining", core.clock.now() + timedelta(days=7))
    # Both configurations may start while the old one drains.
    assert (await ensured(core, SMALL)).id == (await ensured(core, LARGE)).id == new.id
    assert (await switched(core, old)).state == "active"
    assert await states(core) == {old.slug: "active", new.slug: "draining"}
    assert await switched(core, old) == await core.db.read(lambda c: profiles.by_slug(c, old.slug))


async def test_the_same_move_begun_twice_is_one_and_a_second_move_waits(core: Core) -> None:
    await ensured(core)
    new = await begun(core)
    assert await begun(core) == new
    with pytest.raises(Conflict, match=r"'hashing-768.int8' is being built; let it end, or abandon it"):
        await begun(core, LARGE, "f16")
    await switched(core, new)
    assert (await begun(core)).state == "active"
    assert (await begun(core, SMALL)).state == "draining"
    with pytest.raises(SettingsError, match="never mixed"):
        await begun(core, replace(LARGE, dim=1024))


async def test_a_fitted_codec_comes_with_its_parameters_and_a_refit_is_another_profile(core: Core) -> None:
    old = await ensured(core)
    with pytest.raises(Conflict, match="has to be fitted"):
        await begun(core, SMALL, "pca50_f8")
    first = await begun(core, SMALL, "pca50_f8", PARAMS)
    assert first.codec_params == PARAMS
    await switched(core, first)
    again = await begun(core, SMALL, "pca50_f8", b"others", refit=True)
    assert (again.slug, again.state, again.codec_params) == ("hashing-384.pca50_f8.2", "building", b"others")
    assert again.space == SMALL
    assert await begun(core, SMALL, "pca50_f8", b"third", refit=True) == again
    assert (await core.db.read(lambda c: profiles.in_use(c, SMALL, "pca50_f8"))) == again
    assert (await core.db.read(lambda c: profiles.by_slug(c, first.slug))).codec_params == PARAMS
    assert await core.db.read(profiles.written_ids) == [first.id, again.id, old.id]


async def test_what_was_abandoned_is_retired_and_its_name_is_not_used_again(core: Core) -> None:
    old = await ensured(core)
    new = await begun(core)
    await write(core, lambda c: profiles.abandon(c, new.id))
    assert await states(core) == {old.slug: "active", new.slug: "retired"}
    for profile, why in ((new, "nothing to abandon"), (old, "nothing to abandon")):
        with pytest.raises(Conflict, match=why):
            await write(core, lambda c, id_=profile.id: profiles.abandon(c, id_))  # type: ignore[misc]
    with pytest.raises(Conflict, match="is retired"):
        await switched(core, new)
    assert (await begun(core)).slug == "hashing-768.int8.2"


async def test_what_does_not_exist_is_told_with_what_does(core: Core) -> None:
    with pytest.raises(UnknownName, match="none yet"):
        await core.db.read(lambda c: profiles.by_slug(c, "nothing"))
    old = await ensured(core)
    with pytest.raises(UnknownName, match=r"hashing-384\.int8"):
        await core.db.read(lambda c: profiles.by_slug(c, "nothing"))
    with pytest.raises(UnknownName, match="not found"):
        await switched(core, replace(old, id="emb_none"))


async def test_the_old_one_drains_for_seven_days_and_then_its_vectors_go(
    core: Core, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "DELETED_AT_A_TIME", 2)
    old, new = await ensured(core), await begun(core)
    cubes = [await put(core, f"memory {n}") for n in range(5)]
    await store_vectors(core, cubes, [old, new])
    await switched(core, new)
    clock.pass_by(7 * 86400 - 1)
    assert await write(core, lambda c: profiles.retire_drained(c, clock.now())) == 0
    assert await write(core, profiles.delete_retired_blobs) == 0
    clock.pass_by(1)
    assert await write(core, lambda c: profiles.retire_drained(c, clock.now())) == 1
    assert await core.db.read(profiles.written_ids) == [new.id]
    assert [await write(core, profiles.delete_retired_blobs) for _ in range(4)] == [2, 2, 1, 0]
    assert await blobs(core) == {new.id: 5}


async def test_one_that_was_switched_back_to_is_not_retired(core: Core, clock: SetClock) -> None:
    old, new = await ensured(core), await begun(core)
    await switched(core, new)
    await switched(core, old)
    clock.pass_by(8 * 86400)
    assert await write(core, lambda c: profiles.retire_drained(c, clock.now())) == 1
    assert await states(core) == {old.slug: "active", new.slug: "retired"}


async def test_the_cursor_only_moves_on_and_figures_are_kept(core: Core) -> None:
    made = await ensured(core)
    for cursor in (5, 9, 7):
        await write(core, lambda c, at=cursor: profiles.advance(c, made.id, at))  # type: ignore[misc]
    await write(core, lambda c: profiles.measured(c, made.id, {"recall@10": 0.99}))
    kept = await core.db.read(profiles.active)
    assert kept is not None
    assert (kept.cursor, kept.measured) == (9, {"recall@10": 0.99})


async def test_switches_at_the_same_time_leave_one_active(core: Core) -> None:
    old = await ensured(core)
    new = await begun(core)
    await switched(core, new)
    third = await begun(core, SMALL, "f16")
    async with anyio.create_task_group() as group:
        for profile in (old, new, third) * 4:
            group.start_soon(switched, core, profile)
    assert sorted((await states(core)).values()) == ["active", "draining", "draining"]


async def test_deleting_a_memory_leaves_no_vector_of_any_codec(core: Core) -> None:
    old, new = await ensured(core), await begun(core)
    deleted, expired, purged, stays = [await put(core, text) for text in ("one", "two", "three", "four")]
    await store_vectors(core, [deleted, expired, purged, stays], [old, new])
    await core.write(ANN, lambda tx: store.move(tx, deleted, "delete"))
    await core.write(ANN, lambda tx: store.move(tx, expired, "expire"))
    await core.write(ANN, lambda tx: erase.erase(tx, store.move(tx, purged, "delete")))
    left = await core.db.read(lambda c: c.execute(select(BlobRow.memory_seq).distinct()).scalars().all())
    assert left == [stays.seq]
    assert await blobs(core) == {old.id: 1, new.id: 1}


SWITCHING = """
import json, os, random, signal, sys, time
from datetime import UTC, datetime
from memory import profiles
from runtime.settings import load
from runtime.sqlite import sqlite_engine

flags, kills = json.loads(sys.argv[1]), int(sys.argv[2])
settings = load(flags, env={}).settings

def writer():
    return sqlite_engine(settings).connect().execution_options(mneme_writer=True)

def switch_until_killed(say, n):
    connection = writer()
    with connection.begin():
        ids = sorted(p.id for p in profiles.written(connection))
    while True:
        with connection.begin():
            profiles.switch(connection, ids[n % 2], datetime.now(UTC))
        os.write(say, b"x")
        n += 1

rng = random.Random(1)
for number in range(kills):
    heard, say = os.pipe()
    child = os.fork()
    if child == 0:
        switch_until_killed(say, number)
    os.read(heard, 1)
    time.sleep(rng.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(heard), os.close(say)
    connection = sqlite_engine(settings).connect()
    with connection.begin():
        found = profiles.every(connection)
    connection.close()
    print(json.dumps([[p.id, p.state, p.drain_until is not None] for p in found]), flush=True)
"""


async def test_killed_during_a_switch_the_pointer_is_old_or_new_and_never_mixed(
    settings: Settings, clock: SetClock
) -> None:
    db = open_database(settings)
    core = Core(db, clock, settings)
    old, new = await ensured(core, SMALL, "int8"), await begun(core, SMALL, "f16")
    await switched(core, new)
    await db.aclose()
    flags = json.dumps({"home": str(settings.home), "database.synchronous": "NORMAL"})
    done = await anyio.run_process([sys.executable, "-c", SWITCHING, flags, "20"], stderr=subprocess.PIPE)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == 20
    for found in seen:
        assert {row[0] for row in found} == {old.id, new.id}
        assert sorted((state, drains) for _, state, drains in found) == [("active", False), ("draining", True)]
    assert len({next(row[0] for row in found if row[1] == "active") for found in seen}) == 2, "both were seen"


async def store_vectors(core: Core, cubes: list[MemCube], into: list[StoredProfile]) -> None:
    def work(connection: Connection) -> None:
        for cube in cubes:
            for profile in into:
                (vector,) = Hashing(profile.space.dim).vectors([cube.content])
                connection.execute(insert(BlobRow).values(**store.blob_row(cube, profile.id, vector)))

    await core.db.write(work)


async def blobs(core: Core) -> dict[str, int]:
    query = select(BlobRow.profile_id, func.count()).group_by(BlobRow.profile_id)
    return {row[0]: row[1] for row in await core.db.read(lambda c: c.execute(query).all())}
