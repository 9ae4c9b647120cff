"""Serves HTTP from one process until it is told to stop, or keeps several such processes going.

One socket is bound once and shared, so several processes answer on one port without a proxy. The parent of several
watches the model server and its children; each child is an executor of its own. SIGTERM and SIGINT stop politely:
requests that are going get `GRACE_S`, runs that are not finished by then are picked up by the next process.
Source: ours, over uvicorn.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio
import uvicorn
from fastapi import FastAPI

from runtime.errors import MnemeError, SettingsError
from runtime.settings import Settings

GRACE_S: Final = 5
BACKLOG: Final = 2048


class Stop:
    """The wish to end, and the signal that expressed it."""

    def __init__(self) -> None:
        self.wanted = anyio.Event()
        self.urgent = anyio.Event()
        self.signal: int | None = None

    def ask(self, number: int | None = None) -> None:
        """Ask once to end politely, twice to end at once."""
        if self.wanted.is_set():
            self.urgent.set()
        self.signal = self.signal or number
        self.wanted.set()

    @property
    def exit_code(self) -> int:
        """130 when a person interrupted, as shells expect; 0 when a supervisor said so."""
        return 130 if self.signal == signal.SIGINT else 0


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[Stop]:
    """Give out a `Stop` that SIGINT and SIGTERM ask."""
    stop = Stop()

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                stop.ask(number)

    # What the caller's block raises is kept until the group is closed, so that it arrives as itself, with its own exit code.
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        try:
            yield stop
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def check_bind(settings: Settings, *, key_exists: bool) -> None:
    """Refuse to listen to other machines without a key. Raises `SettingsError` with the fix."""
    if settings.loopback:
        return
    if not key_exists:
        raise SettingsError(
            f"host {settings.server.host!r} is reachable from other machines and there is no API key; make one first: "
            "mneme keys create NAME   (or serve this machine only: --host 127.0.0.1)"
        )
    if not settings.auth_required:
        raise SettingsError(
            f"host {settings.server.host!r} is reachable from other machines, but 'auth.required' is false; "
            "remove that setting (MNEME_AUTH__REQUIRED), or serve this machine only: --host 127.0.0.1"
        )


def bind(settings: Settings) -> socket.socket:
    """Open the socket of the service. Raises `MnemeError` when the address is taken or not ours."""
    host, port = settings.server.host, settings.server.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"host {host!r}: {error}; expected an address of this machine") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise MnemeError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from error
    bound.set_inheritable(True)
    return bound


def url_of(bound: socket.socket) -> str:
    """The address a client on this machine uses."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they end the process before what surrounds the server is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: FastAPI, settings: Settings, bound: socket.socket, stop: Stop) -> None:
    """Answer on `bound` until `stop`. Raises `MnemeError` when the application cannot start."""
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            root_path=settings.server.root_path,
            forwarded_allow_ips="127.0.0.1",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    async def watch() -> None:
        await stop.wanted.wait()
        server.should_exit = True
        await stop.urgent.wait()
        server.force_exit = True

    failed = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            await server.serve(sockets=[bound])
        except SystemExit:
            # uvicorn's word for an application that did not start; raised in here it would come out as a group.
            failed = True
        tasks.cancel_scope.cancel()
    if failed:
        raise MnemeError(f"the service could not start: {app.state.failure or 'the lines above say why'}")
