"""JSON as an answer. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from runtime import textsafe


def json_bytes(value: object) -> bytes:
    """The value as JSON; text that no encoding can carry (half a surrogate pair) goes as its escape."""
    return textsafe.dumps(value).encode()


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json_bytes(value), status, dict(headers or {}), "application/json")
