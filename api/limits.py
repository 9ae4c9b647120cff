"""Refuses a body that is larger than the service takes, by counting what comes and not by what was announced.

What is too much is still taken from the wire, up to a bound: a client that is refused while it sends would see a broken
connection instead of the answer. Source: ours.
"""

from __future__ import annotations

from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge, error_response

DRAINED_BYTES: Final = 64_000_000
DRAINED_S: Final = 10.0


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        text = f"the body is larger than {self._max_bytes} bytes; send less, or raise MNEME_SERVER__MAX_BODY_BYTES"
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await _drain(receive)
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            await error_response(path, 413, text, code=TooLarge.code)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_bytes:
                    if message.get("more_body"):
                        await _drain(receive)
                    raise TooLarge(text)
            return message

        await self._app(scope, counted, send)


async def _drain(receive: Receive) -> None:
    taken = 0
    with anyio.move_on_after(DRAINED_S):
        while taken < DRAINED_BYTES:
            message = await receive()
            taken += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return
