"""The HTTP application: the service opened for as long as it runs, the routers, the error shapes, the limits.

Source: contract §4; ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from agents.build import open_service
from agents.service import Probe
from api import errors
from api.idempotency import IdempotencyKeys
from api.limits import BodyLimit
from api.openai import chat, models, responses
from api.routes import agents, health, keys, runs
from api.web import pages
from runtime.ids import SYSTEM
from runtime.settings import Settings


def create_app(settings: Settings, *, model_server: Probe | None = None) -> FastAPI:
    """The application for these settings; `model_server` reports on our own engine, when there is one."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(settings, model_server=model_server) as service:
            app.state.service = service
            app.state.local = await service.keys.local()
            app.state.idempotency = IdempotencyKeys(service.db, SYSTEM)
            yield

    app = FastAPI(
        title="Mneme",
        version=version("mneme"),
        description="A reasoning server that remembers: agents behind the OpenAI API.",
        lifespan=lifespan,
        redoc_url=None,
        responses={401: {"description": "no valid API key"}, 403: {"description": "not allowed"}},
    )
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.server.max_body_bytes)
    for module in (models, chat, responses, runs, agents, keys, health, pages):
        app.include_router(module.router)
    app.mount("/ui/static", StaticFiles(directory=pages.STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("ui/")

    return app
