"""Who calls. Identity comes from the credential and from nothing else (contract §4).

A key comes as `Authorization: Bearer mk-…`, or as the password of HTTP Basic, which is what a browser can send. A service
that asks for no key (loopback only) takes every caller of this machine as the user `local`; any other bearer word, such
as the one that the OpenAI client insists on, is no key of ours and is ignored there. A page of another site must not use
that trust: the `Host` must be one of this machine, and a changing request from another origin is refused. Source: ours.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from agents.service import Service
from runtime.errors import AuthError, Forbidden
from runtime.keys import Identity, Scope
from runtime.settings import Settings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def service_of(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


async def identify(request: Request) -> Identity:
    """The caller. Raises `AuthError`, `Forbidden`."""
    service = service_of(request)
    header = request.headers.get("authorization", "")
    key = _key_of(header)
    if key is not None:
        if header[:5].lower() == "basic":
            # A browser adds it to whatever a page of another site makes it send.
            _refuse_other_origin(request)
        return await service.keys.verify(key)
    if service.settings.auth_required:
        raise AuthError(
            "no API key: send 'Authorization: Bearer mk-…'; `mneme keys create` makes one on the server's machine"
        )
    _refuse_strangers(request, service.settings)
    identity: Identity = request.app.state.local
    return identity


def need(scope: Scope) -> Callable[[Request], Awaitable[Identity]]:
    """A dependency: the caller, whom the route has identified (api/route.py) and who must have `scope`."""

    async def dependency(request: Request) -> Identity:
        identity: Identity = request.state.caller
        if not identity.may(scope):
            raise Forbidden(f"this API key lacks the scope {scope!r}; it has {sorted(identity.scopes)}")
        return identity

    return dependency


Reader = Annotated[Identity, Depends(need("read"))]
Runs = Annotated[Identity, Depends(need("run"))]
Admin = Annotated[Identity, Depends(need("admin"))]
TheService = Annotated[Service, Depends(service_of)]


def _key_of(header: str) -> str | None:
    scheme, _, rest = header.partition(" ")
    word = rest.strip()
    if scheme.lower() == "basic":
        try:
            word = base64.b64decode(word, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AuthError("the Basic credential cannot be read; expected the API key as the password") from error
    return word if word.startswith("mk-") else None


def _refuse_strangers(request: Request, settings: Settings) -> None:
    client = request.client.host if request.client else ""
    if client and not _loopback(client):
        raise AuthError(f"callers from {client!r} need an API key: send 'Authorization: Bearer mk-…'")
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if not (_loopback(name) or name == settings.server.host):
        raise Forbidden(f"Host {host!r} is not this machine; without an API key only loopback names are answered")
    _refuse_other_origin(request)


def _refuse_other_origin(request: Request) -> None:
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin and request.method not in SAFE and urlsplit(origin).netloc != host:
        raise Forbidden(
            f"the origin {origin!r} is not the Host {host!r}, and pages of other sites change nothing here; send "
            "'Authorization: Bearer mk-…', or let the proxy in front pass Host on"
        )


def _loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
