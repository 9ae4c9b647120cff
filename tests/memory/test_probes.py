"""What a space is measured by: its own memories' first words, and an exact search over its stored vectors."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select, update

from memory import probes, profiles, reembed
from memory.core import Core
from memory.probes import Probe
from memory.profiles import StoredProfile
from memory.reembed import settled
from memory.tables import BlobRow, MemoryRow
from tests.memory.conftest import ANN, BOB, vault_id
from tests.moving import Encoder, Process, running, texts

pytestmark = pytest.mark.anyio


async def filled(process: Process, count: int) -> list[str]:
    """Memories of Ann, and a few of Bob, in the index; Ann's ids."""
    home = await vault_id(process.core)
    await process.core.default_vault(BOB)
    mine = await process.add(ANN, home, *texts(count))
    await process.add(BOB, await vault_id(process.core, BOB), *texts(5, seed=9))
    await settled(process.core, poll_s=0.01)
    return [cube.id for cube in mine]


async def sampled(core: Core, count: int, seed: int = 0) -> list[Probe]:
    return await core.db.read(lambda c: probes.sample(c, count, random.Random(seed)))


async def active(core: Core) -> StoredProfile:
    found = await core.db.read(profiles.active)
    assert found is not None
    return found


async def test_probes_are_memories_that_a_search_may_find_and_depend_on_the_seed(core: Core) -> None:
    async with running(core, Encoder(64)) as process:
        assert await sampled(core, 10) == []
        ids = await filled(process, 60)
        await process.add(ANN, await vault_id(core), "quarantined words are no probe", state="quarantined")
        chosen = await sampled(core, 20)
        assert len({probe.memory_id for probe in chosen}) == 20
        assert chosen == await sampled(core, 20)
        assert chosen != await sampled(core, 20, seed=1)
        all_of_them = await sampled(core, 1000)
        assert {probe.memory_id for probe in all_of_them} > set(ids)
        assert len(all_of_them) == 65
        assert all(len(probe.question.split()) <= 12 for probe in all_of_them)
        drawn = await sampled(core, 8)  # of 65, which is more than four times as many
        assert len({probe.memory_id for probe in drawn}) == 8
        assert drawn == await sampled(core, 8)


async def test_an_index_that_has_everything_is_without_loss(core: Core) -> None:
    async with running(core, Encoder(64), codec="f32") as process:
        await filled(process, 60)
        asked = await sampled(core, 40)
        figures = await probes.measure(core, process.spaces.active, asked)
        assert (figures.probes, figures.found, figures.recall, figures.memories) == (40, 1.0, 1.0, 65)
        assert figures.ndcg > 0.999
        assert await probes.found_share(process.spaces.active, asked) == 1.0
        again = await probes.measure(core, process.spaces.active, asked)
        assert again.digest == figures.digest


async def test_what_the_index_lacks_is_seen_in_the_figures(core: Core) -> None:
    async with running(core, Encoder(64)) as process:
        ids = await filled(process, 60)
        asked = await sampled(core, 65)
        await process.spaces.active.index.remove(ids[:30])
        figures = await probes.measure(core, process.spaces.active, asked)
        assert figures.found == pytest.approx(35 / 65)
        assert 0.3 < figures.recall < 0.8
        assert figures.ndcg < 0.9
        assert figures.memories == 65


async def test_a_damaged_vector_is_left_out_and_never_scored(core: Core) -> None:
    async with running(core, Encoder(64), codec="f32") as process:
        ids = await filled(process, 30)
        asked = await sampled(core, 35)
        before = await probes.measure(core, process.spaces.active, asked)
        some = BlobRow.memory_seq.in_(select(MemoryRow.seq).where(MemoryRow.id.in_(ids[:3])))
        await core.db.write(lambda c: c.execute(update(BlobRow).where(some).values(data=b"\xff" * 128)))
        after = await probes.measure(core, process.spaces.active, asked)
        assert (before.memories, after.memories) == (35, 32)
        assert after.found == 1.0


async def test_an_empty_store_loses_nothing(core: Core) -> None:
    async with running(core, Encoder(64)) as process:
        figures = await probes.measure(core, process.spaces.active, [])
        assert (figures.probes, figures.found, figures.recall, figures.ndcg, figures.memories) == (0, 1.0, 1.0, 1.0, 0)


async def test_the_loss_since_the_fit_is_told_for_codecs_that_are_fitted(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(core, Encoder(64)) as process:
        await filled(process, 350)
        monkeypatch.setattr(reembed, "PROBES", 40)
        moving = process.moving()
        profile = await moving.begin(process.encoders[64], "pca50_f8")
        moved = await moving.run(profile, force=True)
        fitted = await active(core)
        assert fitted.measured is not None
        assert fitted.measured["recall@10"] == moved.figures.recall
        monkeypatch.setattr(probes, "PROBES", 40)
        rng = random.Random(0)
        assert await probes.lost_since(core, process.spaces.active, fitted, rng) < probes.ACCEPTED_LOSS
        gone = [point.memory_id async for point in process.spaces.active.index.versions()][::2]
        await process.spaces.active.index.remove(gone)
        assert await probes.lost_since(core, process.spaces.active, fitted, rng) > probes.ACCEPTED_LOSS
        plain = process.spaces.written[1]
        old = await core.db.read(lambda c: profiles.by_slug(c, plain.slug))
        assert await probes.lost_since(core, plain, old, rng) == 0.0
