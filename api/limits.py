"""Refuses a body that is larger than the service takes, by counting what comes and not by what was announced.

Source: ours.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge, error_response


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
            headers = {"Connection": "close"}
            response = error_response(scope["path"], 413, text, code=TooLarge.code, headers=headers)
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_bytes:
                    raise TooLarge(text)
            return message

        await self._app(scope, counted, send)
