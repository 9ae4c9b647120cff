"""kill -9 at random points of mixed operations: what was acknowledged is there, what was refused is not, indexes agree."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import select

from memory.opening import open_memory
from memory.tables import MemoryRow, VersionRow
from memory.types import Actor
from runtime.db import Database, open_database
from runtime.ids import SYSTEM
from runtime.settings import load
from tests.faults.killing import Victim
from tests.migrated import migrate

KILLS = int(os.environ.get("MNEME_TEST_KILLS", "200"))
OPERATIONS = 50 * KILLS


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    return {
        "home": str(tmp_path),
        "embed.model": "hashing-384",
        "database.synchronous": "NORMAL",
        "telemetry.log_level": "ERROR",
    }


@pytest.fixture
def victim(flags: dict[str, object]) -> Iterator[Victim]:
    migrate(load(flags, env={}).settings)
    made = Victim(flags, "store_victim.py")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(max(900, 8 * KILLS))
@pytest.mark.anyio
async def test_kills_lose_nothing_acknowledged_and_keep_nothing_refused(
    victim: Victim, flags: dict[str, object]
) -> None:
    rng = random.Random(20261125)
    for number in range(KILLS):
        wanted = OPERATIONS * (number + 1) // KILLS
        pid = victim.spawn(seed=number)
        victim.until("open")
        while len(victim.did) < wanted:
            victim.until("did")
        await anyio.sleep(rng.uniform(0.0, 0.05))
        victim.kill(pid)
    assert len(victim.did) >= OPERATIONS

    settings = load(flags, env={}).settings
    db = open_database(settings)
    try:
        async with open_memory(settings, db, SYSTEM) as memory:
            report = await memory.verify(Actor("system", admin=True), repair=True)
            assert [each for each in report.drift if not each.mendable] == []
            assert (await memory.verify(Actor("system", admin=True))).drift == ()
            await check(db, victim.did)
    finally:
        await db.aclose()


async def check(db: Database, did: list[dict[str, Any]]) -> None:
    """Each memory is as its last acknowledged operation left it, or further: an operation may be done and not told."""
    columns = select(MemoryRow.id, MemoryRow.version, MemoryRow.state, MemoryRow.content)
    rows = {row.id: row for row in await db.read(lambda c: c.execute(columns).all())}
    texts = set(await db.read(lambda c: c.execute(select(VersionRow.content)).scalars().all()))
    last = {each["id"]: each for each in did if each["op"] != "refused"}
    for id_, each in last.items():
        assert id_ in rows, f"{each} was acknowledged and is lost"
        row = rows[id_]
        if each["op"] == "purge":
            assert (row.state, row.content) == ("deleted", ""), each
            assert each["content"] not in texts
            continue
        assert row.version >= each["version"], each
        if row.version == each["version"]:
            assert (row.content, row.state) == (each["content"], each["state"])
    refused = [each["content"] for each in did if each["op"] == "refused"]
    assert refused
    assert not texts.intersection(refused), "a refused write was found"
