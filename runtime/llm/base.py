"""The contract between an agent and a language model.

`LLM.stream` yields chunks as the server produces them; `complete` folds them into a `Reply`. A backend neither retries,
nor counts, nor logs: those stand in `metering.py`, around whichever backend is used. Source: style sheet §5, ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runtime.types import FinishReason, JsonSchema, Message, Sampling, ToolCall, ToolSpec, Usage


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call. The first piece of an `index` carries `id` and `name`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What came in since the last one. `finish_reason` and `usage` come at the end, maybe in separate chunks.

    `logprobs` is the server's `choices[0].logprobs` object of this chunk, passed on as it is. `token_ids` come from
    sessions only (runtime/llm/sessions.py).
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str | None = None
    logprobs: Mapping[str, object] | None = None
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `estimated` is true when the server sent no usage and the counts are ours."""

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    estimated: bool = False
    logprobs: Mapping[str, object] | None = None
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Who asks and why: goes out as the headers `X-Mneme-Purpose` and `X-Mneme-Run` (contract §5)."""

    purpose: str
    run_id: str


class LLM(Protocol):
    """A model behind some server. Safe to use from many tasks of one event loop at once.

    `stream` raises only `runtime.errors.ModelError`s. Closing the iterator, or cancelling the task that reads it, closes
    the HTTP call. With `schema` the server is asked to bind the reply to it where it can; the reply is text all the same.
    """

    @property
    def ref(self) -> str:
        """Name and origin, `backend/model`: `openai/gpt-5-mini`, `vllm/Qwen/Qwen3-8B`, `scripted/echo`."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]: ...

    async def models(self) -> Sequence[str]:
        """The names of the models the server offers; raises `ModelUnavailable` when it cannot be asked."""
        ...

    async def aclose(self) -> None:
        """Close connections. The object may not be used afterwards."""
        ...


@runtime_checkable
class SupportsPinning(Protocol):
    """Optional ability: a client whose model's name was left open and is settled by asking the server."""

    async def pin(self) -> str:
        """Settle the name and give it. Raises `ModelUnavailable`, which leaves it open."""
        ...


@runtime_checkable
class SupportsWindow(Protocol):
    """Optional ability: the backend knows how many tokens its model can see at once."""

    async def window(self) -> int | None:
        """Prompt and reply together; None where the server does not tell. Raises `ModelUnavailable`."""
        ...


@runtime_checkable
class SupportsSchema(Protocol):
    """Optional ability: the backend knows whether its server binds replies to a JSON schema."""

    async def binds_schema(self) -> bool:
        """Probe once per server and remember; True when `schema` is enforced by the server."""
        ...
