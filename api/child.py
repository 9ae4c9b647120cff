"""One of several serving processes, started by api/workers.py: `python -m api.child FD`.

Settings come as one line on standard input; its end means that the parent is gone. Source: ours.
"""

from __future__ import annotations

import socket
import sys

import anyio

from api.serving import Stop, serve_http, stop_on_signals
from api.workers import settings_of_line
from runtime import telemetry
from runtime.errors import MnemeError
from runtime.settings import Settings


async def serve_child(settings: Settings, bound: socket.socket) -> None:
    """Answer on the parent's socket until told to stop or left alone."""
    from api.app import create_app
    from api.model_server import probe

    async with stop_on_signals() as stop, anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_without_parent, stop)
        await serve_http(create_app(settings, model_server=probe(settings)), settings, bound, stop)
        tasks.cancel_scope.cancel()


async def _stop_without_parent(stop: Stop) -> None:
    # Nothing follows the settings, so the pipe becomes readable when it is closed.
    await anyio.wait_readable(sys.stdin.fileno())
    stop.ask()


def main() -> None:
    """The entry point; ends the process."""
    settings = settings_of_line(sys.stdin.buffer.readline())
    telemetry.configure(settings)
    bound = socket.socket(fileno=int(sys.argv[1]))
    try:
        anyio.run(serve_child, settings, bound, backend_options={"use_uvloop": True})
    except MnemeError as error:
        print(f"mneme: {error.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
