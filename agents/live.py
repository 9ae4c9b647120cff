"""What a caller that waits for a run hears while it happens: every payload at once, before it is in the log.

Memory stays bounded by what the run emits; a listener that goes away closes nothing by itself, `Service.cancel` does.
Source: ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from runtime.events import AnyPayload, LlmCall, RunCancelledEvent, RunFailed, RunFinished
from runtime.types import Usage

End = RunFinished | RunFailed | RunCancelledEvent


class LiveRun:
    """One foreground run, heard by one listener."""

    def __init__(self, run_id: str, model: str) -> None:
        self.run_id = run_id
        self.model = model
        self.usage = Usage()
        self.end: End | None = None
        self._waiting: deque[AnyPayload] = deque()
        self._news = asyncio.Event()

    def hear(self, payload: AnyPayload, step: str | None) -> None:
        """Take a payload from the recorder."""
        if isinstance(payload, LlmCall):
            self.usage += Usage(
                payload.usage.prompt_tokens,
                payload.usage.completion_tokens,
                payload.cached_tokens,
                payload.usage.reasoning_tokens,
            )
        self._waiting.append(payload)
        self._news.set()

    def close(self, end: End) -> None:
        """Say how it ended; the first word counts."""
        if self.end is None:
            self.end = end
            self._news.set()

    async def items(self) -> AsyncIterator[AnyPayload]:
        """Yield payloads as they come; the last one is the end of the run."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self.end is not None:
                yield self.end
                return
            self._news.clear()
            await self._news.wait()
