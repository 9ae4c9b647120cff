"""One model call as a run makes it: within the budget, retried, streamed into the log, counted.

A budget is kept to within one call: what is left is looked at before each call, the reply is capped to the tokens that
are left, and the seconds that are left are a deadline of the call itself. Source: contract §6 (promise 4); ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import anyio

from runtime.budget import Budget, Spent
from runtime.errors import BudgetExhausted, ModelError
from runtime.events import AnyPayload, BudgetWarning, LlmCall, ReasoningDelta, TextDelta, UsageData
from runtime.llm.base import LLM, CallInfo, Chunk, Reply
from runtime.llm.fold import Fold, closing
from runtime.retry import RetryPolicy
from runtime.telemetry import LlmCallSpan, span_llm_call
from runtime.types import JsonSchema, Message, Sampling, ToolSpec, Usage

Show = Literal["text", "reasoning", "none"]
Emit = Callable[[AnyPayload], Awaitable[None]]
Tell = Callable[[Chunk], None]
# Another way to the model than `LLM.stream`: a generation of a session, given what the budget leaves.
Via = Callable[[Sampling], AsyncIterator[Chunk]]
WARN_AT = 0.8


class Meter:
    """What a run has left. Shared by all its calls, also those that are under way at the same time."""

    def __init__(self, budget: Budget, spent: Spent) -> None:
        self._budget = budget
        self._spent = spent
        self._begin = time.monotonic()
        self._warned: set[str] = set()
        self._one_at_a_time = anyio.Lock()

    @property
    def spent(self) -> Spent:
        """Everything so far; `seconds` are those of this execution and of the calls of earlier ones."""
        return replace(self._spent, seconds=self._spent.seconds + time.monotonic() - self._begin)

    def take_call(self) -> None:
        """Count a call that is about to be made. Raises `BudgetExhausted` when there is nothing left for it."""
        spent = self.spent
        for name, used, limit in self._limits(spent):
            if used >= limit:
                raise BudgetExhausted(f"budget used up: {used:g} of {limit:g} {name}", limit=name)
        self._spent = replace(self._spent, calls=self._spent.calls + 1)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Surround a call. With a token budget calls are made one after the other: only then is it known what each
        may take, and the budget is kept to within one call."""
        if self._budget.tokens is None:
            yield
            return
        async with self._one_at_a_time:
            yield

    def add(self, usage: Usage) -> None:
        """Count the tokens of a call."""
        self._spent = replace(self._spent, tokens=self._spent.tokens + usage.total_tokens)

    def seconds_left(self) -> float | None:
        """Time until the run must stop; None without a limit."""
        return None if self._budget.seconds is None else max(0.0, self._budget.seconds - self.spent.seconds)

    def cap(self, sampling: Sampling) -> Sampling:
        """Lower `max_tokens` to what is left."""
        if self._budget.tokens is None:
            return sampling
        left = max(1, self._budget.tokens - self._spent.tokens)
        wanted = sampling.max_tokens
        return replace(sampling, max_tokens=left if wanted is None else min(wanted, left))

    def warnings(self) -> list[BudgetWarning]:
        """The limits that have just passed 80 %, each said once."""
        news: list[BudgetWarning] = []
        for name, used, limit in self._limits(self.spent):
            if used >= WARN_AT * limit and name not in self._warned:
                self._warned.add(name)
                news.append(BudgetWarning(limit=name, used=round(used, 3), of=limit))
        return news

    def _limits(self, spent: Spent) -> list[tuple[Literal["tokens", "calls", "seconds"], float, float]]:
        limits: list[tuple[Literal["tokens", "calls", "seconds"], float, float]] = []
        if self._budget.tokens is not None:
            limits.append(("tokens", spent.tokens, self._budget.tokens))
        if self._budget.calls is not None:
            limits.append(("calls", spent.calls, self._budget.calls))
        if self._budget.seconds is not None:
            limits.append(("seconds", spent.seconds, self._budget.seconds))
        return limits


