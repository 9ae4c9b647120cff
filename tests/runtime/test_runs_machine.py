"""The run store against a model of it that fits on a page: whatever is done in whatever order, both agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.db import open_database
from runtime.errors import Conflict, MnemeError, RunCancelled, RunLost
from runtime.events import RunCancelledEvent, RunFailed, RunFinished, RunResumed, TextDelta
from runtime.ids import SYSTEM
from runtime.run_log import Item
from runtime.runs import TERMINAL, RunStore
from tests.conftest import make_settings
from tests.migrated import migrate
from tests.storing import call, queued, started

T = TypeVar("T")
STEPS = st.sampled_from(["a", "b", "c"])
ENDS = st.sampled_from(
    [
        RunFinished(status="succeeded", output={"text": "x"}),
        RunFinished(status="budget_exhausted"),
        RunFailed(code="c", message="m"),
        RunCancelledEvent(reason="own"),
    ]
)


@dataclass
class Line:
    type: str
    step: str | None
    voided: bool = False


@dataclass
class Modelled:
    """One run as it should be."""

    status: str = "queued"
    epoch: int = 0
    attempt: int = 0
    cancel: str | None = None
    log: list[Line] = field(default_factory=lambda: [Line("run.queued", None)])
    steps: dict[str, int] = field(default_factory=dict)

    def write(self, epoch: int) -> type[MnemeError] | None:
        """How a write under this claim is refused."""
        if self.status != "running" or epoch != self.epoch:
            return RunLost
        return RunCancelled if self.cancel else None

    def end(self, type_: str, status: str) -> None:
        self.log.append(Line(type_, None))
        self.status = status


class Store(RuleBasedStateMachine):
    """One run; claims of it may be old, as those of processes that lost it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="mneme-machine-"))
        settings = make_settings(self.folder)
        migrate(settings)
        self.db = open_database(settings)
        self.store = RunStore(self.db, SYSTEM)
        self.number = 0

    @initialize()
    def begin(self) -> None:
        self.run_id = self.do(queued(self.store))
        self.model = Modelled()

    def do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    def agree(self, work: Awaitable[Any], refused: type[MnemeError] | None) -> None:
        if refused is None:
            self.do(work)
            return
        with pytest.raises(refused) as caught:
            self.do(work)
        assert caught.type is refused

    @rule(behind=st.integers(0, 1))
    def start(self, behind: int) -> None:
        model, epoch = self.model, self.model.epoch - behind
        taken = self.do(self.store.start(self.run_id, executor="e", started=started(), expect_epoch=epoch))
        if behind or model.status in TERMINAL:
            assert taken is None
        elif model.cancel:
            assert taken is None
            model.end("run.cancelled", "cancelled")
        else:
            assert taken is not None
            assert taken.steps == model.steps
            for line in model.log:
                line.voided |= line.step is not None and line.step not in model.steps
            model.epoch, model.attempt, model.status = model.epoch + 1, model.attempt + 1, "running"
            model.log.append(Line("run.started" if model.attempt == 1 else "run.resumed", None))
            assert (taken.epoch, taken.record.attempt) == (model.epoch, model.attempt)
            assert taken.spent.calls == sum(line.type == "llm.call" for line in model.log)

    @rule(step=STEPS, behind=st.integers(0, 1), calls=st.integers(0, 2))
    def append(self, step: str, behind: int, calls: int) -> None:
        epoch = self.model.epoch - behind
        items: list[Item] = [(TextDelta(text="x"), step), *[(call(), step)] * calls]
        refused = self.model.write(epoch)
        self.agree(self.store.append(self.run_id, epoch, items), refused)
        if refused is None:
            self.model.log += [Line(payload.type, step) for payload, step in items]

    @rule(step=STEPS, behind=st.integers(0, 1))
    def finish_step(self, step: str, behind: int) -> None:
        epoch, self.number = self.model.epoch - behind, self.number + 1
        refused = self.model.write(epoch) or (Conflict if step in self.model.steps else None)
        work = self.store.finish_step(self.run_id, epoch, step, self.number, [(call(), step)])
        self.agree(work, refused)
        if refused is None:
            self.model.log.append(Line("llm.call", step))
            self.model.steps[step] = self.number

    @rule(end=ENDS, behind=st.integers(0, 1))
    def finish(self, end: RunFinished | RunFailed | RunCancelledEvent, behind: int) -> None:
        model, epoch = self.model, self.model.epoch - behind
        lost = model.status != "running" or behind
        self.agree(self.store.finish(self.run_id, epoch, end, items=[(call(), "a")]), RunLost if lost else None)
        if lost:
            return
        model.log.append(Line("llm.call", "a"))
        status = end.status if isinstance(end, RunFinished) else "failed"
        if isinstance(end, RunCancelledEvent) or (model.cancel and status != "succeeded"):
            model.end("run.cancelled", "cancelled")
        else:
            model.end(end.type, status)

    @rule(behind=st.integers(0, 1))
    def interrupt(self, behind: int) -> None:
        self.do(self.store.interrupt(self.run_id, self.model.epoch - behind))
        if self.model.status == "running" and not behind:
            self.model.status = "interrupted"

    @rule()
    def cancel(self) -> None:
        record = self.do(self.store.request_cancel(self.run_id, f"reason {self.number}"))
        if self.model.status in ("queued", "interrupted"):
            self.model.end("run.cancelled", "cancelled")
        elif self.model.status == "running":
            self.model.cancel = self.model.cancel or f"reason {self.number}"
            assert record.cancel_reason == self.model.cancel

    @rule()
    def requeue(self) -> None:
        fits = self.model.status in ("failed", "cancelled", "budget_exhausted", "interrupted")
        self.agree(self.store.requeue(self.run_id), None if fits else Conflict)
        if fits:
            self.model.status, self.model.cancel = "queued", None

    @invariant()
    def the_same(self) -> None:
        record = self.do(self.store.get(self.run_id, owner="ann"))
        events = self.do(self.store.events(self.run_id))
        lines = self.model.log
        assert record.status == self.model.status
        assert record.last_seq == len(lines)
        kept = [(seq, line.type, line.step) for seq, line in enumerate(lines, start=1) if not line.voided]
        assert [(event.seq, event.type, event.step) for event in events] == kept
        calls = sum(part.calls for part in record.usage.values())
        assert calls == sum(line.type == "llm.call" for line in lines), "what was spent stays counted"
        assert (record.finished_at is not None) == (record.status in TERMINAL)
        self.a_listener_would_drop_the_same(kept)

    def a_listener_would_drop_the_same(self, kept: list[tuple[int, str, str | None]]) -> None:
        """Whoever heard every line and drops what `run.resumed` calls void has the log that is read afterwards."""
        resumed = [e.payload for e in self.do(self.store.events(self.run_id)) if isinstance(e.payload, RunResumed)]
        void = {seq for payload in resumed for low, high in payload.void for seq in range(low, high + 1)}
        assert {seq for seq, _, _ in kept} == set(range(1, len(self.model.log) + 1)) - void

    def teardown(self) -> None:
        self.do(self.db.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


Store.TestCase.settings = how(max_examples=25, stateful_step_count=25, deadline=None)
TestStore = pytest.mark.timeout(120)(Store.TestCase)
