"""The route of our own surfaces: knows the caller before it reads the body, reads JSON strictly, and says where a thing is
as the client sees it.

A body is JSON in valid UTF-8, announced as such, without NaN, and not nested without end; whatever else comes is a 4xx
that says so. Source: RFC 8259; ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any, Final, NoReturn

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.auth import identify
from api.errors import UnsupportedMediaType
from runtime.errors import InvalidInput

MAX_DEPTH: Final = 100
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """Use as `APIRouter(route_class=Route)`."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            request.state.caller = await identify(request)
            if takes_body:
                body = await request.body()
                if body:
                    _check_type(request)
                    # Where the framework would keep what it read itself.
                    request._json = read_json(body)
            response = await handler(request)
            place = response.headers.get("location", "")
            if place.startswith("/"):
                # Routes name it from the root of the application, which may be a sub-path of the host.
                response.headers["location"] = request.scope.get("root_path", "") + place
            return response

        return handle


def read_json(body: bytes) -> Any:
    """The value of a body. Raises `InvalidInput` that says where it is broken."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"\\ud" not in body and b"\\uD" not in body:
            raise InvalidInput(f"the body is not valid JSON in UTF-8: {error}", param="body") from error
        value = _read_surrogates(body)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} levels; send a flatter one", param="body")
    return value


def _read_surrogates(body: bytes) -> Any:
    # Half a surrogate pair, written as an escape, is JSON, and clients do send what a model wrote.
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not valid JSON in UTF-8: {error}", param="body") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _check_type(request: Request) -> None:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "application/octet-stream")
    subtype = message.get_content_subtype()
    if message.get_content_maintype() != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise UnsupportedMediaType(
            f"Content-Type {request.headers.get('content-type', '')!r}: expected application/json; send that header",
            param="Content-Type",
        )


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
