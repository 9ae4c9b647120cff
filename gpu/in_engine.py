"""A session whose tokens the server holds: only what is new is sent, and a cut frees blocks in place (A2).

The server is vLLM with our plug-in (gpu/vllm_plugin). It may drop a session at any time: after a time of silence, or when it
is restarted. It then says so (409, 503, no connection), and everything is sent anew and for the rest of the session over the
public API, which gives the same tokens. Stop strings and penalties are for that way alone. Of an answer that breaks off the
server keeps nothing, so it can be asked for again.
Source: vllm §4.1, §4.5.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import anyio

from gpu.session_wire import Written, bound_body, sampling_body
from gpu.sessions import Resubmitted
from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.fold import closing
from runtime.llm.sessions import Bound, Span
from runtime.llm.wire import raise_error
from runtime.types import Sampling, Usage

if TYPE_CHECKING:
    from gpu.sessions import VLLM

# What says that the server does not have the session, or has no sessions any more.
GONE = frozenset({404, 409, 410})
LEAVE_S = 2.0


class Held(Resubmitted):
    """A session that the server holds until it drops it."""

    def __init__(self, server: VLLM, prompt: Sequence[int], window: int) -> None:
        super().__init__(server, prompt, window)
        self._path = f"{server.root}/mneme/sessions/{secrets.token_hex(12)}"
        # How many tokens the server has, and how many of them are still the first of ours.
        self._holds = 0
        self._same = 0
        self._made = False
        self._gone = False

    @property
    def backend(self) -> Literal["resubmit", "in_engine"]:
        """See `Session`."""
        return "resubmit" if self._gone else "in_engine"

    def cut(self, span: Span) -> None:
        """See `Session`."""
        super().cut(span)
        if span.start < span.end:
            self._same = min(self._same, span.start)

    async def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        """See `Session`."""
        if not self._gone and (sampling.stop or sampling.presence_penalty or sampling.frequency_penalty):
            self._fall_back()
            await self.leave()
        if not self._gone:
            began = False
            try:
                async with aclosing(self._held_stream(info, sampling, bound)) as chunks:
                    async for chunk in chunks:
                        began = True
                        yield chunk
                return
            except (ModelRejected, ModelOverloaded, ModelUnavailable) as error:
                if began or not _says_gone(error):
                    raise
                self._fall_back()
        async with closing(anew := super().stream(info=info, sampling=sampling, bound=bound)):
            async for chunk in anew:
                yield chunk

    async def leave(self) -> None:
        """Let the server free what it holds. One that cannot be reached frees it after its time of silence."""
        if self._made:
            self._made = False
            with anyio.move_on_after(LEAVE_S, shield=True), contextlib.suppress(ModelError):
                await self._server.exchange("DELETE", self._path.removeprefix(self._server.root))

    async def _held_stream(
        self, info: CallInfo, sampling: Sampling, bound: Bound | None
    ) -> AsyncGenerator[Chunk, None]:
        limit, new = self._room(sampling), list(self._ids[self._same :])
        truncate = self._same if self._same < self._holds else None
        wants = {"max_tokens": limit, "stop_token_ids": [], **sampling_body(sampling)}
        form = bound_body(bound).get("structured_outputs")

        def body_for(model: str) -> dict[str, Any]:
            return {"truncate_to": truncate, "append": new, "holds": self._holds, "sampling": wants, "bound": form}

        written = _Events()
        self._made = True
        async with aclosing(self._pieces(f"{self._path}/generate", body_for, info, written)) as pieces:
            async for piece in pieces:
                yield piece
        rest = await written.rest(self.encode)
        usage = Usage(written.computed + written.cached, written.generated, written.cached)
        self.wrote(written.kept, usage, blocks=written.blocks)
        self._holds = written.live
        self._same = min(written.live, len(self._ids))
        yield replace(rest, usage=usage)

    def _fall_back(self) -> None:
        self._gone = True
        self.fell_back()


class _Events(Written):
    """Reads the plug-in's events: ids with their text, then how it ended and what it took."""

    def __init__(self) -> None:
        super().__init__()
        self.computed = self.cached = self.blocks = self.live = 0

    def read(self, event: object) -> Chunk | None:
        """Take an event. The plug-in has already left the end-of-text token out of the ids."""
        if not isinstance(event, dict):
            raise MalformedReply(f"model server: expected an object as an event of a session, got {event!r:.200}")
        if event.get("error"):
            raise_error(event["error"])
        if "finish" not in event:
            self.take(event.get("text") or "", tuple(event.get("ids") or ()), None)
            return Chunk(text="-")
        self._finish = "length" if event["finish"] == "length" else "stop"
        self.computed, self.cached, self.blocks, self.live = (
            int(event.get(name) or 0) for name in ("computed", "cached", "blocks", "live")
        )
        return Chunk(finish_reason=self._finish)


def _says_gone(error: ModelError) -> bool:
    if isinstance(error, ModelRejected):
        return error.status in GONE
    return isinstance(error, ModelUnavailable) or (isinstance(error, ModelOverloaded) and error.status == 503)
