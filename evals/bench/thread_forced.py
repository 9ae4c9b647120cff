"""A model server that computes every prompt while a script says what follows, and the books of a run.

Every call of an agent goes to the server for one token, which is thrown away; the text of the script stands in its place
and enters the sequence as prompt. So all ways to serve a tree see the same tokens, a long text costs no decoding, and what
was computed, cached and live is exact. The tokens that a model would have written count as prompt here, once each. Each
run begins with a line of its own: nothing of an earlier run is in the prefix cache. Source: ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from evals.bench.thread_script import Script
from runtime.llm.base import LLM, CallInfo, Chunk, SupportsWindow
from runtime.llm.estimate import estimate_tokens
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, ScriptedSession
from runtime.llm.sessions import Bound, Session, SessionCounts, Span, SupportsSessions
from runtime.types import JsonSchema, Message, Sampling, ToolSpec, Usage

BLOCK: Final = 32
ONE_TOKEN: Final = Sampling(max_tokens=1, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """Where a run stands after a call, in tokens since its beginning.

    `sent`: prompt tokens of all calls; `ideal`: what has to be computed of them with a cache of whole blocks that forgets
    nothing; `entered`: each token once, so the length of the whole context; `blocks`: as the server tells it, else as many
    as the peak fills. `seconds` are those of the server.
    """

    tools: int
    calls: int
    sent: int
    computed: int
    cached: int
    ideal: int
    entered: int
    peak: int
    blocks: int
    seconds: float


@dataclass
class Ledger:
    """The books of one run. `seconds` and `processor`: time for which the agent waited, here and at the server."""

    rows: list[Row] = field(default_factory=list)
    first: list[Message] = field(default_factory=list)
    prompts: list[tuple[int, ...]] = field(default_factory=list)
    tools: int = 0
    entered: int = 0
    ideal: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    _books: ScriptedEngine = field(
        default_factory=lambda: ScriptedEngine(lambda asked: "x", block_size=BLOCK, window=1 << 30)
    )

    def asks(self, ids: Sequence[int]) -> None:
        """Token ids that are about to be sent."""
        asked = Asked(CallInfo("", ""), tuple(ids), "", ONE_TOKEN, None)
        self.ideal += self._books.complete(asked).computed
        self.prompts.append(tuple(ids))

    def note(self, usage: Usage, *, peak: int, blocks: int | None = None) -> None:
        """A call that was answered."""
        was = self.rows[-1] if self.rows else Row(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0)
        most = max(was.peak, peak)
        held = max(was.blocks, -(-most // BLOCK) if blocks is None else blocks)
        computed = was.computed + usage.prompt_tokens - usage.cached_tokens
        sent, cached = was.sent + usage.prompt_tokens, was.cached + usage.cached_tokens
        self.rows.append(
            Row(self.tools, was.calls + 1, sent, computed, cached, self.ideal, self.entered, most, held, self.seconds)
        )

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time that is not the agent's own."""
        wall, processor = time.perf_counter(), time.thread_time()
        yield
        self.seconds += time.perf_counter() - wall
        self.processor += time.thread_time() - processor

    def at(self, tools: int) -> Row:
        """Where the run stood before the next tool call."""
        return [row for row in self.rows if row.tools <= tools][-1]


class Forced:
    """A model whose words are those of a script."""

    def __init__(self, inner: LLM, script: Script, ledger: Ledger, name: str) -> None:
        self._inner = inner
        self._script = script
        self._ledger = ledger
        self._name = name

    @property
    def ref(self) -> str:
        """See `LLM`."""
        return self._inner.ref

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """See `LLM`."""
        usage = await computed(self._inner, self._named(messages), info, self._ledger)
        text = self._script.reply()
        yield Chunk(text=text)
        usage = replace(usage, completion_tokens=estimate_tokens(text))
        yield Chunk(finish_reason="stop", usage=usage, model=self._name)

    @asynccontextmanager
    async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
        """See `SupportsSessions`."""
        assert isinstance(self._inner, SupportsSessions)
        async with self._inner.session(self._named(messages), info=info) as session:
            self._ledger.entered = len(session.ids)
            yield ForcedSession(session, self._script, self._ledger)

    async def window(self) -> int | None:
        """See `SupportsWindow`."""
        return await self._inner.window() if isinstance(self._inner, SupportsWindow) else None

    async def binds_schema(self) -> bool:
        """See `SupportsSchema`."""
        return True

    async def models(self) -> Sequence[str]:
        """See `LLM`."""
        return await self._inner.models()

    async def aclose(self) -> None:
        """Nothing: the inner model is its maker's."""

    def _named(self, messages: Sequence[Message]) -> list[Message]:
        self._ledger.first = self._ledger.first or [*messages]
        return named(messages, self._name)


