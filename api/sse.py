"""Server-sent events: frames, ids, replay, and the response that carries them.

`id` is the sequence number of an event, so that a client that reconnects goes on where it was. A stream ends with its
frames or when the client goes away, whichever is first, and says something at least every `KEEP_ALIVE_S` so that proxies
do not close it. Source: WHATWG HTML, server-sent events; contract §4.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

import anyio
from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.answers import json_bytes
from runtime.errors import InvalidInput, MnemeError
from runtime.events import Event

KEEP_ALIVE_S: Final = 15.0
KEEP_ALIVE: Final = b": still here\n\n"
HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def frame(event: Event) -> bytes:
    """One event as one frame."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), json_bytes(event.wire()))


def last_event_id(request: Request, after: int) -> int:
    """Where the client stands: its `Last-Event-ID`, else the `after` of the query. Raises `InvalidInput`."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return after
    if not (given.isascii() and given.isdecimal()) or len(given) > 18:
        raise InvalidInput(f"Last-Event-ID {given!r}: expected the number of an event", param="Last-Event-ID")
    return int(given)


async def gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """A response of frames. The generator is closed when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers={**HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._frames) as frames, anyio.create_task_group() as tasks:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

            async def watch() -> None:
                await gone(receive)
                tasks.cancel_scope.cancel()

            async def keep_alive() -> None:
                while True:
                    await anyio.sleep(KEEP_ALIVE_S)
                    await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})

            tasks.start_soon(watch)
            tasks.start_soon(keep_alive)
            try:
                async for one in frames:
                    await send({"type": "http.response.body", "body": one, "more_body": True})
            except MnemeError as error:
                # The status has gone out; the stream itself must say that it ends early, and why.
                problem = b"event: problem\ndata: %s\n\n" % json_bytes({"code": error.code, "detail": error.message})
                await send({"type": "http.response.body", "body": problem, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()
