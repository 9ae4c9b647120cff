"""The one event vocabulary: what agents emit, the log keeps, the API streams and the UI draws (contract §4).

A payload is a frozen pydantic model whose `type` is its discriminator; a recorded `Event` adds the run, the sequence
number and the time. On the wire `data` is the payload without its type. Source: contract §4; fields beyond it are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter


class Payload(BaseModel):
    """Base of every payload: immutable; an unknown field, or a number that JSON does not have, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class UsageData(Payload):
    """Token counts of one call (see `runtime.types.Usage`)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


# -- the run itself ----------------------------------------------------------------------------------------------------


class RunQueued(Payload):
    type: Literal["run.queued"] = "run.queued"
    agent: str
    model: str | None = None


class RunStarted(Payload):
    """`prompts` maps each prompt file the agent uses to the SHA-256 of its text."""

    type: Literal["run.started"] = "run.started"
    agent: str
    agent_version: int
    model: str
    executor: str
    seed: int
    prompts: dict[str, str] = {}


class RunResumed(Payload):
    """The run goes on. Events of steps that had not finished, listed as inclusive `[first, last]` ranges of sequence
    numbers, are void: they no longer belong to the log, and a listener that saw them drops them."""

    type: Literal["run.resumed"] = "run.resumed"
    executor: str
    attempt: int
    reason: Literal["recovered", "requested"]
    void: list[tuple[int, int]] = []


class RunFinished(Payload):
    """`status` is `succeeded` or `budget_exhausted`; with the latter `output` is the best answer so far, or None."""

    type: Literal["run.finished"] = "run.finished"
    status: Literal["succeeded", "budget_exhausted"]
    output: JsonValue = None
    reason: str | None = None


class RunFailed(Payload):
    """`status` is what the model server answered with, where that is why the run failed."""

    type: Literal["run.failed"] = "run.failed"
    code: str
    message: str
    status: int | None = None


class RunCancelledEvent(Payload):
    type: Literal["run.cancelled"] = "run.cancelled"
    reason: str


# -- the model ---------------------------------------------------------------------------------------------------------


class LlmCall(Payload):
    """One finished call. `attempts` counts tries including the good one; `error` is set when none was good."""

    type: Literal["llm.call"] = "llm.call"
    purpose: str
    model: str
    usage: UsageData
    cached_tokens: int
    ms: float
    first_token_ms: float | None = None
    attempts: int = 1
    finish_reason: str | None = None
    prompt_hash: str | None = None
    estimated: bool = False
    error: str | None = None


class TextDelta(Payload):
    type: Literal["text.delta"] = "text.delta"
    text: str


class ReasoningDelta(Payload):
    type: Literal["reasoning.delta"] = "reasoning.delta"
    text: str


class StepCompleted(Payload):
    """A step that need not be done again is done; `name` says which. `score` when a verifier or judge gave one.

    `outcome`: the score is the outcome of the unit of that name, of this kind; it tells what the memories that the unit
    was shown are worth."""

    type: Literal["step.completed"] = "step.completed"
    name: str
    score: float | None = None
    detail: JsonValue = None
    outcome: Literal["verifier", "feedback", "judge"] | None = None


class CheckFailed(Payload):
    type: Literal["check.failed"] = "check.failed"
    name: str
    detail: str


class BudgetWarning(Payload):
    type: Literal["budget.warning"] = "budget.warning"
    limit: Literal["tokens", "calls", "seconds"]
    used: float
    of: float


class ToolCalled(Payload):
    type: Literal["tool.call"] = "tool.call"
    call_id: str
    name: str
    arguments: str


class ToolResult(Payload):
    type: Literal["tool.result"] = "tool.result"
    call_id: str
    result: str
    ok: bool
    truncated: bool = False
    cpu_seconds: float | None = Field(None, description="of the processor, for a program in the sandbox")


# -- memory ------------------------------------------------------------------------------------------------------------


class MemoryRead(Payload):
    type: Literal["memory.read"] = "memory.read"
    id: str
    version: int
    score: float
    why: str
    unit: str
    shown: Literal["shown", "held_out"]
    p: float


class MemoryWritten(Payload):
    type: Literal["memory.written"] = "memory.written"
    id: str
    version: int
    op: str


# -- search ------------------------------------------------------------------------------------------------------------


class NodeCreated(Payload):
    type: Literal["node.created"] = "node.created"
    id: str
    parent: str | None = None
    depth: int
    detail: dict[str, JsonValue] = {}


class NodeScored(Payload):
    type: Literal["node.scored"] = "node.scored"
    id: str
    q_local: float | None = None
    q_global: float | None = None
    detail: dict[str, JsonValue] = {}


class NodeSelected(Payload):
    type: Literal["node.selected"] = "node.selected"
    id: str
    detail: dict[str, JsonValue] = {}


class NodeBackedUp(Payload):
    type: Literal["node.backed_up"] = "node.backed_up"
    id: str
    value: float
    visits: int
    detail: dict[str, JsonValue] = {}


# -- threads, working memory, files ------------------------------------------------------------------------------------


class TaskOpened(Payload):
    type: Literal["task.opened"] = "task.opened"
    path: str
    title: str
    detail: dict[str, JsonValue] = {}


class TaskClosed(Payload):
    type: Literal["task.closed"] = "task.closed"
    path: str
    conclusion: str
    detail: dict[str, JsonValue] = {}


class SpanPruned(Payload):
    type: Literal["span.pruned"] = "span.pruned"
    tokens: int
    path: str | None = None
    detail: dict[str, JsonValue] = {}


class SpanRecalled(Payload):
    type: Literal["span.recalled"] = "span.recalled"
    tokens: int
    path: str | None = None
    detail: dict[str, JsonValue] = {}


class FileWritten(Payload):
    type: Literal["file.written"] = "file.written"
    path: str
    bytes: int
    sha256: str


AnyPayload = Annotated[
    RunQueued
    | RunStarted
    | RunResumed
    | RunFinished
    | RunFailed
    | RunCancelledEvent
    | LlmCall
    | TextDelta
    | ReasoningDelta
    | StepCompleted
    | CheckFailed
    | BudgetWarning
    | ToolCalled
    | ToolResult
    | MemoryRead
    | MemoryWritten
    | NodeCreated
    | NodeScored
    | NodeSelected
    | NodeBackedUp
    | TaskOpened
    | TaskClosed
    | SpanPruned
    | SpanRecalled
    | FileWritten,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[AnyPayload] = TypeAdapter(AnyPayload)
TERMINAL_TYPES = frozenset({"run.finished", "run.failed", "run.cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a run's log. `seq` starts at 1 and grows; voided events leave gaps."""

    seq: int
    run_id: str
    at: datetime
    payload: AnyPayload
    step: str | None = None

    @property
    def type(self) -> str:
        return self.payload.type

    def wire(self) -> dict[str, Any]:
        """The JSON form of contract §4: `{seq, run_id, at, type, data}`, and `step` where it belongs to one."""
        wire = {
            "seq": self.seq,
            "run_id": self.run_id,
            "at": self.at.isoformat(),
            "type": self.payload.type,
            "data": data_of(self.payload),
        }
        return wire if self.step is None else {**wire, "step": self.step}


def data_of(payload: AnyPayload) -> dict[str, Any]:
    """The `data` of a payload: its fields without `type`, JSON-ready, unset optional fields left out."""
    return payload.model_dump(mode="json", exclude={"type"}, exclude_none=True)


def parse_payload(type_: str, data: dict[str, Any]) -> AnyPayload:
    """Rebuild a payload from its wire form; raises pydantic's `ValidationError` for an unknown type or field."""
    return _ADAPTER.validate_python({"type": type_, **data})
