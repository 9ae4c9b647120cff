"""Starts what `mneme serve` starts, on a port that is free, and waits until it is ready. Source: ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import httpx
from anyio.abc import Process

from runtime.errors import MnemeError

READY_S: Final = 900.0
STOP_S: Final = 30.0


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[Process]:
    """`mneme serve` on this port with the settings of this process, stopped behind the block."""
    process = await anyio.open_process(
        [sys.executable, "-m", "api.cli", "serve", "--host", "127.0.0.1", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=None,
        stderr=None,
        # The lines of its log would stand between those of the story.
        env={"MNEME_TELEMETRY__LOG_LEVEL": "WARNING", **os.environ},
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(STOP_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def wait_until_ready(client: httpx.AsyncClient, process: Process) -> str:
    """Wait, and give what the service says about its model. Raises `MnemeError` when it ends or takes too long."""
    deadline = time.monotonic() + READY_S
    seen = "no answer yet"
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise MnemeError(f"the service ended with code {process.returncode}; the lines above say why")
        try:
            response = await client.get("/ready")
            seen = response.text
            if response.status_code == 200:
                return next((c["detail"] for c in response.json()["checks"] if c["name"].startswith("model")), "model")
        except httpx.TransportError as error:
            seen = type(error).__name__
        await anyio.sleep(0.5)
    raise MnemeError(f"the service is not ready after {READY_S:.0f} s: {seen}; `mneme doctor` says what is missing")


def port_to_use(wanted: int) -> int:
    """The wanted port, or another one when something listens there (0: any)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return port_to_use(0)
        port: int = probe.getsockname()[1]
        return port
