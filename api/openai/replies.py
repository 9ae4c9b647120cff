"""What both surfaces need of a live run: read it to its end, stop it when the caller goes away, turn failures into
errors. Source: ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
from fastapi import Request

from agents.base import Answer
from agents.live import End, LiveRun
from agents.service import Service
from runtime.errors import (
    MalformedReply,
    MnemeError,
    ModelOverloaded,
    ModelRejected,
    ModelUnavailable,
    StorageError,
)
from runtime.events import RunCancelledEvent, RunFailed, RunFinished
from runtime.types import Usage

GONE = "the client closed the connection"


class Ended(NamedTuple):
    """How a run ended: its answer, and whether a budget cut it."""

    answer: Answer
    cut: bool


class RunEndedBadly(MnemeError):
    """A run failed for a reason that has no class of its own here; the code is the run's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def ended(end: End) -> Ended:
    """The answer of a run. Raises the `MnemeError` that a failed or cancelled one ended with."""
    match end:
        case RunFinished(status="succeeded", output=dict() as output):
            return Ended(Answer.from_json(output), cut=False)
        case RunFinished(output=dict() as output):
            return Ended(Answer.from_json(output), cut=True)
        case RunFinished():
            raise RunEndedBadly(end.reason or "the budget was used up before there was an answer", "budget_exhausted")
        case RunCancelledEvent():
            raise RunEndedBadly(f"the run was cancelled: {end.reason}", "cancelled")
        case RunFailed():
            raise _failure(end)


def usage_body(usage: Usage, prompt: str, completion: str) -> dict[str, Any]:
    """Usage in OpenAI's shape; the two surfaces name the halves differently."""
    return {
        f"{prompt}_tokens": usage.prompt_tokens,
        f"{completion}_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        f"{prompt}_tokens_details": {"cached_tokens": usage.cached_tokens},
        f"{completion}_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


@asynccontextmanager
async def stopped_when_gone(request: Request, service: Service, live: LiveRun) -> AsyncIterator[None]:
    """While the block waits for the run: when the client goes away, cancel the run."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        await service.cancel(live.run_id, owner=None, reason=GONE)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


async def cancel_unfinished(service: Service, live: LiveRun) -> None:
    """At the end of a stream that may have been closed early: the run goes no further without its listener."""
    if live.end is None:
        with anyio.CancelScope(shield=True):
            await service.cancel(live.run_id, owner=None, reason=GONE)


def _failure(end: RunFailed) -> MnemeError:
    match end.code:
        case "model_unavailable":
            return ModelUnavailable(end.message)
        case "model_overloaded":
            return ModelOverloaded(end.message, status=503)
        case "model_rejected":
            return ModelRejected(end.message, status=400)
        case "malformed_reply":
            return MalformedReply(end.message)
        case "storage_error":
            return StorageError(end.message)
        case _:
            return RunEndedBadly(end.message, end.code)
