"""MCP over streamable HTTP at `/mcp`, in the application that serves everything else.

Each request is authenticated as any other (api/auth.py), which also refuses what a page of another site sends, so `Host` and
`Origin` are checked there and once. A session of the older protocol belongs to the credential that opened it and to one
process; when several processes serve, there are none, and each request stands alone. Source: MCP, streamable HTTP;
contract §4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from fastapi import FastAPI, Request
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from api.acting import CONTEXT, actor_of
from api.auth import identify, service_of
from api.mcp.calling import Caller
from api.mcp.server import Context, build
from memory.types import Actor
from runtime.keys import Identity
from runtime.settings import Settings

PATH: Final = "/mcp"


@dataclass(slots=True)
class _Caught:
    """One HTTP request: who sent it, and whether that one has gone away."""

    identity: Identity
    actor: Actor
    gone: bool = False


class Door:
    """The session manager of one life of the application."""

    def __init__(self, settings: Settings) -> None:
        self._alone = settings.server.workers > 1
        self._stopping = False
        self._manager = StreamableHTTPSessionManager(
            build(self._caller),
            stateless=self._alone,
            max_request_body_size=settings.server.max_body_bytes,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve for as long as the block lasts."""
        async with self._manager.run():
            try:
                yield
            finally:
                self._stopping = True

    async def handle(self, scope: Scope, receive: Receive, send: Send, caught: _Caught) -> None:
        """One request, authenticated."""

        async def heard() -> Message:
            message = await receive()
            caught.gone = caught.gone or message["type"] == "http.disconnect"
            return message

        await self._manager.handle_request(scope, heard, send)

    def _caller(self, context: Context) -> Caller:
        # Every message over HTTP carries the request that it came with.
        request = cast("Request", context.request)
        caught: _Caught = request.state.mcp
        in_session = not self._alone and context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS

        def gave_up() -> bool:
            # In a session the client cancels with a message; otherwise it closes the response. What else cancels a call is
            # the end of the service, and then the run is picked up by the next process.
            return caught.gone or (in_session and not self._stopping)

        return Caller(service_of(request), caught.identity, caught.actor, gave_up)


class _Endpoint:
    """The ASGI application at `PATH`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        identity = await identify(request)
        actor = actor_of(identity, request.headers.get(CONTEXT))
        request.state.mcp = caught = _Caught(identity, actor)
        # How the session manager tells whose session it is.
        holder = identity.key_id or identity.user_id
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=holder, scopes=sorted(identity.scopes)))
        door: Door = request.app.state.mcp
        await door.handle(scope, receive, send, caught)


def add_route(app: FastAPI) -> None:
    """Put `/mcp` into the application; `running` must be entered in its lifespan, behind the service."""
    app.router.routes.append(Route(PATH, _Endpoint(), include_in_schema=False))


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Serve MCP for as long as the application does."""
    app.state.mcp = door = Door(settings)
    async with door.open():
        yield
