"""The live tokens of a session and what they have cost: the part that every `Session` has in common. Pure. Source: ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtime.llm.sessions import SessionCounts, Span
from runtime.types import Usage


class LiveTokens:
    """Token ids that are appended, cut out and counted."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._ids = list(prompt)
        self._counts = SessionCounts(live=len(self._ids), peak=len(self._ids))

    @property
    def ids(self) -> Sequence[int]:
        """See `Session`."""
        return tuple(self._ids)

    @property
    def counts(self) -> SessionCounts:
        """See `Session`."""
        return self._counts

    def append(self, ids: Sequence[int]) -> Span:
        """See `Session`."""
        start = len(self._ids)
        self._ids.extend(ids)
        self._count(len(self._ids))
        return Span(start, len(self._ids))

    def cut(self, span: Span) -> None:
        """See `Session`."""
        if not 0 <= span.start <= span.end <= len(self._ids):
            raise ValueError(f"span {tuple(span)!r}: expected one within the {len(self._ids)} live tokens")
        if span.start < span.end:
            moved = len(self._ids) - span.end
            del self._ids[span.start : span.end]
            self._counts = replace(self._counts, reencoded=self._counts.reencoded + moved)
            self._count(len(self._ids))

    def wrote(self, kept: Sequence[int], usage: Usage, *, blocks: int | None = None) -> None:
        """Take the ids of a generation that stay, what it took, and how many blocks of the KV cache were held for it."""
        self._count(len(self._ids) + usage.completion_tokens)
        self._ids.extend(kept)
        was = self._counts
        self._counts = replace(
            was,
            computed=was.computed + max(0, usage.prompt_tokens - usage.cached_tokens),
            cached=was.cached + usage.cached_tokens,
            generated=was.generated + usage.completion_tokens,
            blocks=was.blocks if blocks is None else max(was.blocks or 0, blocks),
        )
        self._count(len(self._ids))

    def fell_back(self) -> None:
        """Count that the sequence had to be sent anew."""
        self._counts = replace(self._counts, fallbacks=self._counts.fallbacks + 1)

    def _count(self, most: int) -> None:
        self._counts = replace(self._counts, live=len(self._ids), peak=max(self._counts.peak, most))
