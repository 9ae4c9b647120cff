"""Events to server-sent frames: `id` is the sequence number, so that a client that reconnects goes on where it was.

Source: WHATWG HTML, server-sent events; contract §4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import orjson
from fastapi import Request
from starlette.responses import StreamingResponse

from runtime.errors import InvalidInput
from runtime.events import Event

KEEP_ALIVE_S = 15.0
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def frame(event: Event) -> bytes:
    """One event as one frame."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), orjson.dumps(event.wire()))


def last_event_id(request: Request, after: int) -> int:
    """Where the client stands: its `Last-Event-ID`, else the `after` of the query. Raises `InvalidInput`."""
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return after
    if not given.isdigit() or len(given) > 18:
        raise InvalidInput(f"Last-Event-ID {given!r}: expected the number of an event", param="Last-Event-ID")
    return int(given)


async def keep_alive(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The frames, and a comment when there is none for a while, so that proxies do not close the connection."""
    send, receive = anyio.create_memory_object_stream[bytes](16)

    async def pump() -> None:
        async with send:
            async for item in frames:
                await send.send(item)

    async with anyio.create_task_group() as tasks, receive:
        tasks.start_soon(pump)
        while True:
            item: bytes | None = None
            try:
                with anyio.move_on_after(KEEP_ALIVE_S):
                    item = await receive.receive()
            except anyio.EndOfStream:
                return
            yield b": still here\n\n" if item is None else item


def event_stream(frames: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> StreamingResponse:
    """A response of frames."""
    return StreamingResponse(frames, media_type="text/event-stream", headers={**HEADERS, **(headers or {})})
