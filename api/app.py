"""The HTTP application: the service opened for as long as it runs, the routers, the error shapes, the limits.

Source: contract §4; ours.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from agents import registry
from agents.build import open_service
from agents.service import Probe
from api import errors
from api.idempotency import IdempotencyKeys
from api.limits import BodyLimit
from api.mcp import http as mcp
from api.openai import chat, models, responses
from api.routes import (
    agents,
    archives,
    audit,
    evals,
    graph,
    health,
    jobs,
    keys,
    memories,
    memory_item,
    memory_reads,
    pipelines,
    runs,
    timeline,
    usefulness,
    vaults,
)
from api.routes.documented import Problem
from api.web import pages
from api.web.render import STATIC
from runtime.errors import MnemeError
from runtime.ids import SYSTEM
from runtime.settings import Settings

SECURITY: Final[dict[str, dict[str, str]]] = {
    "key": {"type": "http", "scheme": "bearer", "description": "an API key, `mk-…`"},
    "browser": {"type": "http", "scheme": "basic", "description": "any user name, the API key as the password"},
}


def create_app(settings: Settings, *, model_server: Probe | None = None) -> FastAPI:
    """The application for these settings; `model_server` reports on our own engine, when there is one."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _import_the_rest()
        try:
            async with open_service(settings, model_server=model_server) as service:
                app.state.service = service
                app.state.local = await service.keys.local()
                app.state.idempotency = IdempotencyKeys(service.db, SYSTEM)
                async with mcp.running(app, settings):
                    yield
        except MnemeError as error:
            # The server only says that the application did not start; whoever started it wants to know why.
            app.state.failure = error.message
            raise

    app = FastAPI(
        title="Mneme",
        version=version("mneme"),
        description="A reasoning server that remembers: agents behind the OpenAI API.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.failure = ""
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.server.max_body_bytes)
    for router in (models.router, chat.router, responses.router, runs.router, agents.router, keys.router):
        app.include_router(router)
    for router in (memories.router, memory_item.router, memory_reads.router, usefulness.router, vaults.router):
        app.include_router(router)
    for router in (archives.router, pipelines.router, graph.router, jobs.router, audit.router, evals.router):
        app.include_router(router)
    app.include_router(timeline.router)
    mcp.add_route(app)
    app.mount("/ui/static", StaticFiles(directory=STATIC), name="static")
    for router in (health.router, *pages.ROUTERS):
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("ui/")

    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        schema["components"]["schemas"].setdefault("Problem", Problem.model_json_schema())
        schema["components"]["securitySchemes"] = SECURITY
        schema["security"] = [{name: []} for name in SECURITY] + [{}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _import_the_rest() -> None:
    # Imported for the first request that needs an agent, they would keep all others waiting. Not in a thread: imports
    # change the filters of warnings, which belong to the process.
    registry.load()
    # All this stays as long as the process; to walk it in every full collection would stop everybody for 0.3 s.
    gc.freeze()