def named(messages: Sequence[Message], name: str) -> list[Message]:
    """The messages with a first line of their own."""
    rules, *rest = messages
    return [Message(rules.role, f"Run {name}.\n{rules.text}"), *rest]


async def computed(llm: LLM, messages: Sequence[Message], info: CallInfo, ledger: Ledger) -> Usage:
    """Let the server compute a chat prompt; gives what it counted."""
    usage = Usage()
    with ledger.waiting():
        async with aclosing(cast(Any, llm.stream(messages, info=info, sampling=ONE_TOKEN))) as chunks:
            async for chunk in chunks:
                usage = chunk.usage or usage
    ledger.note(usage, peak=usage.prompt_tokens + 1)
    return usage


class Instant:
    """A model server that takes no time and keeps the books of one."""

    ref = "scripted/instant"

    def __init__(self, window: int = 8192) -> None:
        self._engine = ScriptedEngine(lambda asked: "x", block_size=BLOCK, window=window)
        self._window = window

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """See `LLM`."""
        session = ScriptedSession(self._engine, messages, self.ref)
        async for chunk in session.stream(info=info, sampling=sampling):
            yield chunk

    @asynccontextmanager
    async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
        """See `SupportsSessions`."""
        yield ScriptedSession(self._engine, messages, self.ref)

    async def window(self) -> int | None:
        """See `SupportsWindow`."""
        return self._window

    async def models(self) -> Sequence[str]:
        """See `LLM`."""
        return [self.ref]

    async def aclose(self) -> None:
        """Nothing."""


class ForcedSession:
    """A session in which the script writes."""

    def __init__(self, inner: Session, script: Script, ledger: Ledger) -> None:
        self._inner = inner
        self._script = script
        self._ledger = ledger

    @property
    def backend(self) -> Literal["resubmit", "in_engine"]:
        """See `Session`."""
        return self._inner.backend

    @property
    def window(self) -> int:
        """See `Session`."""
        return self._inner.window

    @property
    def ids(self) -> Sequence[int]:
        """See `Session`."""
        return self._inner.ids

    @property
    def counts(self) -> SessionCounts:
        """See `Session`."""
        return self._inner.counts

    async def encode(self, text: str) -> tuple[int, ...]:
        """See `Session`."""
        with self._ledger.waiting():
            return await self._inner.encode(text)

    def append(self, ids: Sequence[int]) -> Span:
        """See `Session`."""
        self._ledger.entered += len(ids)
        return self._inner.append(ids)

    def cut(self, span: Span) -> None:
        """See `Session`."""
        self._inner.cut(span)

    async def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        """See `Session`."""
        usage, sent = Usage(), self.ids
        with self._ledger.waiting():
            async with aclosing(cast(Any, self._inner.stream(info=info, sampling=ONE_TOKEN))) as chunks:
                async for chunk in chunks:
                    usage = chunk.usage or usage
            self._inner.cut(Span(len(sent), len(self.ids)))
            text = self._script.piece(bound)
            ids = await self._inner.encode(text)
            self._ledger.asks(sent)
        self._ledger.note(usage, peak=self.counts.peak, blocks=self.counts.blocks)
        self.append(ids)
        usage = replace(usage, completion_tokens=len(ids))
        yield Chunk(text=text, token_ids=ids, finish_reason="stop", usage=usage, model="scripted")
