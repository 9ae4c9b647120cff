"""Short ways to bring a run into a state, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runtime.events import Event, LlmCall, RunStarted, UsageData
from runtime.run_types import Claim, RunSpec
from runtime.runs import RunStore


@dataclass
class SetClock:
    """Stands still until it is moved."""

    time: datetime = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def started(executor: str = "exe_a") -> RunStarted:
    return RunStarted(agent="direct", agent_version=1, model="m", executor=executor, seed=1)


def call(purpose: str = "direct.answer", prompt: int = 3, completion: int = 2) -> LlmCall:
    usage = UsageData(prompt_tokens=prompt, completion_tokens=completion)
    return LlmCall(purpose=purpose, model="m", usage=usage, cached_tokens=1, ms=1000.0)


async def queued(store: RunStore, owner: str = "ann") -> str:
    return (await store.create(RunSpec("direct", "hi"), owner=owner, agent_version=1, model="m")).id


async def claim(store: RunStore, run_id: str, executor: str = "exe_a") -> Claim:
    epoch = (await store.get(run_id, owner=None)).epoch
    taken = await store.start(run_id, executor=executor, started=started(executor), expect_epoch=epoch)
    assert taken is not None
    return taken


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]
