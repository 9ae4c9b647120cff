"""Working memory as token ids: the contract between an agent and a model server that can go on where it stopped.

A session is one sequence of token ids that only the caller changes: text is encoded and put at its end, the model writes
on behind it, a range in the middle is cut out. What was generated stays as the ids that the model chose; nothing is
encoded twice. Whether the server keeps the keys and values of the sequence itself (`in_engine`) or finds them again
through its prefix cache (`resubmit`) is its matter: the same calls give the same tokens. Source: vllm §4; ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from runtime.llm.base import CallInfo, Chunk
from runtime.types import JsonObject, Message, Sampling


class Span(NamedTuple):
    """The live tokens `start` to `end`, the end not among them."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What a generation must fit: a JSON schema, a regular expression or an EBNF grammar; exactly one of them."""

    json: JsonObject | None = None
    regex: str | None = None
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """What a session has cost so far, in tokens.

    `computed`: prompt tokens that the server had to compute, `cached`: those it still had; `generated`: what the model
    wrote; `reencoded`: live tokens that stood behind a cut and moved; `peak`: the most that was live at once. `blocks`: the
    most blocks of the KV cache that were held, None where the server does not tell. `fallbacks`: how often the sequence
    had to be sent anew because the server had dropped it.
    """

    live: int = 0
    peak: int = 0
    computed: int = 0
    cached: int = 0
    generated: int = 0
    reencoded: int = 0
    blocks: int | None = None
    fallbacks: int = 0


class Session(Protocol):
    """One sequence. Not for two tasks at once. Everything raises `ModelError`s only."""

    @property
    def backend(self) -> Literal["resubmit", "in_engine"]: ...

    @property
    def window(self) -> int:
        """How many live tokens the model can have, those that are being generated among them."""
        ...

    @property
    def ids(self) -> Sequence[int]:
        """The live token ids, the prompt's first."""
        ...

    @property
    def counts(self) -> SessionCounts: ...

    async def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text as it stands inside a sequence: no special tokens are added."""
        ...

    def append(self, ids: Sequence[int]) -> Span:
        """Put ids at the end; they are computed with the next generation."""
        ...

    def cut(self, span: Span) -> None:
        """Take a range out; what stands behind it moves up. Raises `ValueError` for a range that is not there."""
        ...

    def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        """Let the model write on. `Chunk.token_ids` are the ids of the piece; the last chunk has the usage.

        When the stream is read to its end, the ids stand at the end of the sequence; the end-of-text token does not. A
        stream that breaks off leaves the sequence as it was. `sampling.stop` may name strings: the text ends before one.
        """
        ...


@runtime_checkable
class SupportsSessions(Protocol):
    """Optional ability of an `LLM`, found with isinstance."""

    def session(self, messages: Sequence[Message], *, info: CallInfo) -> AbstractAsyncContextManager[Session]:
        """Open a session that begins with the messages, put into the model's chat template up to where its answer begins.

        Raises `ModelUnavailable`, and `ModelRejected` when the server does not take token ids.
        """
        ...
