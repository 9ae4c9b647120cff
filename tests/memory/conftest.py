"""A store on both databases with two users, and short ways to write into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from memory import access, store
from memory.core import Core
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube
from runtime.db import Database, open_database
from runtime.ids import new_id
from runtime.settings import Settings
from runtime.tables import User
from tests.storing import SetClock

ANN = Actor("usr_ann")
BOB = Actor("usr_bob")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def core(any_settings: Settings, clock: SetClock) -> AsyncIterator[Core]:
    """Both databases, each with the users Ann and Bob and Ann's default vault."""
    db = open_database(any_settings)
    made = Core(db, clock, any_settings)
    await add_users(db, clock)
    await made.default_vault(ANN)
    yield made
    await db.aclose()


async def add_users(db: Database, clock: SetClock) -> None:
    def work(connection: Connection) -> None:
        for actor, name in ((ANN, "ann"), (BOB, "bob")):
            row = {"id": actor.user_id, "name": name, "role": "member", "created_at": clock.now()}
            connection.execute(insert(User).values(**row))

    await db.write(work)


async def vault_id(core: Core, actor: Actor = ANN, name: str = "default") -> str:
    return (await core.read(actor, lambda tx: access.vault(tx, name, "read"))).vault.id


async def put(core: Core, content: str, actor: Actor = ANN, vault: str | None = None, **fields: Any) -> MemCube:
    """Store one memory as it is, without admission."""
    home = vault or await vault_id(core, actor)
    item = store.NewMemory(new_id("mem"), home, Draft(content, **fields), new_id("prv"))

    def work(tx: Tx) -> MemCube:
        return store.insert_all(tx, [item])[0].cube

    return await core.write(actor, work)
