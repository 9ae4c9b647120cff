"""What a tree is run with in a bench: the real runner and database in a folder, one model, and one tool.

    async with open_workbench(settings) as bench:
        run = await bench.run(model, config={"mode": "stream"})

The tool `look` tells what lies on a shelf; its parameter is one of a few numbers, so that a weak model can call it.
Source: ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from pydantic import JsonValue

from agents import registry
from agents.remembering import Remembering
from agents.runner import Parts, Runner
from agents.tooling.base import Call, Offer, ToolAnswer
from agents.tooling.opening import RunTooling, Tooling
from agents.verifiers import open_verifiers
from memory.opening import open_memory
from runtime.checkpoints import open_saver
from runtime.db import open_database
from runtime.events import Event
from runtime.executors import Executors, identify
from runtime.hub import EventHub
from runtime.ids import SYSTEM
from runtime.llm.base import LLM
from runtime.llm.pool import LLMs
from runtime.migrate import upgrade
from runtime.run_types import RunRecord, RunSpec
from runtime.runs import RunStore
from runtime.sandbox.base import Sandbox
from runtime.sandbox.pool import open_sandbox
from runtime.settings import Settings
from runtime.types import JsonObject, ToolSpec

TASK: Final = "Walk along the shelves, look at each of them, and say what the store holds."
SHELVES: Final = 64
TOOL: Final = ToolSpec(
    "look",
    "Tells what lies on a shelf.",
    {
        "type": "object",
        "properties": {"shelf": {"enum": [*range(1, SHELVES + 1)]}},
        "required": ["shelf"],
        "additionalProperties": False,
    },
)
THINGS: Final = "rope nails bread salt paper oil wool iron glass beans rice tea soap wax corn clay"


class Shelves:
    """The origin of the tool. `on_call` is told of each call before it is answered."""

    def __init__(self, things: int, on_call: Callable[[], None]) -> None:
        self._things = things
        self._on_call = on_call

    async def offers(self) -> Sequence[Offer]:
        """See `ToolSource`."""
        return [Offer(TOOL)]

    async def run(self, call: Call) -> ToolAnswer:
        """See `ToolSource`."""
        self._on_call()
        rng = Random(str(call.parameters["shelf"]))
        return ToolAnswer(True, " ".join(rng.choices(THINGS.split(), k=self._things)))

    async def show(self, data: JsonValue) -> JsonValue:
        """See `ToolSource`."""
        return data


class _OneTool(Tooling):
    """Offers the shelves alone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.shelves = Shelves(1, lambda: None)

    def of_run(self, *, sandbox: Sandbox | None, remembering: Remembering | None, owner: str) -> RunTooling:
        return RunTooling({TOOL.name: self.shelves}, enabled=None, unasked={TOOL.name})


class _OneModel(LLMs):
    """Gives out whichever model the bench has set, whatever the name."""

    model: LLM

    async def get(self, ref: str | None) -> LLM:
        return self.model


@dataclass(frozen=True, slots=True)
class Ran:
    """A run to its end. `seconds`: of the wall."""

    record: RunRecord
    events: list[Event]
    seconds: float

    @property
    def document(self) -> JsonObject:
        """The whole document. Raises `SystemExit` for a run that did not succeed."""
        if self.record.status != "succeeded":
            raise SystemExit(f"run {self.record.id}: {self.record.status}, {self.record.error}")
        output: Any = self.record.output
        found: JsonObject = output["detail"]["document"]
        return found

    def count(self, *kinds: str) -> int:
        """Lines of the log of these types."""
        return sum(event.type in kinds for event in self.events)


class Workbench:
    """See the module. One model at a time; runs of it may go side by side."""

    def __init__(self, parts: Parts, models: _OneModel, tooling: _OneTool) -> None:
        self._parts = parts
        self._runner = Runner(parts)
        self._models = models
        self._tooling = tooling

    def tool(self, things: int, on_call: Callable[[], None] = lambda: None) -> None:
        """How many things lie on a shelf, and who hears of calls."""
        self._tooling.shelves = Shelves(things, on_call)

    async def run(self, model: LLM, config: JsonObject, *, seed: int = 0, sampling: JsonObject | None = None) -> Ran:
        """Let `tim` answer the task."""
        self._models.model = model
        spec = RunSpec("tim", TASK, memory="off", config=config, seed=seed, sampling=sampling or {})
        version = registry.get("tim").spec.version
        record = await self._parts.store.create(spec, owner="usr_bench", agent_version=version, model=model.ref)
        began = time.perf_counter()
        await self._runner.execute(record.id)
        seconds = time.perf_counter() - began
        ended = await self._parts.store.get(record.id, owner=None)
        return Ran(ended, await self._parts.store.events(record.id, limit=1_000_000), seconds)


@asynccontextmanager
async def open_workbench(settings: Settings) -> AsyncIterator[Workbench]:
    """A workbench over the database of the settings, which is made. Raises `StorageError`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    upgrade(settings)
    async with AsyncExitStack() as stack:
        db = open_database(settings)
        stack.push_async_callback(db.aclose)
        executors = Executors(db, SYSTEM, identify("bench"), dead_after_s=settings.runs.dead_after_s)
        await executors.register()
        sandbox = await stack.enter_async_context(open_sandbox(settings))
        models, tooling = _OneModel(settings, SYSTEM), _OneTool(settings)
        parts = Parts(
            settings=settings,
            db=db,
            store=RunStore(db, SYSTEM),
            executors=executors,
            hub=EventHub(),
            llms=models,
            saver=await stack.enter_async_context(open_saver(settings)),
            verifiers=await stack.enter_async_context(open_verifiers(sandbox)),
            memory=await stack.enter_async_context(open_memory(settings, db)),
            sandbox=sandbox,
            tooling=tooling,
        )
        yield Workbench(parts, models, tooling)