class Caller:
    """Makes the calls of one step. `tell` hears what is shown and does not belong into the log token by token: the pieces
    of tool calls and the log probabilities of an answer."""

    def __init__(self, llm: LLM, meter: Meter, retry: RetryPolicy, emit: Emit, tell: Tell | None = None) -> None:
        self._llm = llm
        self._meter = meter
        self._retry = retry
        self._emit = emit
        self._tell = tell

    async def ask(
        self,
        *,
        purpose: str,
        run_id: str,
        messages: Sequence[Message],
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
        show: Show = "none",
        prompt_hash: str | None = None,
        via: Via | None = None,
    ) -> Reply:
        """One call and its `llm.call` event. Raises `ModelError`, `BudgetExhausted`.

        With `via` the chunks come from there; `messages` then only count where the server sends no usage.

        An answer of which nothing was shown yet is asked for again after a failure that may pass; one that broke off
        half-shown is not, because what was shown cannot be taken back.
        """
        async with self._meter.turn():
            with span_llm_call(purpose, self._llm.ref, run_id) as span:
                return await self._ask(span, purpose, run_id, messages, sampling, tools, schema, show, prompt_hash, via)

    async def _ask(
        self,
        span: LlmCallSpan,
        purpose: str,
        run_id: str,
        messages: Sequence[Message],
        sampling: Sampling,
        tools: Sequence[ToolSpec],
        schema: JsonSchema | None,
        show: Show,
        prompt_hash: str | None,
        via: Via | None,
    ) -> Reply:
        self._meter.take_call()
        begin = time.perf_counter()
        tries = 0
        shown = False
        first_ms: float | None = None

        async def once() -> Reply:
            nonlocal tries, shown, first_ms
            tries += 1
            fold = Fold(messages, tools, model=self._llm.ref)
            capped = self._meter.cap(sampling)
            stream: AsyncIterator[Chunk] = (
                via(capped)
                if via is not None
                else self._llm.stream(
                    messages, info=CallInfo(purpose, run_id), sampling=capped, tools=tools, schema=schema
                )
            )
            async with closing(stream):
                async for chunk in stream:
                    if first_ms is None:
                        first_ms = (time.perf_counter() - begin) * 1000
                    fold.add(chunk)
                    if show != "none":
                        shown = await self._show(chunk, show) or shown
            return fold.reply()

        reply: Reply | None = None
        failure: ModelError | None = None
        with anyio.move_on_after(self._meter.seconds_left()) as deadline:
            try:
                async for attempt in self._retry.attempts(lambda: not shown):
                    with attempt:
                        reply = await once()
            except ModelError as error:
                failure = error
        await self._emit(
            LlmCall(
                purpose=purpose,
                model=reply.model if reply else self._llm.ref,
                usage=_usage_data(reply.usage if reply else Usage()),
                cached_tokens=reply.usage.cached_tokens if reply else 0,
                ms=round((time.perf_counter() - begin) * 1000, 3),
                first_token_ms=None if first_ms is None else round(first_ms, 3),
                attempts=tries,
                finish_reason=reply.finish_reason if reply else None,
                prompt_hash=prompt_hash,
                estimated=reply.estimated if reply else False,
                error=failure.code if failure else ("budget_exhausted" if reply is None else None),
            )
        )
        if reply is not None:
            self._meter.add(reply.usage)
            span.finish(reply.usage, model=reply.model, finish_reason=reply.finish_reason, first_token_ms=first_ms)
        for warning in self._meter.warnings():
            await self._emit(warning)
        if failure is not None:
            raise failure
        if reply is None:
            assert deadline.cancelled_caught
            raise BudgetExhausted("budget used up: the seconds ran out during a model call", limit="seconds")
        return reply

    async def _show(self, chunk: Chunk, show: Show) -> bool:
        if chunk.reasoning:
            await self._emit(ReasoningDelta(text=chunk.reasoning))
        if chunk.text:
            await self._emit(TextDelta(text=chunk.text) if show == "text" else ReasoningDelta(text=chunk.text))
        if self._tell is not None and show == "text" and (chunk.tool_calls or chunk.logprobs):
            self._tell(chunk)
        return bool(chunk.text or chunk.reasoning or chunk.tool_calls)


def _usage_data(usage: Usage) -> UsageData:
    return UsageData(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
