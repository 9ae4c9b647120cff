"""Folds the chunks of one stream into a `Reply`. Source: style sheet §5 (`complete(llm, …)` folds `stream()`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, cast

from runtime.llm.base import LLM, CallInfo, Chunk, Reply
from runtime.llm.estimate import estimate_usage
from runtime.types import FinishReason, JsonSchema, Message, Sampling, ToolCall, ToolSpec, Usage


class Fold:
    """Takes chunks in order; `reply()` is what they make up so far, and may be asked at any time."""

    def __init__(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), *, model: str = "") -> None:
        self._messages = messages
        self._tools = tools
        self._model = model
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._token_ids: list[int] = []
        self._finish: FinishReason = "stop"
        self._usage: Usage | None = None
        self.empty = True

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        self.empty = False
        if chunk.text:
            self._text.append(chunk.text)
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        self._token_ids.extend(chunk.token_ids)
        for delta in chunk.tool_calls:
            call = self._calls.setdefault(delta.index, ["", "", ""])
            call[0] = call[0] or delta.id or ""
            call[1] = call[1] or delta.name or ""
            call[2] += delta.arguments
        if chunk.logprobs is not None:
            self._add_logprobs(chunk.logprobs)
        if chunk.finish_reason is not None:
            self._finish = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.model is not None:
            self._model = chunk.model

    def reply(self) -> Reply:
        """The answer so far. Without a usage from the server the counts are estimated."""
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        calls = tuple(ToolCall(*self._calls[index]) for index in sorted(self._calls))
        usage = self._usage or estimate_usage(
            self._messages,
            self._tools,
            text=text,
            reasoning=reasoning,
            arguments="".join(call.name + call.arguments for call in calls),
        )
        return Reply(
            text=text,
            reasoning=reasoning,
            tool_calls=calls,
            finish_reason=self._finish,
            usage=usage,
            model=self._model,
            estimated=self._usage is None,
            logprobs=cast(Mapping[str, object], self._logprobs) if self._logprobs else None,
            token_ids=tuple(self._token_ids),
        )

    def _add_logprobs(self, logprobs: Mapping[str, object]) -> None:
        # The protocol's object holds one list per kind of output (`content`, `refusal`), one entry per token.
        for kind, tokens in logprobs.items():
            if isinstance(tokens, list):
                self._logprobs.setdefault(kind, []).extend(tokens)


def closing(stream: AsyncIterator[Chunk]) -> AbstractAsyncContextManager[object]:
    """`async with` that closes the stream, and with it the HTTP call, however it is left."""
    return aclosing(stream) if isinstance(stream, AsyncGenerator) else nullcontext()


async def complete(
    llm: LLM,
    messages: Sequence[Message],
    *,
    info: CallInfo,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    tools: Sequence[ToolSpec] = (),
    schema: JsonSchema | None = None,
) -> Reply:
    """One whole answer, without retries, budget or log. Raises `ModelError`s."""
    fold = Fold(messages, tools, model=llm.ref)
    stream = llm.stream(messages, info=info, sampling=sampling, tools=tools, schema=schema)
    async with closing(stream):
        async for chunk in stream:
            fold.add(chunk)
    return fold.reply()
