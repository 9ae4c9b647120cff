"""Starts and kills services for the fault tests, and checks what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from runtime.events import Event, LlmCall, ReasoningDelta, RunFinished, RunResumed, TextDelta
from runtime.runs import RunRecord

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
    """The process that forks services, and what it has said. `script` is the file that serves."""

    def __init__(self, flags: dict[str, object], script: str = "victim.py") -> None:
        command = [sys.executable, str(Path(__file__).with_name(script)), json.dumps(flags)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: Queue[str] = Queue()
        self.accepted: list[str] = []
        self.did: list[dict[str, Any]] = []
        self._alive: int | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def spawn(self, **order: int) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._alive = int(self.until("child").split()[1])
        return self._alive

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.until("dead")
        self._alive = None

    def until(self, word: str, timeout_s: float = 60.0) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"the service did not say {word!r} in {timeout_s} s") from None
            if line.startswith("ack"):
                self.accepted.append(line.split()[1])
            elif line.startswith("did"):
                self.did.append(json.loads(line[4:]))
            if line.startswith(word):
                return line

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if self._alive is not None:  # a test that failed half-way: the parent waits for its child, asleep or not
            self.kill(self._alive)
        self._process.wait(20)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())


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
