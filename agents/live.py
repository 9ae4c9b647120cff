"""What a caller that waits for a run hears while it happens: every payload at once, before it is in the log.

Steps that run side by side would speak over each other, so their reasoning is put in order here: one step speaks, the
others are heard when it has finished. Source: ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import anyio

from runtime.events import (
    AnyPayload,
    LlmCall,
    ReasoningDelta,
    RunCancelledEvent,
    RunFailed,
    RunFinished,
    StepCompleted,
    TextDelta,
)
from runtime.llm.base import Chunk
from runtime.types import Usage

End = RunFinished | RunFailed | RunCancelledEvent


class LiveRun:
    """One foreground run, heard by one listener."""

    def __init__(self, run_id: str, model: str) -> None:
        self.run_id = run_id
        self.model = model
        self.usage = Usage()
        self.end: End | None = None
        self.showed_text = False
        self.showed_calls = False
        self.showed_logprobs = False
        self._reasoning: list[str] = []
        self._text: list[str] = []
        self._told_end = False
        self._speaker: str | None = None
        self._held: dict[str, list[ReasoningDelta]] = {}
        self._finished: set[str] = set()
        self._waiting: deque[AnyPayload | Chunk] = deque()
        self._news = asyncio.Event()

    @property
    def reasoning(self) -> str:
        """Everything that was said as reasoning so far."""
        return "".join(self._reasoning)

    @property
    def text(self) -> str:
        """Everything that was said as the answer so far."""
        return "".join(self._text)

    def hear(self, payload: AnyPayload | Chunk, step: str | None) -> None:
        """Take a payload from the recorder, or a piece of an answer that is not in the log by itself."""
        if isinstance(payload, Chunk):
            self.showed_calls = self.showed_calls or bool(payload.tool_calls)
            self.showed_logprobs = self.showed_logprobs or bool(payload.logprobs)
            self._waiting.append(payload)
            self._news.set()
            return
        if isinstance(payload, ReasoningDelta) and step is not None:
            if self._speaker is None:
                self._speaker = step
                if self._reasoning:
                    self._tell(ReasoningDelta(text="\n\n"))
            if step != self._speaker:
                self._held.setdefault(step, []).append(payload)
                return
        if isinstance(payload, LlmCall):
            self.usage += Usage(
                payload.usage.prompt_tokens,
                payload.usage.completion_tokens,
                payload.cached_tokens,
                payload.usage.reasoning_tokens,
            )
        self._tell(payload)
        if isinstance(payload, StepCompleted):
            self._finished.add(payload.name)
            self._pass_on()

    def close(self, end: End) -> None:
        """Say how it ended; the first word counts."""
        if self.end is None:
            self._finished.update(self._held, {self._speaker or ""})
            self._pass_on()
            self.end = end
            self._news.set()

    async def items(self) -> AsyncIterator[AnyPayload | Chunk]:
        """Yield payloads and pieces as they come; the last one is the end of the run."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self.end is not None:
                yield self.end
                return
            self._news.clear()
            await self._news.wait()

    async def news(self, timeout_s: float) -> list[AnyPayload | Chunk]:
        """Everything since the last call, at least one payload unless `timeout_s` passes before it comes.

        The end is the last payload of the last list; call no more behind it. Unlike `items` this may be cancelled and
        called again, and whoever writes it on can write many payloads at once.
        """
        if not self._waiting and self.end is None:
            self._news.clear()
            with anyio.move_on_after(timeout_s):
                await self._news.wait()
        news = list(self._waiting)
        self._waiting.clear()
        if self.end is not None and not self._told_end:
            self._told_end = True
            news.append(self.end)
        return news

    def _pass_on(self) -> None:
        """Let the next step speak for as long as the one that spoke has finished."""
        while self._speaker in self._finished:
            self._speaker = next(iter(self._held), None)
            if self._speaker is not None:
                self._tell(ReasoningDelta(text="\n\n"))
                for payload in self._held.pop(self._speaker):
                    self._tell(payload)

    def _tell(self, payload: AnyPayload) -> None:
        if isinstance(payload, ReasoningDelta):
            self._reasoning.append(payload.text)
        elif isinstance(payload, TextDelta):
            self.showed_text = True
            self._text.append(payload.text)
        self._waiting.append(payload)
        self._news.set()
