"""What a generation over vLLM's completions route is asked with and what comes back: bodies, and events to ids and text.

The end-of-text token is among the ids of the last event and is told by a `stop` without a reason or with a number as the
reason; it is dropped. Ids at the end that gave no text (half a character, a special token) are dropped as well, so that ids
and text say the same. With stop strings the server is asked to leave the string in its answer: then every event has the
text of its own ids, and the piece in which the string begins is cut there and encoded anew. A regular expression or grammar
that ends where the text is to end needs no such repair. Source: vllm §4; the shapes after vLLM 0.32.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runtime.errors import MalformedReply
from runtime.llm.base import Chunk
from runtime.llm.sessions import Bound
from runtime.llm.wire import chunk_of
from runtime.types import FinishReason, Sampling, Usage

_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


class Written:
    """What one generation has written so far: reads the events of its stream, gives out what can no longer change."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._hold = max((len(stop) for stop in stops), default=0)
        self._pieces: list[tuple[str, tuple[int, ...]]] = []
        self._given = 0
        self._pending: tuple[int, ...] = ()
        self._stop_reason: object = None
        self._finish: FinishReason = "stop"
        self._model: str | None = None
        self.usage: Usage | None = None
        self.generated = 0
        self.kept: list[int] = []

    def read(self, event: object) -> Chunk | None:
        """Take an event of `/v1/completions` with `return_token_ids`."""
        if isinstance(event, dict) and event.get("choices"):
            choice = event["choices"][0]
            self._stop_reason = choice.get("stop_reason") or self._stop_reason
            found = chunk_of({**event, "choices": [{**choice, "delta": {"content": choice.get("text")}}]})
            if found is not None and found.usage is not None:
                self.usage = found.usage
            finish, model = (found.finish_reason, found.model) if found else (None, None)
            self.take(choice.get("text") or "", ids_of(choice.get("token_ids") or []), finish)
            self._model = model or self._model
            return found or Chunk()
        found = chunk_of(event)
        if found is not None and found.usage is not None:
            self.usage = found.usage
        return found

    def take(self, text: str, ids: tuple[int, ...], finish: FinishReason | None) -> None:
        """Take what came: ids with their text, and how it ended."""
        self.generated += len(ids)
        if finish is not None:
            self._finish = finish
            if finish == "stop" and not isinstance(self._stop_reason, str):
                ids = ids[:-1]
        self._pending += ids
        if text:
            self._pieces.append((text, self._pending))
            self._pending = ()

    def ready(self) -> list[Chunk]:
        """The pieces that no stop string can reach any more, each once; the last one is always kept back."""
        out: list[Chunk] = []
        behind = sum(len(text) for text, _ in self._pieces[self._given :])
        while self._given < len(self._pieces) - 1:
            text, ids = self._pieces[self._given]
            behind -= len(text)
            if behind < self._hold:
                break
            out.append(Chunk(text=text, token_ids=ids))
            self.kept.extend(ids)
            self._given += 1
        return out

    async def rest(self, encode: Callable[[str], Awaitable[tuple[int, ...]]]) -> Chunk:
        """The last piece, after the end of the stream; what lies behind a stop string is gone."""
        whole = "".join(text for text, _ in self._pieces)
        end = len(whole)
        if isinstance(self._stop_reason, str) and self._stop_reason in whole:
            end = whole.rindex(self._stop_reason)
        at = sum(len(text) for text, _ in self._pieces[: self._given])
        said, ids = "", list[int]()
        for text, own in self._pieces[self._given :]:
            left = end - at
            at += len(text)
            if left <= 0:
                break
            said += text[:left]
            ids.extend(own if left >= len(text) else await encode(text[:left]))
        self.kept.extend(ids)
        return Chunk(text=said, token_ids=tuple(ids), finish_reason=self._finish, model=self._model)


def sampling_body(sampling: Sampling) -> dict[str, Any]:
    """How to sample, as both ways of a session send it."""
    return {name: getattr(sampling, name) for name in _SAMPLING if getattr(sampling, name) is not None}


def bound_body(bound: Bound | None) -> dict[str, Any]:
    """The `structured_outputs` of a request. Raises `ValueError` unless exactly one kind is given."""
    if bound is None:
        return {}
    kinds = {"json": bound.json, "regex": bound.regex, "grammar": bound.grammar}
    given = {name: value for name, value in kinds.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"bound {bound!r}: expected exactly one of json, regex and grammar")
    return {"structured_outputs": given}


def ids_of(found: object) -> tuple[int, ...]:
    """Token ids from a server. Raises `MalformedReply` for anything else."""
    if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
        raise MalformedReply(f"model server: expected a list of token ids, got {found!r:.200}; sessions need vLLM")
    return tuple(found)
