"""What a model was sent in a run, rebuilt: the agent runs again over what its finished steps returned.

The log keeps no prompts, because they follow from it. So the agent itself writes them a second time: every step gives back
what it gave, and the work of a step that asked the model is begun with hands that take down the question and go no further.
Nothing is asked, called, written or recalled. Known is the first question of each step: later ones (a repair turn, a second
order) rest on replies that are kept nowhere. What an agent looks up in the store beside its steps may have changed since;
such prompts are not `exact`. Source: design ui ("Context of a run"); contract §6, promise 3; ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, JsonValue

from agents import registry
from agents.base import Context, Step
from agents.learning import Learning
from agents.remembering import Find, Read, Remembering
from agents.runner import Parts
from agents.tasks import parse_input
from agents.tooling.opening import Tooling
from memory.service import Memory
from memory.types import Actor, MemCube
from runtime.budget import Spent
from runtime.errors import MnemeError
from runtime.events import AnyPayload, LlmCall, RunStarted
from runtime.llm.base import CallInfo, Chunk, Reply
from runtime.llm.metering import Meter, Show, Via
from runtime.llm.structured import schema_of
from runtime.prompts import PromptFile
from runtime.retry import RetryPolicy
from runtime.runs import RunRecord, RunSpec
from runtime.sandbox.base import Level, Limits, Outcome, Program, Sandbox
from runtime.types import JsonSchema, Message, Sampling, ToolSpec

PAGE = 1000
Structured = TypeVar("Structured", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The first question of a step. `schema`: what the reply had to fit; a server that binds none read it in words, behind
    the last message. `exact` False: it rests on memories as they are now."""

    step: str
    purpose: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    schema: JsonSchema | None
    exact: bool


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Prompts by step. `missing`: why some or all could not be rebuilt; empty when all were. `changed`: prompt files that
    are not what they were when the run began."""

    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    missing: str = ""
    changed: tuple[str, ...] = ()


async def rebuild(parts: Parts, record: RunRecord, *, step: str | None = None) -> Rebuilt:
    """The prompts of a run; with `step` only that one is needed, and the replay ends there."""
    calls, started = await _told(parts, record.id)
    asked = {key: purpose for key, purpose in calls.items() if step is None or key == step}
    if not asked:
        return Rebuilt()
    agent = registry.get(record.agent)
    if agent.spec.version != record.agent_version:
        began = f"the run was begun by version {record.agent_version} of the agent {record.agent!r}"
        return Rebuilt(missing=f"{began}; version {agent.spec.version}, which is here, would ask something else")
    now = {name: prompt.sha256 for name, prompt in agent.spec.prompts.items()}
    changed = tuple(sorted(name for name, was in started.items() if now.get(name) != was))
    replay = _Replay(parts, record, await parts.store.steps(record.id), calls, asked)
    missing = "the agent goes another way than the log says"
    try:
        await agent.run(parse_input(record.spec.input), replay)
    except _Over as over:
        missing = str(over)
    except ExceptionGroup as errors:
        if (found := errors.subgroup(_Over)) is None:
            raise
        missing = str(found.exceptions[0])
    except MnemeError as error:
        missing = error.message
    return Rebuilt(replay.noted, "" if asked.keys() <= replay.noted.keys() else missing, changed)


async def _told(parts: Parts, run_id: str) -> tuple[dict[str, str], Mapping[str, str]]:
    """The steps that asked the model, with the purpose of their first call, and the prompt files of the run."""
    calls: dict[str, str] = {}
    prompts: Mapping[str, str] = {}
    after = 0
    while page := await parts.store.events(run_id, after=after, limit=PAGE, types=("llm.call", "run.started")):
        after = page[-1].seq
        for event in page:
            if isinstance(event.payload, LlmCall) and event.step is not None:
                calls.setdefault(event.step, event.payload.purpose)
            elif isinstance(event.payload, RunStarted) and not prompts:
                prompts = event.payload.prompts
    return calls, prompts


class _Asked(Exception):
    """The question of a step is taken down; its work ends here."""


class _Over(Exception):
    """There is nothing more to rebuild, or nothing more to rebuild it from."""


class _Replay(Context):
    """The hands of an agent whose steps are done."""

    def __init__(
        self,
        parts: Parts,
        record: RunRecord,
        done: Mapping[str, JsonValue],
        calls: Mapping[str, str],
        asked: Mapping[str, str],
    ) -> None:
        spec = record.spec
        remembering = Remembering(parts.memory, spec, owner=record.owner)
        tooling = parts.tooling or Tooling(parts.settings)
        super().__init__(
            run_id=record.id,
            spec=spec,
            config=registry.get(record.agent).spec.config.model_validate(spec.config),
            llm=_Silent(record.model),
            meter=Meter(spec.budget, Spent()),
            retry=RetryPolicy.of(parts.settings.llm),
            recorder=None,  # type: ignore[arg-type]  # no step of a replay writes
            saver=InMemorySaver(),
            verifiers=parts.verifiers,
            done=done,
            remembering=remembering,
            learning=_Learning(parts.memory, spec, record, self._look),
            sandbox=None if parts.sandbox is None else _Closed(parts.sandbox),
            tooling=tooling.of_run(sandbox=None, remembering=remembering, owner=record.owner),
            owner=record.owner,
        )
        self.noted: dict[str, Prompt] = {}
        self.looked = False
        self._calls = calls
        self._wanted = asked

    async def step(self, key: str, work: Callable[[Step], Awaitable[JsonValue]]) -> JsonValue:
        """See `Context.step`: nothing is done a second time."""
        if key in self._wanted and key not in self.noted:
            before = self.looked
            try:
                await work(_Notebook(key, self))
            except _Asked:
                pass
            except ExceptionGroup as errors:
                if errors.subgroup(_Asked) is None:
                    raise
            self.looked = before
            if self._wanted.keys() <= self.noted.keys():
                raise _Over("")
        if key not in self._done:
            raise _Over(f"the step {key!r} was not finished, and what follows rests on what it would have returned")
        return self._done[key]

    async def last_step(self, key: str, work: Callable[[Step], Awaitable[JsonValue]]) -> JsonValue:
        """See `Context.last_step`."""
        return await self.step(key, work)

    async def look(self, read: Callable[[Memory, Actor, RunSpec], Awaitable[Read]]) -> Read | None:
        """See `Context.look`; what it says may differ from what it said."""
        self.looked = True
        return await super().look(read)

    def note(self, prompt: Prompt) -> NoReturn:
        """Take down the first question of a step."""
        if self._calls[prompt.step] == prompt.purpose:
            self.noted.setdefault(prompt.step, prompt)
        raise _Asked

    def _look(self) -> None:
        self.looked = True


class _Notebook(Step):
    """The hands of one step: they take down what it asks."""

    def __init__(self, key: str, replay: _Replay) -> None:
        self.key = key
        self._replay = replay

    async def emit(self, payload: AnyPayload) -> None:
        """The log has it already."""

    async def ask(
        self,
        purpose: str,
        messages: Sequence[Message],
        *,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
        show: Show = "none",
        prompt: PromptFile | None = None,
        via: Via | None = None,
    ) -> Reply:
        """See `Step.ask`."""
        self._replay.note(
            Prompt(self.key, purpose, tuple(messages), tuple(tools), schema, exact=not self._replay.looked)
        )

    async def ask_structured(
        self,
        purpose: str,
        messages: Sequence[Message],
        model: type[Structured],
        *,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        prompt: PromptFile | None = None,
    ) -> Structured:
        """See `Step.ask_structured`."""
        await self.ask(purpose, messages, sampling=sampling, schema=schema_of(purpose, model), prompt=prompt)
        raise AssertionError("a question that is taken down has no reply")


class _Learning(Learning):
    """Reads what a plan is about as it is now, and says so; writes nothing, for no step goes that far."""

    def __init__(self, memory: Memory, spec: RunSpec, record: RunRecord, told: Callable[[], None]) -> None:
        super().__init__(memory, spec, run_id=record.id, owner=record.owner)
        self._told = told

    async def check(self) -> None:
        """The run was allowed to begin; a vault that was locked since does not matter to what was asked."""

    async def look(self, find: Find) -> list[MemCube]:
        """See `Learning.look`."""
        self._told()
        return await super().look(find)


class _Closed:
    """Stands for the sandbox; no program is run a second time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @property
    def level(self) -> Level:
        return self._sandbox.level

    async def run(self, program: Program, *, tenant: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
        """Raises: the question of a step that rests on what a program did is not known."""
        raise _Over("it rests on what a program did, which is not run a second time")

    async def run_batch(
        self,
        programs: Sequence[Program],
        *,
        tenant: str,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Outcome]:
        """See `run`."""
        raise _Over("it rests on what programs did, which are not run a second time")


class _Silent:
    """Stands for the model of the run; nobody asks it anything. Schemas stay beside the messages."""

    def __init__(self, ref: str) -> None:
        self._ref = ref

    @property
    def ref(self) -> str:
        return self._ref

    def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """Raises: a replay makes no call."""
        raise AssertionError("a replay asks no model")

    async def binds_schema(self) -> bool:
        return True

    async def models(self) -> Sequence[str]:
        return (self._ref,)

    async def aclose(self) -> None:
        pass
