"""What can go wrong on the way to a model server, as errors of ours.

The one place that knows the exception types of the openai SDK and of httpx2 below it. Source: ours.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import anyio
import httpx2
from openai import APIConnectionError, APIStatusError, OpenAIError

from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable

# Everything that a request through the SDK, or reading its response, raises when the server or the way to it fails.
TRANSPORT_FAULTS = (
    OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    ssl.SSLError,
    anyio.EndOfStream,
    OSError,
)
_SHOWN_CHARS = 500


def model_error(error: Exception, *, server: str, idle_timeout_s: float) -> ModelError:
    """The error of ours for one of `TRANSPORT_FAULTS`; `server` is the base URL the message names."""
    if isinstance(error, APIStatusError):
        return _of_status(error, server)
    cause = error.__cause__ if isinstance(error, APIConnectionError) and error.__cause__ else error
    if isinstance(cause, httpx2.DecodingError):
        return MalformedReply(f"model server {server!r}: the answer cannot be decoded: {cause}")
    return ModelUnavailable(f"model server {server!r}: {_what_happened(cause, idle_timeout_s)}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date.

    A date is measured against the server's own `Date` header, so that its clock need not agree with ours.
    """
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdecimal():
            return float(value)
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None  # A header that cannot be read is no wish.


def _of_status(error: APIStatusError, server: str) -> ModelError:
    status, text = error.status_code, error.message[:_SHOWN_CHARS]
    if status == 429 or status >= 500:
        return ModelOverloaded(
            f"model server {server!r} answered {status}: {text}",
            status=status,
            retry_after_s=retry_after_s(error.response.headers),
        )
    fix = "; check llm.api_key" if status in {401, 403} else "; check llm.base_url" if status < 400 else ""
    return ModelRejected(f"model server {server!r} refused the request with {status}: {text}{fix}", status=status)


def _what_happened(cause: BaseException, idle_timeout_s: float) -> str:
    match cause:
        case httpx2.ConnectTimeout() | httpx2.ConnectError():
            return f"cannot be reached ({_text(cause)}); check that it runs and that llm.base_url is right"
        case httpx2.PoolTimeout():
            return "no free connection; raise llm.max_connections"
        case httpx2.TimeoutException():
            return f"said nothing for {idle_timeout_s:g} s; raise llm.idle_timeout_s if it is only slow"
        case _:
            return f"broke off ({_text(cause)}); see its log"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
