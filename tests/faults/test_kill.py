"""kill -9 at random points: no run lost, none finished twice, no event duplicated or missing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest

from runtime.db import open_database
from runtime.events import Event, LlmCall, ReasoningDelta, RunFinished, RunResumed, TextDelta
from runtime.ids import SYSTEM
from runtime.migrate import upgrade
from runtime.runs import RunRecord, RunStore
from runtime.settings import load

KILLS = 50
RUNS_EACH = 3
SUBMITTING = 20
REPLY = "so we count one two three four and the answer is \\\\boxed{7}"
SCRIPT = f"""
[[rule]]
purpose = "*.answer"
reply = "{REPLY}"
delay_ms = 4
[[rule]]
purpose = "eval.judge"
json = {{ reason = "the first", best = 1 }}
delay_ms = 10
"""
STEPS = {
    "direct": {"answer"},
    "self-consistency": {*(f"answer.{n}" for n in range(5)), "choose"},
    "best-of-n": {*(f"answer.{n}" for n in range(3)), "choose"},
}


class Victim:
    """The process that forks services, and what it has said."""

    def __init__(self, flags: dict[str, object]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("victim.py")), json.dumps(flags)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: Queue[str] = Queue()
        self.accepted: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def spawn(self, submit: int) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"submit": submit}) + "\n")
        self._process.stdin.flush()
        return int(self.until("child").split()[1])

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.until("dead")

    def until(self, word: str, timeout_s: float = 60.0) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"the service did not say {word!r} in {timeout_s} s") from None
            if line.startswith("ack"):
                self.accepted.append(line.split()[1])
            if line.startswith(word):
                return line

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, object]:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    return {
        "home": str(tmp_path),
        "llm.model": f"scripted/{script}",
        "runs.heartbeat_s": 0.1,
        "runs.flush_ms": 15,
        "telemetry.log_level": "ERROR",
    }


@pytest.fixture
def victim(flags: dict[str, object]) -> Iterator[Victim]:
    upgrade(load(flags, env={}).settings)
    made = Victim(flags)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.anyio
async def test_fifty_kills_lose_nothing_and_repeat_nothing(victim: Victim, flags: dict[str, object]) -> None:
    rng = random.Random(20261123)
    for number in range(KILLS):
        pid = victim.spawn(RUNS_EACH if number < SUBMITTING else 0)
        time.sleep(rng.uniform(0.0, 0.9))
        victim.kill(pid)
    pid = victim.spawn(0)
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


def check_log(run: RunRecord, events: list[Event]) -> None:
    """The log of a run that was picked up any number of times reads like that of one that never was."""
    kinds = Counter(event.type for event in events)
    assert run.status == "succeeded", (run.id, run.status, run.error)
    assert kinds["run.queued"] == kinds["run.started"] == kinds["run.finished"] == 1
    assert kinds["run.resumed"] == run.attempt - 1
    seqs = [event.seq for event in events]
    assert seqs == sorted(set(seqs))
    assert events[-1].type == "run.finished"

    steps = STEPS[run.agent]
    calls = Counter(event.step for event in events if isinstance(event.payload, LlmCall))
    assert calls == Counter(step for step in steps if step != "choose" or run.agent == "best-of-n"), (run.id, calls)
    reply = REPLY.replace("\\\\", "\\")
    for step in steps - {"choose"}:
        kind = TextDelta if run.agent == "direct" else ReasoningDelta
        said = "".join(
            event.payload.text
            for event in events
            if event.step == step
            and isinstance(event.payload, kind)
            and isinstance(event.payload, TextDelta | ReasoningDelta)
        )
        assert said == reply, (run.id, step)
    end = events[-1].payload
    assert isinstance(end, RunFinished)
    assert isinstance(end.output, dict)
    text = "".join(event.payload.text for event in events if isinstance(event.payload, TextDelta))
    assert text == end.output["text"] == reply
    assert run.output == end.output
    for event in events:
        if isinstance(event.payload, RunResumed):
            voided = {seq for first, last in event.payload.void for seq in range(first, last + 1)}
            assert not voided & set(seqs), "a voided event is still in the log"
