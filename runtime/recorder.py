"""The pen of one execution: puts the run's events into the log in order, few commits, nothing twice.

Token deltas are coalesced and everything that is not yet written goes out at most `flush_s` later, or with the next
finished step in the same transaction. Live listeners of this process hear a payload at once, before it is written.
When the log refuses (disk full, run taken over, cancel asked for) the execution is stopped through its cancel scope and
`failure` says why. Source: ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from pydantic import JsonValue

from runtime.errors import MnemeError
from runtime.events import (
    AnyPayload,
    Event,
    ReasoningDelta,
    RunCancelledEvent,
    RunFailed,
    RunFinished,
    TextDelta,
)
from runtime.llm.base import Chunk
from runtime.metrics import metrics
from runtime.runs import Claim, RunStore

Item = tuple[AnyPayload, str | None]
Listener = Callable[[AnyPayload | Chunk, str | None], None]
OnCommit = Callable[[Sequence[Event]], None]


class Recorder:
    """Writes for one claim of one run. Use `async with`; leaving it writes what is left."""

    def __init__(
        self,
        store: RunStore,
        claim: Claim,
        *,
        flush_s: float,
        on_commit: OnCommit,
        listener: Listener | None = None,
    ) -> None:
        self.failure: MnemeError | None = None
        self._store = store
        self._run_id = claim.record.id
        self._epoch = claim.epoch
        self._flush_s = flush_s
        self._on_commit = on_commit
        self._listener = listener
        self._buffer: list[Item] = []
        self._last_of: dict[str | None, int] = {}
        self._lock = anyio.Lock()
        self._wake = anyio.Event()

    async def emit(self, payload: AnyPayload, step: str | None = None) -> None:
        """Take a payload; it is in the log at most `flush_s` later."""
        if self.failure is not None:
            raise self.failure
        if self._listener is not None:
            self._listener(payload, step)
        if not self._merge(payload, step):
            self._last_of[step] = len(self._buffer)
            self._buffer.append((payload, step))
        self._wake.set()

    def tell(self, chunk: Chunk, step: str) -> None:
        """Pass a piece on to the live listener only: what it becomes is in the log as a whole, later."""
        if self._listener is not None:
            self._listener(chunk, step)

    async def finish_step(self, key: str, output: JsonValue) -> None:
        """Commit everything taken so far together with the step's output."""

        async def commit(items: list[Item]) -> list[Event]:
            return await self._store.finish_step(self._run_id, self._epoch, key, output, items)

        await self._write(commit)

    async def finish(self, payload: RunFinished | RunFailed | RunCancelledEvent) -> None:
        """Commit everything taken so far together with the end of the run."""

        async def commit(items: list[Item]) -> list[Event]:
            return await self._store.finish(self._run_id, self._epoch, payload, items=items)

        await self._write(commit)

    async def flush(self) -> None:
        """Commit everything taken so far."""

        async def commit(items: list[Item]) -> list[Event]:
            return await self._store.append(self._run_id, self._epoch, items) if items else []

        await self._write(commit)

    async def keep_flushing(self, scope: anyio.CancelScope) -> None:
        """Flush until cancelled. When the log refuses, remember why and cancel `scope`, the one the agent runs in."""
        while True:
            await self._wake.wait()
            await anyio.sleep(self._flush_s)
            self._wake = anyio.Event()
            try:
                await self.flush()
            except MnemeError as error:
                self.failure = error
                scope.cancel()
                return

    async def _write(self, commit: Callable[[list[Item]], Awaitable[list[Event]]]) -> None:
        # The lock keeps the order of the log; the shield keeps a cancelled agent from tearing a commit.
        async with self._lock:
            items, self._buffer, self._last_of = self._buffer, [], {}
            with anyio.CancelScope(shield=True), metrics.append_seconds.time():
                events = await commit(items)
        if events:
            self._on_commit(events)

    def _merge(self, payload: AnyPayload, step: str | None) -> bool:
        # Steps run side by side, so a delta joins the last event of its own step, not the last of all.
        at = self._last_of.get(step)
        if at is None or not isinstance(payload, TextDelta | ReasoningDelta):
            return False
        last = self._buffer[at][0]
        if isinstance(last, TextDelta) and isinstance(payload, TextDelta):
            self._buffer[at] = (TextDelta(text=last.text + payload.text), step)
            return True
        if isinstance(last, ReasoningDelta) and isinstance(payload, ReasoningDelta):
            self._buffer[at] = (ReasoningDelta(text=last.text + payload.text), step)
            return True
        return False
