"""Moves through the door of the store, opened as a service opens it: with its real indexes, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from memory.opening import open_memory
from memory.service import Memory
from memory.tables import AuditRow
from memory.types import Actor, Draft, Query
from runtime.db import Database, open_database
from runtime.errors import Conflict, Forbidden, SettingsError
from runtime.ids import SYSTEM
from runtime.settings import EmbedSettings, Settings
from tests.memory.conftest import ANN, add_users
from tests.moving import texts
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
ADMIN = Actor(ANN.user_id, admin=True)
SMALL, LARGE = EmbedSettings(model="hashing-64"), EmbedSettings(model="hashing-128", codec="f16")


@asynccontextmanager
async def opened(settings: Settings, db: Database, embed: EmbedSettings = SMALL) -> AsyncIterator[Memory]:
    async with open_memory(settings.model_copy(update={"embed": embed}), db, SYSTEM) as memory:
        yield memory


@pytest.fixture
async def db(any_settings: Settings) -> AsyncIterator[Database]:
    made = open_database(any_settings)
    await add_users(made, SetClock())
    yield made
    await made.aclose()


async def found(memory: Memory, text: str) -> list[str]:
    recall = await memory.search(ANN, Query(text, mode="dense"))
    assert recall.degraded == ()
    return [hit.memory.content for hit in recall.hits]


async def test_there_and_back_and_the_settings_that_may_start_meanwhile(any_settings: Settings, db: Database) -> None:
    stored = texts(40)
    seen: list[tuple[int, int]] = []
    async with opened(any_settings, db) as memory:
        await memory.add(ANN, [Draft(text) for text in stored], wait="indexed")
        moved = await memory.moves.to(ADMIN, LARGE, progress=lambda done, total: seen.append((done, total)))
        assert (moved.profile.slug, moved.profile.state) == ("hashing-128.f16", "active")
        assert (moved.old_found, moved.figures.found, moved.figures.probes) == (1.0, 1.0, 40)
        assert seen[-1] == (40, 40)
        for text in stored[::10]:
            assert text in await found(memory, text)
        states = {p.slug: p.state for p in await memory.moves.profiles(ADMIN)}
        assert states == {"hashing-64.int8": "draining", "hashing-128.f16": "active"}
    for embed in (SMALL, LARGE):
        async with opened(any_settings, db, embed) as memory:
            assert memory.spaces.active.slug == "hashing-128.f16"
            assert stored[3] in await found(memory, stored[3])
    with pytest.raises(SettingsError, match="mneme memory reembed"):
        async with opened(any_settings, db, EmbedSettings(model="hashing-32")):
            pass
    async with opened(any_settings, db) as memory:
        assert (await memory.moves.back(ADMIN)).slug == "hashing-64.int8"
        assert stored[5] in await found(memory, stored[5])
        assert (await memory.moves.back(ADMIN)).slug == "hashing-128.f16"
        query = select(AuditRow.action).where(AuditRow.object_type == "profile").order_by(AuditRow.n)
        actions = await db.read(lambda c: c.execute(query).scalars().all())
        assert actions == ["reembed.begin", "reembed.switch", "reembed.back", "reembed.back"]


async def test_only_an_administrator_moves_the_store(any_settings: Settings, db: Database) -> None:
    async with opened(any_settings, db) as memory:
        for call in (memory.moves.to, memory.moves.back, memory.moves.abandon, memory.moves.profiles):
            with pytest.raises(Forbidden):
                await call(ANN)


async def test_there_is_nothing_to_go_back_to_or_to_abandon_without_a_move(
    any_settings: Settings, db: Database
) -> None:
    async with opened(any_settings, db) as memory:
        with pytest.raises(Conflict, match="no embedding profile is draining"):
            await memory.moves.back(ADMIN)
        with pytest.raises(Conflict, match="is being built"):
            await memory.moves.abandon(ADMIN)
        assert (await memory.moves.to(ADMIN)).profile.slug == "hashing-64.int8"
