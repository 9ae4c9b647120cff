"""Errors to status and body: OpenAI's envelope under /v1, RFC 9457 problem+json everywhere else. Only this module knows
status codes. Source: contract §4; ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.answers import json_bytes
from api.web.render import error_page, wants_json
from memory.jobs import TooManyJobs
from runtime.errors import InvalidInput, MnemeError, ModelOverloaded, ModelRejected, Stale
from runtime.telemetry import get_logger

STATUS: Mapping[str, int] = {
    "invalid_input": 400,
    "not_found": 404,
    "gone": 410,
    "conflict": 409,
    "stale": 412,
    "precondition_required": 428,
    "invalid_transition": 409,
    "too_many_jobs": 429,
    "invalid_api_key": 401,
    "forbidden": 403,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_mismatch": 422,
    "model_error": 502,
    "model_unavailable": 503,
    "model_overloaded": 503,
    "model_rejected": 400,
    "malformed_reply": 502,
    "context_overflow": 400,
    "storage_error": 503,
    "sandbox_unavailable": 503,
    "budget_exhausted": 402,
    "cancelled": 499,
    "interrupted": 503,
    "engine_error": 503,
}
TITLES: Mapping[int, str] = {
    400: "Bad request",
    401: "Not authenticated",
    402: "Budget used up",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    412: "Changed since you read it",
    413: "Request too large",
    415: "Unsupported media type",
    422: "Cannot be processed",
    428: "Say which version you saw",
    429: "Too many at once",
    499: "Cancelled",
    500: "Internal error",
    502: "Bad reply from the model server",
    503: "Not available",
}
# Where a value stood, and which form of a body was read: neither is a part of the field's path.
PLACES: Final = ("body", "query", "path", "header")
FORMS: Final = ("one memory", "many memories")
log = get_logger(__name__)


class TooLarge(InvalidInput):
    """The body is larger than the service takes."""

    code = "payload_too_large"


class UnsupportedMediaType(InvalidInput):
    """The body is not announced as JSON."""

    code = "unsupported_media_type"


class IdempotencyMismatch(InvalidInput):
    """The same `Idempotency-Key` came with another request."""

    code = "idempotency_mismatch"


class PreconditionRequired(InvalidInput):
    """The call would change something without saying which version of it was seen."""

    code = "precondition_required"


class PreconditionFailed(Stale):
    """The edit was of an older version; `members` (both versions and what differs) go into the answer."""

    def __init__(self, stale: Stale, members: Mapping[str, Any]) -> None:
        super().__init__(stale.message, expected=stale.expected, current=stale.current)
        self.members = members


def status_of(error: MnemeError) -> int:
    """The status code of an error."""
    if isinstance(error, ModelRejected):
        return error.status if 400 <= error.status < 500 else 400
    if isinstance(error, ModelOverloaded):
        return 429 if error.status == 429 else 503
    if isinstance(error, InvalidInput) and error.code == "invalid_input" and _names_option(error.param):
        return 422
    return STATUS.get(error.code, 500)


def openai_body(status: int, message: str, *, code: str, param: str | None = None) -> dict[str, Any]:
    """The envelope that OpenAI clients read."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status, kind)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def problem_body(
    status: int,
    message: str,
    *,
    code: str,
    instance: str,
    errors: Sequence[Mapping[str, Any]] = (),
    members: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The members of RFC 9457, `code` and `errors` of ours, and what this problem has beside them."""
    body: dict[str, Any] = {
        "type": f"urn:mneme:problem:{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": message,
        "instance": instance,
        "code": code,
    }
    if errors:
        body["errors"] = [dict(error) for error in errors]
    return {**body, **(members or {})}


def error_response(
    path: str,
    status: int,
    message: str,
    *,
    code: str,
    param: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """The response for a path: which envelope depends on where it lies."""
    if path.startswith("/v1"):
        return Response(
            json_bytes(openai_body(status, message, code=code, param=param)),
            status,
            dict(headers or {}),
            "application/json",
        )
    if param is not None and not errors:
        errors = [{"param": param, "message": message}]
    return Response(
        json_bytes(problem_body(status, message, code=code, instance=path, errors=errors, members=members)),
        status,
        dict(headers or {}),
        "application/problem+json",
    )


def respond(
    request: Request,
    status: int,
    message: str,
    *,
    code: str,
    param: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """The response to a request; a person who asked for a page gets one."""
    path = path_of(request)
    if path.startswith("/ui") and not wants_json(request):
        response = error_page(request, status, TITLES.get(status, "Error"), message)
        response.headers.update(headers or {})
        return response
    return error_response(
        path, status, message, code=code, param=param, errors=errors, headers=headers, members=members
    )


def path_of(request: Request) -> str:
    """The path below the root path, as routes see it."""
    path: str = request.scope["path"]
    root: str = request.scope.get("root_path", "")
    return path.removeprefix(root) if root else path


async def on_error(request: Request, error: Exception) -> Response:
    """Errors of ours."""
    assert isinstance(error, MnemeError)
    status, code, path = status_of(error), error.code, path_of(request)
    param = error.param if isinstance(error, InvalidInput) else None
    if path.startswith("/v1") and code == "not_found" and param in ("model", "agent"):
        code, param = "model_not_found", "model"
    headers = {"WWW-Authenticate": 'Bearer realm="mneme", Basic realm="mneme"'} if status == 401 else {}
    if isinstance(error, TooManyJobs):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    members = error.members if isinstance(error, PreconditionFailed) else None
    if status >= 500:
        log.warning("request.failed", path=path, code=code, error=error.message)
    return respond(request, status, error.message, code=code, param=param, headers=headers, members=members)


async def on_invalid(request: Request, error: Exception) -> Response:
    """A body, query or path that does not fit its model."""
    assert isinstance(error, RequestValidationError)
    path = path_of(request)
    found = [_invalid(item) for item in error.errors()]
    text = "; ".join(f"{item['param']}: {item['message']}" for item in found[:5])
    status = 400 if path.startswith("/v1") or any(item["type"] == "json_invalid" for item in error.errors()) else 422
    return respond(request, status, text, code="invalid_input", param=found[0]["param"], errors=found)


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown routes, wrong methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, MnemeError):
        return await on_error(request, error.__cause__)
    path, status = path_of(request), error.status_code
    text = str(error.detail)
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_input")
    if status == 404:
        text = f"{request.method} {path}: there is no such route; /docs lists them"
    elif status == 405:
        text = f"{request.method} {path}: this route does not take {request.method}"
    return respond(request, status, text, code=code, headers=error.headers)


async def on_crash(request: Request, error: Exception) -> Response:
    """A fault of ours: the client learns that, the log learns the rest."""
    path = path_of(request)
    log.error("request.crashed", path=path, exc_info=error)
    return respond(request, 500, "internal error; the log of the service says more", code="internal_error")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(MnemeError, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_crash)


def _names_option(param: str | None) -> bool:
    # An unknown or wrong option of an agent is a 422 (contract §5).
    return (param or "").removeprefix("mneme.").startswith("config")


def _invalid(item: Mapping[str, Any]) -> dict[str, Any]:
    # A place stands in front; further on it is the name of a field.
    loc = item["loc"][1:] if item["loc"] and item["loc"][0] in PLACES else item["loc"]
    where = [str(part) for part in loc if part not in FORMS]
    param = ".".join(where) or "body"
    message = str(item["msg"])
    if item["type"] == "extra_forbidden":
        message = "unknown field; remove it, or check its spelling"
    elif item["type"] == "json_invalid":
        param, message = "body", f"not valid JSON: {item.get('ctx', {}).get('error', message)}"
    return {"param": param, "message": message}
