"""kill -9 at random points: no run lost, none finished twice, no event duplicated or missing."""

from __future__ import annotations

import random
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

KILLS = 50
RUNS_EACH = 3
SUBMITTING = 20


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    return {
        "home": str(tmp_path),
        "embed.model": "hashing-384",
        "llm.model": f"scripted/{script}",
        "runs.heartbeat_s": 0.1,
        "runs.flush_ms": 15,
        "telemetry.log_level": "ERROR",
    }


@pytest.fixture
def victim(flags: dict[str, object]) -> Iterator[Victim]:
    migrate(load(flags, env={}).settings)
    made = Victim(flags)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.anyio
async def test_fifty_kills_lose_nothing_and_repeat_nothing(victim: Victim, flags: dict[str, object]) -> None:
    rng = random.Random(20261123)
    for number in range(KILLS):
        pid = victim.spawn(submit=RUNS_EACH if number < SUBMITTING else 0)
        # Most kills hit a service that works, some one that is opening.
        if rng.random() < 0.85:
            victim.until("open")
        await anyio.sleep(rng.uniform(0.0, 0.6))
        victim.kill(pid)
    pid = victim.spawn(submit=0)
    victim.until("idle", 120)
    victim.kill(pid)

    db = open_database(load(flags, env={}).settings)
    store = RunStore(db, SYSTEM)
    runs = (await store.page(None, limit=1000)).items
    resumed = 0
    try:
        assert len(victim.accepted) > 10, "the kills came too early to test anything"
        assert set(victim.accepted) <= {run.id for run in runs}, "an accepted run is lost"
        for run in runs:
            events = await store.events(run.id, limit=10_000)
            check_log(run, events)
            resumed += sum(event.type == "run.resumed" for event in events)
    finally:
        await db.aclose()
    assert resumed > 5, "no kill hit a run that was going"
