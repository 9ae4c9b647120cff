"""What an agent is and what it is given.

An agent turns a task into an answer, step by step. `Context.step` is the unit that is never done twice: its output and
its events are committed together, so a run that is picked up after a crash gets the stored output back and goes on
behind it. Events are committed inside the step, before LangGraph marks the node as done; that is why `run` returns the
answer and does not yield events. Source: ours; shape after style sheet §5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import anyio
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel, JsonValue

from agents.learning import Learning
from agents.remembering import MAX_TOKENS, STEP, Find, K, Read, Remembering, Units, question_of
from agents.tasks import Task
from agents.tooling.base import RESULT_TOKENS, Tools
from agents.verifiers.base import Verifiers
from memory.service import Memory
from memory.types import Actor
from runtime.errors import MnemeError, SandboxUnavailable
from runtime.events import AnyPayload, Event, StepCompleted
from runtime.llm.base import LLM, Reply
from runtime.llm.metering import Caller, Meter, Show, Via
from runtime.llm.structured import ask_structured
from runtime.prompts import PromptFile
from runtime.recorder import Recorder
from runtime.retry import RetryPolicy
from runtime.runs import RunSpec
from runtime.sandbox.base import Sandbox
from runtime.types import FinishReason, JsonObject, JsonSchema, Message, Sampling, ToolCall, ToolSpec

if TYPE_CHECKING:
    from agents.tooling.opening import RunTooling

Structured = TypeVar("Structured", bound=BaseModel)
TaskKind = Literal["chat", "math", "qa", "arc", "code"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run ends with. `detail` is the agent's own account (votes, scores), JSON and small."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    detail: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The `output` of the run on the wire; empty parts are left out."""
        out: JsonObject = {"text": self.text, "finish_reason": self.finish_reason}
        if self.tool_calls:
            out["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in self.tool_calls]
        if self.detail:
            out["detail"] = self.detail
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """Read what `to_json` wrote."""
        calls = tuple(ToolCall(c["id"], c["name"], c["arguments"]) for c in data.get("tool_calls", ()))
        return cls(data["text"], calls, data["finish_reason"], data.get("detail", {}))


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What is known of an agent without running it.

    `version` grows when runs of the old code cannot be continued by the new one; such runs fail with a clear text.
    `config` is the model of the agent's options: an unknown key is refused before the run exists.
    """

    name: str
    version: int
    description: str
    config: type[BaseModel]
    kinds: frozenset[TaskKind]
    prompts: Mapping[str, PromptFile] = field(default_factory=dict)


class Agent(Protocol):
    """A strategy; stateless, so one object serves every run. Registered in agents/registry.py."""

    @property
    def spec(self) -> AgentSpec: ...

    async def run(self, task: Task, ctx: Context) -> Answer:
        """Answer the task. Raises `MnemeError`s only; may be called again for the same run after a crash."""
        ...


@runtime_checkable
class GrowsTree(Protocol):
    """Optional ability of an agent: its runs grow a tree, which the log of a run tells."""

    def tree(self, spec: RunSpec, events: Sequence[Event]) -> JsonObject:
        """The tree as `GET /api/runs/{id}/tree` answers it, from the lines of the log in order."""
        ...


@runtime_checkable
class ChecksModel(Protocol):
    """Optional ability of an agent: it knows of options that need more than every model can do."""

    def check_model(self, config: BaseModel, llm: LLM) -> None:
        """Raise `InvalidInput` naming the option; a run that is refused so is not kept."""
        ...


class Context:
    """Everything one execution of one run may use. Nothing in here is global."""

    def __init__(
        self,
        *,
        run_id: str,
        spec: RunSpec,
        config: BaseModel,
        llm: LLM,
        meter: Meter,
        retry: RetryPolicy,
        recorder: Recorder,
        saver: BaseCheckpointSaver[str],
        verifiers: Verifiers,
        done: Mapping[str, JsonValue],
        remembering: Remembering | None = None,
        learning: Learning | None = None,
        sandbox: Sandbox | None = None,
        tooling: RunTooling | None = None,
        owner: str = "",
    ) -> None:
        self.run_id = run_id
        self.spec = spec
        self.config = config
        self.seed = spec.seed
        self.saver = saver
        self.verifiers = verifiers
        self.best: Answer | None = None
        self.learning = learning
        self.owner = owner
        self._sandbox = sandbox
        self._tooling = tooling
        self._llm = llm
        self._meter = meter
        self._retry = retry
        self._recorder = recorder
        self._done = dict(done)
        self._remembering = remembering
        self._recalling = anyio.Lock()
        self._units: dict[str, Units] = {}

    @property
    def sandbox(self) -> Sandbox:
        """Where model-written code runs; the tenant is `owner`. Raises `SandboxUnavailable` when there is none."""
        if self._sandbox is None:
            raise SandboxUnavailable("sandbox: this context has none; expected one from agents/build.py")
        return self._sandbox

    @property
    def calls_left(self) -> int | None:
        """Model calls that the budget leaves; None without a limit. It falls with every call, so what is decided by it
        belongs into the output of a step."""
        limit = self.spec.budget.calls
        return None if limit is None else max(0, limit - self._meter.spent.calls)

    async def step(self, key: str, work: Callable[[Step], Awaitable[JsonValue]]) -> JsonValue:
        """Do `work` once in the life of the run and return its output; a finished step returns what it returned.

        `key` must be the same when the run is executed again. Two steps may run at the same time.
        """
        if key in self._done:
            return self._done[key]
        output = await work(self._step(key))
        await self._recorder.finish_step(key, output)
        self._done[key] = output
        return output

    async def last_step(self, key: str, work: Callable[[Step], Awaitable[JsonValue]]) -> JsonValue:
        """Do the work whose output is the answer, with nothing behind it: it is committed with the end of the run.

        One transaction less than `step`. Killed in between, the run does it again, and nothing of it is in the log.
        """
        if key in self._done:
            return self._done[key]
        return await work(self._step(key))

    @property
    def retry(self) -> RetryPolicy:
        """How a server is asked again for what is no model call (`Session.encode`); `Step.ask` does so by itself."""
        return self._retry

    @property
    def llm(self) -> LLM:
        """The model of the run, for its optional abilities (`SupportsSessions`, `SupportsSchema`); calls are made by
        `Step.ask`, which counts them."""
        return self._llm

    async def memories(
        self,
        about: Task | str,
        units: Sequence[str],
        *,
        k: int = K,
        max_tokens: int = MAX_TOKENS,
        key: str = STEP,
    ) -> Units:
        """Memories for the task or question, drawn for each of the units (names of steps, different in the whole run); see
        agents/remembering.py. Units without memories for a run that reads none.

        Every recall of a run has a key of its own that begins with `memories`. May be asked for by several units at once.
        Raises `UnknownName` for a vault that may not be read.
        """
        reader = self._remembering
        if reader is None or not reader.reads:
            return Units()
        question = about if isinstance(about, str) else question_of(about)
        if not question:
            return Units()

        async def recall(step: Step) -> JsonValue:
            return await reader.recall(step, question, units, k=k, max_tokens=max_tokens)

        async with self._recalling:
            if key not in self._units:
                drawn = await self.step(key, recall)
                assert isinstance(drawn, dict)
                self._units[key] = await reader.units(drawn)
            return self._units[key]

    async def recalled(
        self, key: str, find: Find, units: Sequence[str], *, among: Sequence[str] = (), explore: float | None = None
    ) -> Units:
        """Like `memories`, for what `find` finds. `among`: all units of the run, when some are drawn for in other recalls;
        `explore` 0: nothing is held out. Raises as `find` does."""
        reader = self._remembering
        if reader is None or not reader.reads:
            return Units()

        async def draw(step: Step) -> JsonValue:
            return await reader.draw(step, await reader.find(find), units, among=among, explore=explore)

        drawn = await self.step(key, draw)
        assert isinstance(drawn, dict)
        return await reader.units(drawn)

    async def tools(
        self, names: Sequence[str] | None = None, *, result_tokens: int = RESULT_TOKENS, key: str = "tools"
    ) -> Tools:
        """The named tools of the settings, or all, see agents/tooling/base.py; `result_tokens`: what a result may have. A
        step: the list stays when the run goes on. Raises `InvalidInput` for a name that there is not."""
        tooling = self._tooling
        if tooling is None:
            raise MnemeError("tools: this context has none; expected them from agents/runner.py")

        async def opened(step: Step) -> JsonValue:
            listed = await tooling.list(names)
            tools: JsonValue = [*tooling.names(listed)]
            await step.emit(StepCompleted(name=key, detail={"tools": tools, "missing": listed["missing"]}))
            return listed

        listed = await self.step(key, opened)
        assert isinstance(listed, dict)
        return tooling.tools(listed, result_tokens=result_tokens)

    async def look(self, read: Callable[[Memory, Actor, RunSpec], Awaitable[Read]]) -> Read | None:
        """What `read` finds in the vaults of the run, for nobody to be shown yet; None for a run that reads no memories. No
        step: what it says may change until the run goes on. Raises as `read` does."""
        reader = self._remembering
        return await reader.look(read) if reader is not None and reader.reads else None

    async def settle(self) -> None:
        """Count what the run says about the memories that it read; called when its agent has answered."""
        if self._remembering is not None and any(key.startswith(STEP) for key in self._done):
            await self._recorder.flush()
            await self._remembering.settle(self.run_id)

    def _step(self, key: str) -> Step:
        return Step(key, self.run_id, self._llm, self._meter, self._retry, self._recorder)

    def offer(self, answer: Answer) -> None:
        """Say what the answer would be if the run had to end here; used when the budget runs out."""
        self.best = answer


class Step:
    """The hands of one step: emits its events and makes its model calls."""

    def __init__(self, key: str, run_id: str, llm: LLM, meter: Meter, retry: RetryPolicy, recorder: Recorder) -> None:
        self.key = key
        self._run_id = run_id
        self._llm = llm
        self._recorder = recorder
        self._caller = Caller(llm, meter, retry, self.emit, lambda chunk: recorder.tell(chunk, key))

    async def emit(self, payload: AnyPayload) -> None:
        """Append an event of this step to the run's log."""
        await self._recorder.emit(payload, self.key)

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
        """Make one model call: budgeted, retried, counted, streamed into the log as `show` says. `via`: not to the model
        itself but to a session of it.

        Raises `ModelError`s, `BudgetExhausted`, `RunCancelled`.
        """
        return await self._caller.ask(
            purpose=purpose,
            run_id=self._run_id,
            messages=messages,
            sampling=sampling,
            tools=tools,
            schema=schema,
            show=show,
            prompt_hash=prompt.sha256 if prompt else None,
            via=via,
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
        """Like `ask`, but the reply is a validated `model`; at most two repair turns, then `MalformedReply`."""
        return await ask_structured(
            self._caller,
            self._llm,
            purpose=purpose,
            run_id=self._run_id,
            messages=messages,
            model=model,
            sampling=sampling,
            prompt_hash=prompt.sha256 if prompt else None,
        )
