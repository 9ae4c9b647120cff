"""What both surfaces do with a live run: read it to its end, stop it when the client goes away, turn failures into errors.

The status of an answer goes out with its first token and not before, so a run that fails without a word is an HTTP error
with its own status. A failure behind that is an error object in the stream. Source: contract §4; ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.base import Answer
from agents.live import End, LiveRun
from agents.service import Service
from api.answers import json_response
from api.errors import openai_body, status_of
from api.sse import HEADERS, KEEP_ALIVE, KEEP_ALIVE_S, gone
from runtime.errors import (
    MalformedReply,
    MnemeError,
    ModelError,
    ModelOverloaded,
    ModelRejected,
    ModelUnavailable,
    StorageError,
)
from runtime.events import AnyPayload, RunCancelledEvent, RunFailed, RunFinished
from runtime.llm.base import Chunk
from runtime.types import Usage

GONE: Final = "the client closed the connection"
# A stream that has nothing to say begins after so long all the same, so that nobody on the way gives it up.
SILENT_S: Final = 10.0


class Ended(NamedTuple):
    """How a run ended: its answer, and whether a budget cut it."""

    answer: Answer
    cut: bool


class Voice(Protocol):
    """How a surface says what happens. Every method returns bytes to send, maybe none."""

    def begin(self) -> bytes: ...

    def say(self, piece: AnyPayload | Chunk) -> bytes: ...

    def end(self, end: Ended) -> bytes: ...

    def fail(self, error: MnemeError) -> bytes: ...

    def whole(self, end: Ended) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        ...


class RunEndedBadly(MnemeError):
    """A run failed for a reason that has no class of its own here; the code is the run's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class LiveAnswer(Response):
    """The response to a request that a run answers. The run goes no further than its listener."""

    def __init__(self, service: Service, live: LiveRun, voice: Voice, *, stream: bool) -> None:
        super().__init__(headers={"X-Run-Id": live.run_id})
        self._service = service
        self._live = live
        self._voice = voice
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stopping = False
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    await gone(receive)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                response = await (self._speak(send) if self._stream else self._wait())
                if response is not None:
                    await response(scope, receive, send)
                tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            # The service stops, the client did not go: the run is picked up by the next process.
            stopping = True
            raise
        finally:
            if self._live.end is None and not stopping:
                with anyio.CancelScope(shield=True):
                    await self._service.cancel(self._live.run_id, owner=None, reason=GONE)

    async def _wait(self) -> Response:
        while self._live.end is None:
            await self._live.news(KEEP_ALIVE_S)
        try:
            return json_response(self._voice.whole(ended(self._live.end, self._live.text)), headers=self._named())
        except MnemeError as error:
            return failure(error, self._named())

    async def _speak(self, send: Send) -> Response | None:
        """Send the stream, or return the error response when the run ended before there was anything to say."""
        live, voice = self._live, self._voice
        begun = False
        give_up_waiting = time.monotonic() + SILENT_S
        while True:
            news = await live.news(KEEP_ALIVE_S if begun else max(0.0, give_up_waiting - time.monotonic()))
            end = live.end if news and news[-1] is live.end else None
            said = b"".join([voice.say(payload) for payload in news])
            last = b""
            if end is not None:
                try:
                    last = voice.end(ended(end, live.text))
                except MnemeError as error:
                    if not begun and not said:
                        return failure(error, self._named())
                    last = voice.fail(error)
            if not begun and (said or end is not None or time.monotonic() >= give_up_waiting):
                begun = True
                said = voice.begin() + said
                await send({"type": "http.response.start", "status": 200, "headers": _RAW + self._run_id()})
            if begun and (said or last or not news):
                body = said + last or KEEP_ALIVE
                await send({"type": "http.response.body", "body": body, "more_body": end is None})
            if end is not None:
                return None

    def _named(self) -> dict[str, str]:
        return {"X-Run-Id": self._live.run_id}

    def _run_id(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-run-id", self._live.run_id.encode())]


_RAW: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
]


def ended(end: End, said: str) -> Ended:
    """The answer of a run, `said` being its text so far. Raises the `MnemeError` that a failed or cancelled one ended with.

    A run that its budget cut has an answer all the same: the best there is, which may be nothing.
    """
    match end:
        case RunFinished(output=dict() as output):
            return Ended(Answer.from_json(output), cut=end.status == "budget_exhausted")
        case RunFinished():
            return Ended(Answer(said, finish_reason="length"), cut=True)
        case RunCancelledEvent():
            raise RunEndedBadly(f"the run was cancelled: {end.reason}", "cancelled")
        case RunFailed():
            raise _failure(end)


def failure(error: MnemeError, headers: Mapping[str, str]) -> Response:
    """A run that failed, as a response. What may pass was tried again here already, so the client is told not to."""
    more = {"x-should-retry": "false"} if isinstance(error, ModelError) else {}
    body = openai_body(status_of(error), error.message, code=error.code)
    return json_response(body, status_of(error), {**headers, **more})


def usage_body(usage: Usage, prompt: str, completion: str) -> dict[str, Any]:
    """Usage in OpenAI's shape; the two surfaces name the halves differently."""
    return {
        f"{prompt}_tokens": usage.prompt_tokens,
        f"{completion}_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        f"{prompt}_tokens_details": {"cached_tokens": usage.cached_tokens},
        f"{completion}_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _failure(end: RunFailed) -> MnemeError:
    match end.code:
        case "model_unavailable":
            return ModelUnavailable(end.message)
        case "model_overloaded":
            return ModelOverloaded(end.message, status=end.status or 503)
        case "model_rejected":
            return ModelRejected(end.message, status=end.status or 400)
        case "malformed_reply":
            return MalformedReply(end.message)
        case "storage_error":
            return StorageError(end.message)
        case _:
            return RunEndedBadly(end.message, end.code)
