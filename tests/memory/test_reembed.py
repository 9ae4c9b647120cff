"""Moves to another encoder or codec: live, resumable, measured, and taken back. On both databases, with the real relay."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import NamedTuple

import anyio
import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from memory import profiles, reembed, rows, store
from memory.codecs.registry import restore
from memory.core import Core
from memory.encoders.hashing import Hashing
from memory.profiles import StoredProfile
from memory.reembed import follow, settled, tidy
from memory.spaces import Spaces
from memory.tables import BlobRow, OutboxRow
from memory.types import SEARCHABLE, MemCube
from runtime.db import open_database
from runtime.errors import Conflict, InvalidInput, ModelUnavailable, StorageError
from runtime.settings import Settings
from tests.memory.conftest import ANN, add_users, vault_id
from tests.moving import Encoder, Process, running, texts
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def fewer_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reembed, "PROBES", 40)


class Asked(NamedTuple):
    """One search of a caller: who answered, how much, and whether the memory was in it."""

    profile: str
    hits: int
    found: bool


async def state_of(core: Core, profile: StoredProfile) -> StoredProfile:
    return await core.db.read(lambda c: profiles.by_slug(c, profile.slug))


async def active(core: Core) -> StoredProfile:
    found = await core.db.read(profiles.active)
    assert found is not None
    return found


async def current(core: Core, ids: Collection[str]) -> dict[str, MemCube]:
    return await core.read(ANN, lambda tx: rows.cubes(tx, sorted(ids)))


async def points(process: Process, profile: StoredProfile) -> dict[str, int]:
    space = next(each for each in process.spaces.written if each.id == profile.id)
    return {point.memory_id: point.version async for point in space.index.versions() if not point.tombstone}


@asynccontextmanager
async def searched(process: Process, home: str, known: list[MemCube], asked: list[Asked]) -> AsyncIterator[None]:
    """Twenty searches a second meanwhile, each looked at again in SQL as recall does."""
    rng = random.Random(5)

    async def search() -> None:
        while True:
            cube = rng.choice(known)
            profile = process.spaces.active.slug
            ids = [hit.memory_id for hit in await process.ask(cube.content, home)]
            live = await current(process.core, ids)
            shown = [id_ for id_ in ids if id_ in live and live[id_].state in SEARCHABLE]
            asked.append(Asked(profile, len(shown), cube.id in shown))
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as group:
        group.start_soon(search)
        yield
        group.cancel_scope.cancel()


async def test_from_384_to_768_under_twenty_searches_a_second_and_back(core: Core) -> None:
    old_encoder, new_encoder = Encoder(384), Encoder(768, delay_s=0.04)
    async with running(core, old_encoder, new_encoder) as process:
        home = await vault_id(core)
        stored = texts(300)
        known = await process.add(ANN, home, *stored)
        await settled(core, poll_s=0.01)
        old = await active(core)
        asked: list[Asked] = []
        written: list[MemCube] = []

        async def write() -> None:
            for n, text in enumerate(texts(1000, seed=1)):
                written.extend(await process.add(ANN, home, text))
                edited = known[n * 7 % len(known)]
                await process.edit(ANN, edited, f"{edited.content} edited {n}")
                await anyio.sleep(0.2)

        async with searched(process, home, list(known), asked):
            async with anyio.create_task_group() as writing:
                writing.start_soon(write)
                await anyio.sleep(0.3)
                moving = process.moving(batch=8)
                new = await moving.begin(new_encoder, "int8")
                assert (await state_of(core, new)).state == "building"
                moved = await moving.run(new)
                writing.cancel_scope.cancel()
            await anyio.sleep(0.3)
            at_new = len(asked)
            await moving.switch_to(old)
            await anyio.sleep(0.3)

        assert len(asked) >= 40
        assert len(written) >= 5
        assert all(each.hits > 0 for each in asked), "no search is without an answer"
        assert all(each.found for each in asked)
        pointer = [profile for profile, _ in groupby(each.profile for each in asked)]
        assert pointer == [old.slug, new.slug, old.slug], "the pointer moves once, and once back"
        assert at_new < len(asked)
        assert moved.profile.id == new.id
        assert (moved.old_found, moved.figures.found) == (1.0, 1.0)
        assert (await state_of(core, old)).state == "active"
        assert (await state_of(core, new)).state == "draining"

        # What was written and edited meanwhile is in both, from its own text, in vectors of the right size.
        await settled(core, poll_s=0.01)
        ids = {cube.id for cube in (*known, *written)}
        now = await current(core, ids)
        for profile, dim in ((old, 384), (new, 768)):
            vectors = await process.vectors(profile)
            assert vectors.keys() == ids
            for id_, vector in vectors.items():
                assert float(vector @ Hashing(dim).vectors([now[id_].content])[0]) > 0.9999
            assert await points(process, profile) == {id_: now[id_].version for id_ in ids}


async def test_a_move_that_broke_off_goes_on_where_it_was(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(50))
        await settled(core, poll_s=0.01)
        moving = process.moving(batch=10)
        new = await moving.begin(new_encoder, "int8")
        new_encoder.calls_left = 3
        with pytest.raises(ModelUnavailable):
            await moving.run(new)
        broken = await state_of(core, new)
        assert broken.state == "building"
        assert len(await process.vectors(new)) == 30
        assert broken.cursor > 0
        assert (await active(core)).space.dim == 64
        new_encoder.calls_left, new_encoder.documents = None, []
        again = await moving.begin(new_encoder, "int8")
        assert again.id == new.id
        assert (await moving.run(again)).profile.state == "active"
        assert len(new_encoder.documents) == 20
        # Once more changes nothing and embeds nothing.
        new_encoder.documents = []
        assert (await moving.run(await active(core))).profile.id == new.id
        assert new_encoder.documents == []


async def test_a_memory_that_is_edited_while_it_is_embedded_is_embedded_again(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        home = await vault_id(core)
        cubes = await process.add(ANN, home, *texts(20))
        await settled(core, poll_s=0.01)
        moving = process.moving(batch=10)
        new = await moving.begin(new_encoder, "int8")
        quarantined = await process.add(ANN, home, "waits for a person", state="quarantined")

        async def edit(batch: Sequence[str]) -> None:
            if len(batch) > 1:
                new_encoder.meanwhile = None
                await process.edit(ANN, cubes[3], "changed behind the back of the move")

        new_encoder.meanwhile = edit
        await moving.run(new)
        vectors = await process.vectors(new)
        assert vectors.keys() == {cube.id for cube in (*cubes, *quarantined)}
        expected = Hashing(128).vectors(["changed behind the back of the move"])[0]
        assert float(vectors[cubes[3].id] @ expected) > 0.9999


async def test_a_memory_that_is_deleted_while_it_is_embedded_leaves_nothing(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        cubes = await process.add(ANN, await vault_id(core), *texts(20))
        await settled(core, poll_s=0.01)
        moving = process.moving(batch=10)
        new = await moving.begin(new_encoder, "int8")

        async def remove(batch: Sequence[str]) -> None:
            new_encoder.meanwhile = None
            await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cubes[3].id), "delete"))

        new_encoder.meanwhile = remove
        await moving.run(new)
        assert cubes[3].id not in await process.vectors(new)
        assert cubes[3].id not in await points(process, new)
        assert len(await process.vectors(new)) == 19


async def test_another_codec_of_the_same_encoder_embeds_nothing_again(core: Core) -> None:
    encoder = Encoder(64)
    async with running(core, encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(350))
        await settled(core, poll_s=0.01)
        encoder.documents = []
        moving = process.moving()
        for codec in ("f16", "pca50_int8", "binary"):
            profile = await moving.begin(encoder, codec, seed=3)
            moved = await moving.run(profile, force=codec != "f16")
            assert moved.profile.codec == codec
            assert (await active(core)).id == profile.id
            assert encoder.documents == []
            kept = await state_of(core, profile)
            assert kept.measured is not None
            assert kept.measured["recall@10"] == moved.figures.recall
            assert kept.measured["n_queries"] == 40
            assert kept.measured["memories"] == 350
            assert bool(kept.codec_params) == codec.startswith("pca")
            assert restore(codec, 64, kept.codec_params).params() == kept.codec_params


async def test_a_fitted_codec_of_another_encoder_is_fitted_on_vectors_of_that_one(core: Core) -> None:
    new_encoder = Encoder(32)
    async with running(core, Encoder(64), new_encoder) as process:
        home = await vault_id(core)
        await process.add(ANN, home, *texts(159))
        moving = process.moving()
        with pytest.raises(InvalidInput, match="fitted on 160 memories, there are 159"):
            await moving.begin(new_encoder, "pca50_int8")
        assert [p.state for p in await core.db.read(profiles.every)] == ["active"]
        await process.add(ANN, home, "one more makes it enough")
        new = await moving.begin(new_encoder, "pca50_int8")
        assert restore("pca50_int8", 32, new.codec_params).out_dim == 16
        await moving.run(new, force=True)
        # A refit is another profile beside it, fitted on the stored vectors.
        new_encoder.documents = []
        refit = await moving.begin(new_encoder, "pca50_int8", refit=True)
        assert (refit.id != new.id, refit.slug) == (True, "hashing-32.pca50_int8.2")
        assert new_encoder.documents == []
        await moving.run(refit, force=True)
        assert (await active(core)).id == refit.id


async def test_a_model_that_finds_less_is_not_switched_to_unless_forced(core: Core) -> None:
    blind = Encoder(128, blind=True)
    async with running(core, Encoder(64), blind) as process:
        await process.add(ANN, await vault_id(core), *texts(60))
        moving = process.moving()
        new = await moving.begin(blind, "binary")
        with pytest.raises(Conflict, match=r"finds \d.*of 40 probes, the old one 100\.0%; not switched"):
            await moving.run(new)
        kept = await state_of(core, new)
        assert kept.state == "building"
        assert kept.measured is not None
        assert kept.measured["old_found"] == 1.0
        assert (await active(core)).space.dim == 64
        assert (await moving.run(new, force=True)).profile.id == new.id


async def test_an_old_encoder_that_is_gone_does_not_hold_up_a_forced_move(core: Core) -> None:
    old_encoder, new_encoder = Encoder(64), Encoder(128)
    async with running(core, old_encoder, new_encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(30))
        await settled(core, poll_s=0.01)

        async def gone(*args: object, **kwargs: object) -> np.ndarray:
            raise ModelUnavailable("the old server was switched off")

        moving = process.moving()
        new = await moving.begin(new_encoder, "int8")
        old_encoder.encode = gone  # type: ignore[method-assign]
        with pytest.raises(ModelUnavailable, match="switched off"):
            await moving.run(new)
        moved = await moving.run(new, force=True)
        assert (moved.profile.id, moved.old_found) == (new.id, 0.0)


async def test_damaged_vectors_are_made_again_from_the_text(core: Core) -> None:
    encoder = Encoder(64)
    async with running(core, encoder) as process:
        cubes = await process.add(ANN, await vault_id(core), *texts(20))
        await settled(core, poll_s=0.01)
        broken = BlobRow.memory_seq.in_([cube.seq for cube in cubes[:3]])
        await core.db.write(lambda c: c.execute(update(BlobRow).where(broken).values(crc32=7)))
        encoder.documents = []
        moving = process.moving()
        new = await moving.begin(encoder, "f16")
        await moving.run(new)
        # Twice: once for the move, once by the relay for the old profile, whose vectors are still damaged.
        assert set(encoder.documents) == {cube.content for cube in cubes[:3]}
        for cube in cubes:
            vector = (await process.vectors(new))[cube.id]
            assert float(vector @ Hashing(64).vectors([cube.content])[0]) > 0.9999


async def test_points_that_another_process_did_not_write_are_found_before_the_switch(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        cubes = await process.add(ANN, await vault_id(core), *texts(40))
        await settled(core, poll_s=0.01)
        lost = 0

        async def settle() -> None:
            # A relay that has not heard of the new profile carries what waits into the old index only.
            nonlocal lost
            if lost == 0:
                await settled(core, poll_s=0.01, timeout_s=60)
                missing = [cube.id for cube in cubes[:15]]
                await process.spaces.written[1].index.remove(missing)
                lost = len(missing)
            await settled(core, poll_s=0.01, timeout_s=60)

        moving = process.moving(settle=settle)
        new = await moving.begin(new_encoder, "int8")
        await moving.run(new)
        assert lost == 15
        assert (await points(process, new)).keys() == {cube.id for cube in cubes}


async def test_a_move_is_not_possible_while_memories_lack_a_vector(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(5))
        await settled(core, poll_s=0.01)
        moving = process.moving()
        new = await moving.begin(new_encoder, "int8")
        with pytest.raises(Conflict, match="not embedded for it"):
            await moving.switch_to(new)
        assert process.spaces.active.encoder.profile.dim == 64


async def test_what_is_given_up_is_closed_and_its_vectors_go(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        cubes = await process.add(ANN, await vault_id(core), *texts(5))
        moving = process.moving()
        new = await moving.begin(new_encoder, "int8")
        await moving.fill(new)
        await moving.abandon(new)
        assert [space.encoder.profile.dim for space in process.spaces.written] == [64]
        assert new_encoder.closed
        with pytest.raises(Conflict, match="abandoned or retired"):
            await moving.run(new)
        assert [p.slug for p in await tidy(core, process.spaces, process.open_space)] == [new.slug]
        assert await process.vectors(new) == {}
        assert len(await process.vectors(await active(core))) == len(cubes)


async def test_after_seven_days_the_old_one_is_closed_and_its_vectors_go(core: Core, clock: SetClock) -> None:
    old_encoder, new_encoder = Encoder(64), Encoder(128)
    async with running(core, old_encoder, new_encoder) as process:
        home = await vault_id(core)
        (cube,) = await process.add(ANN, home, "Ana lives in Porto")
        old = await active(core)
        moving = process.moving()
        await moving.run(await moving.begin(new_encoder, "int8"))
        clock.pass_by(7 * 86400 - 1)
        assert await tidy(core, process.spaces, process.open_space) == []
        assert len(process.spaces.written) == 2
        clock.pass_by(1)
        assert [p.id for p in await tidy(core, process.spaces, process.open_space)] == [old.id]
        assert [space.encoder.profile.dim for space in process.spaces.written] == [128]
        assert old_encoder.closed
        assert await process.vectors(old) == {}
        assert [hit.memory_id for hit in await process.ask("where does Ana live", home)] == [cube.id]
        with pytest.raises(Conflict, match="retired"):
            await moving.switch_to(old)


async def test_every_process_follows_the_pointer(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(5))
        other = Process(core, {64: Encoder(64), 128: Encoder(128)})
        other.spaces = Spaces(await other.open_space(await active(core)))
        assert not await follow(core, other.spaces, other.open_space)
        moving = process.moving()
        new = await moving.begin(new_encoder, "int8")
        async with anyio.create_task_group() as group:
            for _ in range(3):  # at the same time, yet opened once
                group.start_soon(follow, core, other.spaces, other.open_space)
        assert [space.slug for space in other.opened] == ["hashing-64.int8", new.slug]
        await moving.run(new)
        assert other.spaces.active.slug == "hashing-64.int8"
        assert await follow(core, other.spaces, other.open_space)
        assert [space.id for space in other.spaces.written] == await core.db.read(profiles.written_ids)
        assert other.spaces.active.slug == new.slug
        assert len(other.opened) == 2


async def test_what_another_process_embeds_gets_into_the_index_of_the_process_that_carries(core: Core) -> None:
    """The one that carries has not heard of the move when the first entries of it arrive."""
    async with running(core, Encoder(64), Encoder(128)) as carrier:
        cubes = await carrier.add(ANN, await vault_id(core), *texts(30))
        await settled(core, poll_s=0.01)
        mover = Process(core, {64: Encoder(64), 128: Encoder(128)})
        mover.spaces = Spaces(await mover.open_space(await active(core)))
        moving = mover.moving(batch=10)
        new = await moving.begin(mover.encoders[128], "int8")
        assert len(carrier.spaces.written) == 1
        await moving.fill(new)
        await settled(core, poll_s=0.01)
        assert (await points(carrier, new)).keys() == {cube.id for cube in cubes}


async def test_a_process_that_cannot_open_the_new_space_keeps_what_it_has(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        await process.moving().begin(new_encoder, "int8")
        other = Process(core, {64: Encoder(64)})
        other.spaces = Spaces(await other.open_space(await active(core)))
        with pytest.raises(ModelUnavailable):
            await follow(core, other.spaces, other.open_space)
        assert len(other.spaces.written) == 1


async def test_an_empty_store_moves_at_once(core: Core) -> None:
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        moving = process.moving()
        moved = await moving.run(await moving.begin(new_encoder, "int8"))
        assert (moved.figures.probes, moved.profile.state) == (0, "active")


async def test_waiting_for_the_index_ends_with_an_error_when_nobody_carries(core: Core) -> None:
    await settled(core, timeout_s=5)
    process = Process(core, {64: Encoder(64)})
    now = core.clock.now()
    profile = await core.db.write(lambda c: profiles.ensure(c, "emb_1", Hashing(64).profile, "int8", now))
    process.spaces = Spaces(await process.open_space(profile))
    await process.add(ANN, await vault_id(core), "nobody carries this")
    with pytest.raises(StorageError, match=r"has not caught up within 0\.1 s"):
        await settled(core, poll_s=0.01, timeout_s=0.1)
    # What comes later is not waited for.
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: settled(core, poll_s=0.05, timeout_s=5))
        await anyio.sleep(0.02)
        first = await core.db.read(lambda c: c.execute(select(func.min(OutboxRow.seq))).scalar())
        await process.add(ANN, await vault_id(core), "this comes later")
        await core.db.write(lambda c: c.execute(delete(OutboxRow).where(OutboxRow.seq == first)))


async def killed_while_moving(settings: Settings) -> None:
    """What the child of the next test does: it is killed while the fourth batch is being embedded."""
    core = Core(open_database(settings), SetClock(), settings)
    new_encoder = Encoder(128)

    async def kill(batch: Sequence[str]) -> None:
        if len(new_encoder.documents) > 15:
            os.kill(os.getpid(), signal.SIGKILL)

    new_encoder.meanwhile = kill
    async with running(core, Encoder(64), new_encoder) as process:
        moving = process.moving(batch=5)
        await moving.run(await moving.begin(new_encoder, "int8"))


CHILD = """
import json, sys
import anyio
from runtime.settings import load
from tests.memory.test_reembed import killed_while_moving

