"""Opening the store: which index it gets, who carries the outbox, and what happens when a part is missing or damaged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from memory.indices.edge import EdgeIndex
from memory.indices.followed import Followed
from memory.opening import open_memory
from memory.service import Memory
from memory.types import Actor, Change, Draft, Query
from memory.upkeep import keeper
from runtime.db import open_database
from runtime.errors import MnemeError, SettingsError
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "EVERY_S", 0.1)
    monkeypatch.setattr(keeper, "CLOSE_AFTER_S", 0.1)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Memory, Actor]]:
    db = open_database(settings)
    try:
        actor = Actor((await KeyStore(db, SYSTEM).local()).user_id, None, admin=True)
        async with open_memory(settings, db) as memory:
            yield memory, actor
    finally:
        await db.aclose()


async def dense(memory: Memory, actor: Actor, question: str) -> list[str]:
    found = await memory.search(actor, Query(question, k=3, mode="dense"))
    assert found.degraded == ()
    return [hit.memory.content for hit in found.hits]


async def test_on_sqlite_the_embedded_index_is_used_and_kept(settings: Settings) -> None:
    async with opened(settings) as (memory, actor):
        assert isinstance(memory.spaces.active.index, EdgeIndex)
        (added,) = await memory.add(actor, [Draft("The tide turns at noon")], wait="indexed")
        assert added.indexed
    async with opened(settings) as (memory, actor):
        assert await dense(memory, actor, "tide at noon") == ["The tide turns at noon"]
        assert (await memory.verify(actor)).ok


async def test_without_a_server_postgresql_is_followed_in_memory(any_settings: Settings) -> None:
    async with opened(any_settings) as (memory, actor), opened(any_settings) as (other, _):
        expected = EdgeIndex if any_settings.database_url.startswith("sqlite") else Followed
        assert isinstance(memory.spaces.active.index, expected)
        assert isinstance(other.spaces.active.index, Followed)
        (added,) = await memory.add(actor, [Draft("A heron by the weir")], wait="indexed")
        assert added.indexed
        assert await dense(other, actor, "heron weir") == ["A heron by the weir"]
        assert added.memory is not None
        await other.edit(actor, added.memory.id, Change({"content": "A stork by the mill"}), expect=1)
        assert await dense(other, actor, "stork mill") == ["A stork by the mill"]
        with anyio.fail_after(5):
            while await dense(memory, actor, "stork mill") != ["A stork by the mill"]:
                await anyio.sleep(0.02)


async def test_when_the_owner_of_the_index_goes_another_process_steps_in(settings: Settings) -> None:
    async with opened(settings) as (second_or_first, actor):
        async with opened(settings) as (second, _):
            assert isinstance(second.spaces.active.index, Followed)
            await second_or_first.add(actor, [Draft("Written while both are there")], wait="indexed")
        assert isinstance(second_or_first.spaces.active.index, EdgeIndex)
    async with anyio.create_task_group() as tasks:
        leave = anyio.Event()
        inside = anyio.Event()

        async def first() -> None:
            async with opened(settings):
                inside.set()
                await leave.wait()

        tasks.start_soon(first)
        await inside.wait()
        async with opened(settings) as (memory, actor):
            (added,) = await memory.add(actor, [Draft("Written by the one that follows")], wait="indexed")
            assert added.indexed, "the owner carries it"
            leave.set()
            with anyio.fail_after(10):
                while not isinstance(memory.spaces.active.index, EdgeIndex):
                    await anyio.sleep(0.02)
            (added,) = await memory.add(actor, [Draft("Written by the new owner")], wait="indexed")
            assert added.indexed
            assert (await memory.verify(actor)).ok


async def test_a_codec_that_no_embedded_index_keeps_is_searched_in_memory(settings: Settings) -> None:
    embed = settings.embed.model_copy(update={"codec": "f8_e4m3"})
    async with opened(settings.model_copy(update={"embed": embed})) as (memory, actor):
        assert isinstance(memory.spaces.active.index, Followed)
        await memory.add(actor, [Draft(f"Number {n} of a row of plain sentences") for n in range(30)], wait="indexed")
        assert (await dense(memory, actor, "number 7 of a row"))[0] == "Number 7 of a row of plain sentences"
        assert (await memory.verify(actor)).ok


async def test_a_damaged_index_is_built_again_from_the_stored_vectors(settings: Settings) -> None:
    async with opened(settings) as (memory, actor):
        await memory.add(actor, [Draft(f"Sentence {n} that must not get lost") for n in range(40)], wait="indexed")
    for file in _files(settings.home / "vectors"):
        file.write_bytes(b"\x00garbage\xff" * 10)
    async with opened(settings) as (memory, actor):
        assert (await dense(memory, actor, "sentence 11 that must"))[0] == "Sentence 11 that must not get lost"
        assert (await memory.verify(actor)).ok


async def test_a_lost_index_is_built_again(settings: Settings) -> None:
    import shutil

    async with opened(settings) as (memory, actor):
        await memory.add(actor, [Draft("Only the database is left")], wait="indexed")
    shutil.rmtree(settings.home / "vectors")
    async with opened(settings) as (memory, actor):
        assert (await memory.verify(actor, repair=True)).ok
        assert await dense(memory, actor, "only the database") == ["Only the database is left"]


async def test_reindexing_keeps_answering_and_misses_nothing_that_is_written_meanwhile(settings: Settings) -> None:
    async with opened(settings) as (memory, actor):
        await memory.add(actor, [Draft(f"Before it began, number {n}") for n in range(300)], wait="indexed")
        before = memory.spaces.active.index
        answered = written = 0
        async with anyio.create_task_group() as tasks:

            async def busy() -> None:
                nonlocal answered, written
                while True:
                    await memory.add(actor, [Draft(f"Meanwhile, number {written}")])
                    written += 1
                    answered += bool(await dense(memory, actor, "before it began"))
                    await anyio.sleep(0.02)

            tasks.start_soon(busy)
            made = await memory.reindex(actor)
            tasks.cancel_scope.cancel()
        assert made.points >= 300
        assert answered > 3
        assert memory.spaces.active.index is not before
        report = await memory.verify(actor, repair=False)
        assert report.ok, report.drift
        assert (await dense(memory, actor, f"Meanwhile, number {written - 2}"))[0].startswith("Meanwhile")
    assert len(list((settings.home / "vectors").glob("*/[0-9]*"))) == 1, "the old shard is gone"
    async with opened(settings) as (memory, actor):
        assert (await memory.verify(actor)).ok


async def test_a_shard_that_another_process_built_is_taken_into_use(settings: Settings) -> None:
    async with opened(settings) as (owner, actor), opened(settings) as (other, _):
        await owner.add(actor, [Draft("Built elsewhere, used here")], wait="indexed")
        before = owner.spaces.active.index
        assert (await other.reindex(actor)).points == 1
        assert owner.spaces.active.index is not before
        assert await dense(owner, actor, "built elsewhere") == ["Built elsewhere, used here"]


async def test_missing_weights_are_an_error_that_names_the_command(settings: Settings) -> None:
    embed = settings.embed.model_copy(update={"model": "minilm-l6"})
    with pytest.raises(MnemeError, match="mneme models pull"):
        async with opened(settings.model_copy(update={"embed": embed})):
            pass


async def test_an_encoder_of_another_size_is_refused_and_nothing_is_changed(settings: Settings) -> None:
    async with opened(settings) as (memory, actor):
        await memory.add(actor, [Draft("Embedded by the first encoder")], wait="indexed")
    embed = settings.embed.model_copy(update={"model": "hashing-128"})
    with pytest.raises(SettingsError, match="mneme memory reembed"):
        async with opened(settings.model_copy(update={"embed": embed})):
            pass
    async with opened(settings) as (memory, actor):
        assert (await memory.verify(actor)).ok


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.parent != folder and file.stat().st_size]
