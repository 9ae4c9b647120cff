"""`mneme serve` and `mneme worker`: the processes that stay."""

from __future__ import annotations

from typing import Annotated

import anyio
import anyio.to_thread
import typer

from api.cli.output import remark
from runtime.settings import Settings, load


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default 8642.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer; default 1.")] = None,
) -> None:
    """Start the service: API, UI and, when no model server is configured, the model server."""
    from runtime import telemetry

    settings = load({"server.host": host, "server.port": port, "server.workers": workers}).settings
    telemetry.configure(settings)
    raise typer.Exit(anyio.run(_serve, settings, backend_options={"use_uvloop": True}))


def worker() -> None:
    """Take runs from the same database and execute them, without answering HTTP."""
    from runtime import telemetry

    settings = load().settings
    telemetry.configure(settings)
    raise typer.Exit(anyio.run(_work, settings, backend_options={"use_uvloop": True}))


async def _serve(settings: Settings) -> int:
    from api.app import create_app
    from api.model_server import probe, with_model_server
    from api.serving import bind, check_bind, serve_http, stop_on_signals, url_of
    from api.workers import serve_with_workers
    from runtime import migrate

    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    if not settings.loopback:
        check_bind(settings, key_exists=await _key_exists(settings))
    async with stop_on_signals() as stop:
        with bind(settings) as bound:
            url = url_of(bound)
            async with with_model_server(settings) as ready:
                remark(f"mneme: serving on {url}  ·  UI {url}/ui  ·  API reference {url}/docs")
                if ready.server.workers == 1:
                    await serve_http(create_app(ready, model_server=probe(ready)), ready, bound, stop)
                else:
                    await serve_with_workers(ready, bound, stop)
    return stop.exit_code


async def _work(settings: Settings) -> int:
    from agents.build import open_service
    from api.model_server import with_model_server
    from api.serving import stop_on_signals
    from runtime import migrate

    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    async with stop_on_signals() as stop, with_model_server(settings) as ready, open_service(ready) as service:
        remark(f"mneme: worker {service.executor_id} takes runs")
        await stop.wanted.wait()
    return stop.exit_code


async def _key_exists(settings: Settings) -> bool:
    from runtime.db import open_database
    from runtime.ids import SYSTEM
    from runtime.keys import KeyStore

    database = open_database(settings)
    try:
        return await KeyStore(database, SYSTEM).any_active()
    finally:
        await database.aclose()
