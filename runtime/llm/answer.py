"""Reads the body of one chat completion: bytes in, chunks out, and a clear error when it is not a whole answer.

An answer is whole once its finish_reason came; what happens to the connection behind it is no matter. Source: ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import httpx2

from runtime import textsafe
from runtime.errors import MalformedReply, ModelError, ModelUnavailable
from runtime.llm.base import Chunk
from runtime.llm.faults import TRANSPORT_FAULTS, model_error
from runtime.llm.sse import SSEReader
from runtime.llm.wire import chunk_of, whole_chunk_of

_DONE = b"[DONE]"
# After its last event a server only has to end the body. Waiting that long for it keeps the connection usable.
_DRAIN_S = 0.1
_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for `server`: `timeout_s` for a whole answer, `idle_timeout_s` for each silence in it."""

    server: str
    timeout_s: float
    idle_timeout_s: float

    def error(self, error: Exception) -> ModelError:
        """The error of ours for a fault of the transport."""
        return model_error(error, server=self.server, idle_timeout_s=self.idle_timeout_s)


async def chunks(response: httpx2.Response, patience: Patience, *, started: float) -> AsyncIterator[Chunk]:
    """Yield the chunks of an open response; `started` is the `time.monotonic()` at which the request was made.

    Raises `ModelUnavailable` when the answer breaks off or takes too long, `MalformedReply` when it is not the
    protocol, and whatever error the server put into it.
    """
    body = _Body(response, patience, started + patience.timeout_s)
    if response.headers.get("content-type", "").startswith("application/json"):
        yield whole_chunk_of(_parse(await body.rest()))
        return
    reader, answered, done = SSEReader(), False, False
    while not done:
        received = await body.read()
        for data in reader.feed(received) if received else reader.finish():
            if data == _DONE:
                done = True
                break
            chunk = chunk_of(_parse(data))
            if chunk is not None:
                body.whole = body.whole or chunk.finish_reason is not None
                answered = answered or chunk.usage is None or body.whole
                yield chunk
        if not received:
            break
    if done and not answered:
        raise MalformedReply(f"model server {patience.server!r}: the answer has no choices; see its log")
    if done:
        await body.drain()
    if not body.whole:
        if not done:
            raise ModelUnavailable(
                f"model server {patience.server!r}: the stream ended before the answer did; see its log"
            )
        yield Chunk(finish_reason="stop")


class _Body:
    """The bytes of a response, each read within the time that is left."""

    def __init__(self, response: httpx2.Response, patience: Patience, deadline: float) -> None:
        self.whole = False
        self._parts = response.aiter_bytes()
        self._patience = patience
        self._deadline = deadline

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        left = self._deadline - time.monotonic()
        try:
            # The transport already ends a silence; only the last stretch needs a shorter limit of its own.
            if left > self._patience.idle_timeout_s:
                return await anext(self._parts, b"")
            with anyio.fail_after(left):
                return await anext(self._parts, b"")
        except TimeoutError as error:
            raise ModelUnavailable(
                f"model server {self._patience.server!r}: the answer was not whole after "
                f"{self._patience.timeout_s:g} s; raise llm.timeout_s or lower max_tokens"
            ) from error
        except TRANSPORT_FAULTS as error:
            if self.whole:
                return b""
            raise self._patience.error(error) from error

    async def rest(self) -> bytes:
        """All bytes to the end."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def drain(self) -> None:
        """Read to the end, so that the connection can be used again; if there is none soon, it is closed."""
        self.whole = True
        with anyio.move_on_after(_DRAIN_S):
            while await self.read():
                pass


def _parse(data: bytes) -> object:
    try:
        parsed: object = textsafe.loads(data.decode())
    except ValueError as error:
        raise MalformedReply(
            f"the model server's answer is not JSON ({error}): {data[:_SHOWN_BYTES]!r}; "
            "check that llm.base_url is an OpenAI-compatible server"
        ) from error
    return parsed
