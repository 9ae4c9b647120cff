"""`mneme mcp`: the store and the agents for an MCP client on this machine, over standard input and output.

Standard output is the protocol and nothing else; logs go to standard error. The caller is the user of this machine. Memories
need no model server; agents use the configured one, or the one that `mneme serve` has started. Source: MCP, stdio; contract
§4.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import anyio
import anyio.to_thread
import typer

from runtime.settings import Settings, load

CHUNK: Final = 1 << 16


def mcp(
    context: Annotated[
        str | None, typer.Option(help="The app that acts; grants of other people may be bound to it.")
    ] = None,
) -> None:
    """Speak MCP on standard input and output, as the user of this machine."""
    from runtime import telemetry

    settings = load().settings
    telemetry.configure(settings)
    raise typer.Exit(anyio.run(_serve, settings, context))


async def _serve(settings: Settings, context: str | None) -> int:
    from mcp.server.stdio import stdio_server

    from agents.build import open_service
    from api.acting import actor_of
    from api.mcp.calling import Caller
    from api.mcp.server import build
    from api.model_server import with_base_url
    from api.serving import Stop, stop_on_signals
    from runtime import migrate

    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    ready = with_base_url(settings)
    async with stop_on_signals() as stop, open_service(ready, take_queued=False, serving=True) as service:
        local = await service.keys.local()
        # Whatever cancels a call here, its client is gone or wants it: there is no other.
        caller = Caller(service, local, actor_of(local, context), lambda: True)
        server = build(lambda _: caller)

        async def watch(stop: Stop, scope: anyio.CancelScope) -> None:
            await stop.wanted.wait()
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, stop, tasks.cancel_scope)
            async with stdio_server(stdin=await _standard_input()) as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())
            tasks.cancel_scope.cancel()
    return stop.exit_code


async def _standard_input() -> Any:
    """The lines of standard input, read without a thread, which no signal could wake. From now on nobody else reads it."""
    private = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    source = os.fdopen(private, "rb", buffering=0)
    kind = os.fstat(private).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(private)):
        # A file is never waited for.
        return anyio.wrap_file(io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", errors="replace"))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    return _lines(reader)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    begun = bytearray()
    while chunk := await reader.read(CHUNK):
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            yield (bytes(begun) + part).decode(errors="replace")
            begun.clear()
        begun += rest
    if begun:
        yield begun.decode(errors="replace")