anyio.run(killed_while_moving, load(json.loads(sys.argv[1]), env={}).settings)
"""


async def test_killed_while_moving_the_store_is_whole_and_the_move_goes_on(settings: Settings, clock: SetClock) -> None:
    db = open_database(settings)
    core = Core(db, clock, settings)
    await add_users(db, clock)
    await core.default_vault(ANN)
    new_encoder = Encoder(128)
    async with running(core, Encoder(64), new_encoder) as process:
        home = await vault_id(core)
        await process.add(ANN, home, *texts(100))
        old = await active(core)
        await settled(core, poll_s=0.01)
    flags = json.dumps({"home": str(settings.home), "database.synchronous": "NORMAL"})
    killed = await anyio.run_process([sys.executable, "-c", CHILD, flags], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    written = {p.space.dim: p for p in await core.db.read(profiles.written)}
    assert {dim: p.state for dim, p in written.items()} == {64: "active", 128: "building"}
    assert len(await process.vectors(written[128])) == 15
    async with running(core, Encoder(64), new_encoder) as process:
        await follow(core, process.spaces, process.open_space)
        moving = process.moving()
        moved = await moving.run(await moving.begin(new_encoder, "int8"))
        assert (moved.profile.space.dim, moved.figures.found) == (128, 1.0)
        assert len(new_encoder.documents) == 85
        assert len(await points(process, moved.profile)) == 100
        assert (await state_of(core, old)).state == "draining"
    await db.aclose()
