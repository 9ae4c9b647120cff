"""Several processes on one socket: starts them, starts them again when they die, stops them.

A child gets the parent's settings, the secrets among them, through its standard input and never through arguments or
environment; when that pipe closes the parent is gone, and the child stops too. Source: ours.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

import anyio
from anyio.abc import Process
from pydantic import BaseModel, SecretStr

from api.serving import GRACE_S, Stop
from runtime.settings import Settings
from runtime.telemetry import get_logger

STOP_S: Final = GRACE_S + 15.0
FIRST_BACK_OFF_S: Final = 0.5
LONGEST_BACK_OFF_S: Final = 30.0
HEALTHY_AFTER_S: Final = 10.0

log = get_logger(__name__)


def settings_to_line(settings: Settings) -> bytes:
    """The settings as one line of JSON, secrets in the clear; for a pipe only."""
    return json.dumps(_plain(settings), default=str).encode() + b"\n"


def settings_of_line(line: bytes) -> Settings:
    """Read what `settings_to_line` wrote."""
    return Settings(**json.loads(line))


async def serve_with_workers(settings: Settings, bound: socket.socket, stop: Stop) -> None:
    """Keep `server.workers` children answering on `bound` until `stop`; they are gone when this returns."""
    with tempfile.TemporaryDirectory(prefix="mneme-metrics-") as shared:
        async with anyio.create_task_group() as tasks:
            for number in range(settings.server.workers):
                tasks.start_soon(_keep_going, number, settings, bound, shared, stop)


async def _keep_going(number: int, settings: Settings, bound: socket.socket, shared: str, stop: Stop) -> None:
    back_off_s = FIRST_BACK_OFF_S
    while not stop.wanted.is_set():
        begun = time.monotonic()
        process = await _start(settings, bound, shared)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stop_when_asked, process, stop)
                code = await process.wait()
                tasks.cancel_scope.cancel()
        finally:
            await _close(process)
        if stop.wanted.is_set():
            return
        back_off_s = (
            FIRST_BACK_OFF_S if time.monotonic() - begun > HEALTHY_AFTER_S else min(2 * back_off_s, LONGEST_BACK_OFF_S)
        )
        log.warning("worker.died", number=number, pid=process.pid, code=code, again_in_s=back_off_s)
        with anyio.move_on_after(back_off_s):
            await stop.wanted.wait()


async def _start(settings: Settings, bound: socket.socket, shared: str) -> Process:
    process = await anyio.open_process(
        [sys.executable, "-m", "api.child", str(bound.fileno())],
        stdin=subprocess.PIPE,
        stdout=None,
        stderr=None,
        # Read by prometheus_client when it is imported: the children add their counts up in files there.
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": shared},
        pass_fds=(bound.fileno(),),
        # Ctrl-C at a terminal goes to the whole group; the parent alone decides when a child stops.
        start_new_session=True,
    )
    assert process.stdin is not None
    await process.stdin.send(settings_to_line(settings))
    return process


async def _stop_when_asked(process: Process, stop: Stop) -> None:
    await stop.wanted.wait()
    process.send_signal(signal.SIGTERM)
    with anyio.move_on_after(STOP_S):
        await stop.urgent.wait()
    process.kill()


async def _close(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.aclose()


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case SecretStr():
            return value.get_secret_value()
        case _:
            return value
