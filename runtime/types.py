"""Values every layer shares: messages, tool calls, sampling, usage. Frozen, without behaviour of their own.

The shapes follow the OpenAI chat protocol, because that is what comes in at the top and goes out at the bottom.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import JsonValue

JsonObject = dict[str, JsonValue]
Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model asks for. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `content` is text, or the list of content parts of the OpenAI protocol, or None."""

    role: Role
    content: str | list[JsonObject] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of the message: parts that are not text are left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content or [] if part.get("type") == "text")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A schema-bound reply. `name` is the purpose with dots as underscores (contract §5)."""

    name: str
    schema: JsonObject
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model samples; None leaves the choice to the server. `extra` goes into the request body as it is."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: JsonObject | None = None
    extra: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call or of a sum of calls. `cached` and `reasoning` are parts of the first two."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )
