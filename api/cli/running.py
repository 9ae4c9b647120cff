"""Executes one run in this process and prints it: answer on stdout, everything else on stderr. Source: ours."""

from __future__ import annotations

import signal
import sys
from typing import Any

import anyio
import anyio.to_thread

from agents.build import open_service
from agents.live import LiveRun
from agents.service import Service
from api.model_server import with_model_server
from api.routes.wire import run_body
from runtime import migrate
from runtime.events import AnyPayload, LlmCall, ReasoningDelta, RunCancelledEvent, RunFailed, RunFinished, TextDelta
from runtime.llm.base import Chunk
from runtime.run_types import RunSpec
from runtime.settings import Settings

INTERRUPT_REASON = "interrupted at the terminal"


async def ask(settings: Settings, spec: RunSpec, printer: Printer | None) -> dict[str, Any]:
    """Run `spec`, print it with `printer`, and return the run as the API shows it. Ctrl-C cancels the run."""
    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    async with with_model_server(settings) as ready, open_service(ready, take_queued=False, serving=False) as service:
        owner = (await service.keys.local()).user_id
        live = await service.foreground(spec, owner=owner)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_interrupt, service, live.run_id, owner)
            await _print(live, printer)
            tasks.cancel_scope.cancel()
        return run_body(await service.get(live.run_id, owner=owner))


class Printer:
    """Writes what a person wants to see of a run. Reasoning goes to a terminal only: it is long and nobody's result."""

    def __init__(self) -> None:
        self._reasons = sys.stderr.isatty()
        self._open_line = False

    def show(self, payload: AnyPayload) -> None:
        """Print one payload."""
        match payload:
            case TextDelta(text=text):
                self._open_line = True
                print(text, end="", flush=True)
            case ReasoningDelta(text=text) if self._reasons:
                print(f"\033[2m{text}\033[0m", end="", file=sys.stderr, flush=True)
            case LlmCall(error=str() as error):
                self._remark(f"{payload.purpose}: {error}")
            case RunFinished(status="budget_exhausted", reason=reason):
                self._remark(f"stopped: {reason}")
            case RunFailed(code=code, message=message):
                self._remark(f"failed ({code}): {message}")
            case RunCancelledEvent(reason=reason):
                self._remark(f"cancelled: {reason}")

    def close(self, live: LiveRun) -> None:
        """End the line of the answer and say what it took."""
        usage = live.usage
        self._remark(f"{live.run_id} · {live.model} · {usage.prompt_tokens} + {usage.completion_tokens} tokens")

    def _remark(self, text: str) -> None:
        if self._open_line:
            print(flush=True)
            self._open_line = False
        print(text, file=sys.stderr, flush=True)


async def _print(live: LiveRun, printer: Printer | None) -> None:
    async for payload in live.items():
        if printer is not None and not isinstance(payload, Chunk):
            printer.show(payload)
    if printer is not None:
        printer.close(live)


async def _cancel_on_interrupt(service: Service, run_id: str, owner: str) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            await service.cancel(run_id, owner=owner, reason=INTERRUPT_REASON)
