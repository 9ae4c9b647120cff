"""Two processes on one PostgreSQL: one dies or falls asleep, the other takes over, nothing is done twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.runs import RunStore
from runtime.settings import load
from tests.faults.killing import SCRIPT, Victim, check_log
from tests.migrated import migrate

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(240)]
TAKEN_OVER_WITHIN_S = 30.0


@pytest.fixture
def flags(tmp_path: Path, postgres_url: str) -> dict[str, object]:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT.replace("delay_ms = 4", "delay_ms = 60"))
    return {
        "home": str(tmp_path),
        "embed.model": "hashing-384",
        "database.url": postgres_url,
        "llm.model": f"scripted/{script}",
        "runs.heartbeat_s": 0.2,
        "runs.dead_after_s": 3.0,
        "telemetry.log_level": "ERROR",
    }


@pytest.fixture
def workers(flags: dict[str, object]) -> Iterator[tuple[Victim, Victim]]:
    migrate(load(flags, env={}).settings)
    pair = Victim(flags), Victim(flags)
    yield pair
    for worker in pair:
        worker.close()


@pytest.mark.parametrize("way", ["killed", "paused"])
async def test_a_survivor_takes_over(workers: tuple[Victim, Victim], flags: dict[str, object], way: str) -> None:
    first, second = workers
    one = first.spawn(submit=6)
    for _ in range(6):
        first.until("ack")
    await anyio.sleep(0.5)
    two = second.spawn(submit=0)
    await anyio.sleep(0.8)
    if way == "killed":
        first.kill(one)
    else:
        os.kill(one, signal.SIGSTOP)
    begin = time.monotonic()
    second.until("idle", 60)
    took = time.monotonic() - begin
    if way == "paused":
        os.kill(one, signal.SIGCONT)
        await anyio.sleep(2.0)
        first.kill(one)
    second.kill(two)

    db = open_database(load(flags, env={}).settings)
    store = RunStore(db, SYSTEM)
    try:
        runs = (await store.page(None, limit=100)).items
        assert {run.id for run in runs} == set(first.accepted)
        for run in runs:
            check_log(run, await store.events(run.id, limit=10_000))
        assert sum(run.attempt > 1 for run in runs) > 0, "the first process had nothing in hand"
        assert len({run.executor for run in runs}) >= 1
        assert took < TAKEN_OVER_WITHIN_S
    finally:
        await db.aclose()


async def test_two_processes_share_the_queue(workers: tuple[Victim, Victim], flags: dict[str, object]) -> None:
    first, second = workers
    settings = load(flags, env={}).settings
    two = second.spawn(submit=0)
    second.until("idle")
    one = first.spawn(submit=40)
    for _ in range(40):
        first.until("ack")
    first.until("idle", 90)
    first.kill(one)
    second.kill(two)
    db = open_database(settings)
    store = RunStore(db, SYSTEM)
    try:
        runs = (await store.page(None, limit=100)).items
        for run in runs:
            check_log(run, await store.events(run.id, limit=10_000))
        assert len({run.executor for run in runs}) == 2, "one process did everything"
        assert all(run.attempt == 1 for run in runs)
    finally:
        await db.aclose()
