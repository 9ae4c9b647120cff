"""A trial: the real runner, store, recorder and savers over one database in a folder, and a scripted model.

`Trial.run` executes a run to its end in this process; `Trial.breaking_off_at` ends an execution at its n-th model call as
a shutdown does, so that `Trial.go_on` can execute the run again with a fresh runner. Every call is counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from agents import registry
from agents.runner import Parts, Runner
from agents.verifiers import open_verifiers
from memory.opening import open_memory
from runtime.checkpoints import open_saver
from runtime.db import open_database
from runtime.events import Event, LlmCall, ReasoningDelta, StepCompleted, TextDelta, ToolResult, data_of
from runtime.executors import Executors, identify
from runtime.hub import EventHub
from runtime.ids import SYSTEM
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.pool import LLMs
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.runs import RunRecord, RunSpec, RunStore
from runtime.sandbox.pool import open_sandbox
from runtime.settings import load
from runtime.types import JsonSchema, Message, Sampling, ToolSpec
from tests.migrated import migrate


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the model."""

    purpose: str
    messages: tuple[Message, ...]
    sampling: Sampling
    tools: tuple[ToolSpec, ...]
    schema: JsonSchema | None


@dataclass
class Watched:
    """A scripted model that notes its calls; `before` is awaited ahead of each one."""

    inner: Scripted
    calls: list[Call] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    before: Callable[[Call], Awaitable[None]] | None = None
    ref: str = "scripted/watched"

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        call = Call(info.purpose, tuple(messages), sampling, tuple(tools), schema)
        self.calls.append(call)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            if self.before is not None:
                await self.before(call)
            async for chunk in self.inner.stream(messages, info=info, sampling=sampling, tools=tools, schema=schema):
                yield chunk
        finally:
            self.under_way -= 1

    async def models(self) -> Sequence[str]:
        return [self.ref]

    async def binds_schema(self) -> bool:
        return True

    async def aclose(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class OneModel:
    """Stands where the pool of clients stands."""

    llm: Watched

    async def get(self, ref: str | None) -> Watched:
        return self.llm


@dataclass
class Trial:
    """See the module."""

    parts: Parts
    llm: Watched
    runner: Runner

    @property
    def store(self) -> RunStore:
        return self.parts.store

    async def accept(self, spec: RunSpec) -> RunRecord:
        """Put a run into the database."""
        version = registry.get(spec.agent).spec.version
        return await self.store.create(spec, owner="usr_test", agent_version=version, model=self.llm.ref)

    async def run(self, spec: RunSpec) -> RunRecord:
        """Accept and execute."""
        return await self.go_on((await self.accept(spec)).id)

    async def go_on(self, run_id: str) -> RunRecord:
        """Execute a run as a process that has just started would."""
        self.runner = Runner(self.parts)
        await self.runner.execute(run_id)
        return await self.store.get(run_id, owner=None)

    async def events(self, run_id: str) -> list[Event]:
        """The whole log, without what was voided."""
        return await self.store.events(run_id)

    def breaking_off_at(self, number: int) -> None:
        """Let the shutdown come when model call `number` (from 1) begins."""
        first = len(self.llm.calls)

        async def before(call: Call) -> None:
            if len(self.llm.calls) - first == number:
                self.runner.interrupt_all()

        self.llm.before = before


@asynccontextmanager
async def open_trial(home: Path, *rules: Rule, database_url: str | None = None) -> AsyncIterator[Trial]:
    """A trial in an empty folder; with the address of one, on another database."""
    quick = {
        "runs.flush_ms": 5,
        "llm.retries": 0,
        "database.synchronous": "NORMAL",
        "embed.model": "hashing-384",
        "sandbox.workers": 1,
    }
    settings = load({"home": str(home), **quick, "database.url": database_url}, env={})
    migrate(settings.settings)
    async with AsyncExitStack() as stack:
        db = open_database(settings.settings)
        stack.push_async_callback(db.aclose)
        executors = Executors(db, SYSTEM, identify("test"), dead_after_s=30)
        await executors.register()
        llm = Watched(Scripted("watched", Script(rules)))
        sandbox = await stack.enter_async_context(open_sandbox(settings.settings))
        parts = Parts(
            settings=settings.settings,
            db=db,
            store=RunStore(db, SYSTEM),
            executors=executors,
            hub=EventHub(),
            llms=cast(LLMs, OneModel(llm)),
            saver=await stack.enter_async_context(open_saver(settings.settings)),
            verifiers=await stack.enter_async_context(open_verifiers(sandbox)),
            memory=await stack.enter_async_context(open_memory(settings.settings, db)),
            sandbox=sandbox,
        )
        yield Trial(parts, llm, Runner(parts))


def story(events: Sequence[Event]) -> dict[str, list[object]]:
    """What a log tells, by step: deltas joined, times and numbering left out. Equal for equal runs."""
    told: dict[str, list[object]] = {}
    for event in events:
        lines = told.setdefault(event.step or "", [])
        payload = event.payload
        if isinstance(payload, TextDelta | ReasoningDelta):
            last = lines[-1] if lines else None
            if isinstance(last, tuple) and last[0] == payload.type:
                lines[-1] = (payload.type, last[1] + payload.text)
            else:
                lines.append((payload.type, payload.text))
        elif isinstance(payload, LlmCall):
            lines.append(payload.model_copy(update={"ms": 0.0, "first_token_ms": None}))
        elif isinstance(payload, ToolResult):
            lines.append(payload.model_copy(update={"cpu_seconds": None}))
        else:
            lines.append((payload.type, {k: v for k, v in data_of(payload).items() if k != "executor"}))
    return told


def text_of(events: Sequence[Event]) -> str:
    """What a reader of the text saw."""
    return "".join(event.payload.text for event in events if isinstance(event.payload, TextDelta))


def completed(events: Sequence[Event]) -> list[str]:
    """The names of the steps the log calls done."""
    return [event.payload.name for event in events if isinstance(event.payload, StepCompleted)]
