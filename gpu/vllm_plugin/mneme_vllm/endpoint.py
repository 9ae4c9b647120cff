"""The HTTP routes of the sessions, beside vLLM's own.

    POST   /mneme/sessions/{sid}/generate   one turn: server-sent events {"ids", "text"} …, {"finish", …}, [DONE]
    DELETE /mneme/sessions/{sid}            204, also when there was none
    GET    /mneme/sessions                  {"enabled", "reason", "sessions", "blocks", "idle_s", "timed_out"}

Errors are {"error": {"code", "message"}}: 400 invalid_request, context_length_exceeded; 409 session_gone, session_busy; 503
sessions_disabled. What goes wrong in a stream is its last event, with a status as its code, as vLLM does it. A client that
goes away ends its turn. vLLM guards only its own paths with --api-key; these ask for the same key. Source: ours.
"""

from __future__ import annotations

import json
import logging
import os
from argparse import Namespace
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import State
from starlette.types import Receive, Scope, Send
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.serve.middleware.authenticate import AuthenticationMiddleware

from . import signatures
from .asking import Asked, Refused
from .registry import Registry, Turn

logger = logging.getLogger("vllm.mneme_vllm")
IDLE_S = "MNEME_SESSION_IDLE_S"


class SessionsPlugin:
    """What vLLM loads from the entry point `vllm.endpoint_plugins`."""

    name = "mneme_sessions"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._door: AuthenticationMiddleware | None = None

    def attach_router(self, app: FastAPI) -> None:
        router = APIRouter(prefix="/mneme/sessions", dependencies=[Depends(self._allowed)])
        router.add_api_route("", self._state, methods=["GET"])
        router.add_api_route("/{sid}/generate", self._generate, methods=["POST"])
        router.add_api_route("/{sid}", self._close, methods=["DELETE"])
        app.include_router(router)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        if engine_client is None:
            return
        keys = [key for key in (args.api_key or [os.environ.get("VLLM_API_KEY")]) if key]
        self._door = AuthenticationMiddleware(_nowhere, keys) if keys else None
        idle_s = float(os.environ.get(IDLE_S, "60"))
        self._registry = Registry(engine_client, idle_s=idle_s, reason=signatures.problem())
        await self._registry.probe()
        if self._registry.reason is not None:
            logger.warning("sessions are disabled: %s", self._registry.reason)

    async def _allowed(self, request: Request) -> None:
        if self._door is not None and not self._door.verify_token(request.headers):
            raise HTTPException(401, "Unauthorized")

    async def _state(self) -> JSONResponse:
        return JSONResponse(self._sessions().state())

    async def _generate(self, sid: str, request: Request) -> Response:
        try:
            turn = self._sessions().begin(sid, Asked.model_validate_json(await request.body()))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "body"
            return _error(Refused(400, "invalid_request", f"{place}: {first['msg']}"))
        except Refused as error:
            return _error(error)
        return _Events(turn)

    async def _close(self, sid: str) -> Response:
        self._sessions().close(sid)
        return Response(status_code=204)

    def _sessions(self) -> Registry:
        if self._registry is None:
            raise RuntimeError("a route of the sessions was called before init_state with an engine")
        return self._registry


class _Events(StreamingResponse):
    """The events of a turn, which is closed however the response ends: at the last event or when nobody reads."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(_lines(turn), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._turn.close()


async def _lines(turn: Turn) -> AsyncIterator[str]:
    async for event in turn.events():
        yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
    # Whoever has read the last line can ask again at once.
    await turn.close()
    yield "data: [DONE]\n\n"


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError("the middleware is asked about keys only")


def _error(refused: Refused) -> JSONResponse:
    return JSONResponse({"error": {"code": refused.code, "message": refused.message}}, status_code=refused.status)
