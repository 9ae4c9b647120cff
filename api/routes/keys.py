"""API keys: make, list, revoke. The text of a key is in the answer that makes it and nowhere else. Source: contract §4."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api.auth import Admin, TheService
from api.idempotency import json_response
from api.routes.wire import KeyRequest, key_body
from runtime.errors import InvalidInput

router = APIRouter(prefix="/api/keys", tags=["keys"])


@router.get("")
async def list_keys(service: TheService, caller: Admin) -> dict[str, Any]:
    """Every key, without its secret."""
    return {"items": [key_body(key) for key in await service.keys.all()], "next": None}


@router.post("", status_code=201, responses={400: {"description": "bad request"}})
async def create_key(body: KeyRequest, request: Request, service: TheService, caller: Admin) -> Response:
    """Make a key; `key` in the answer is its text, shown this once.

    The answer holds a secret, so it is not stored: an `Idempotency-Key` is refused here.
    """
    if "idempotency-key" in request.headers:
        raise InvalidInput(
            "Idempotency-Key: not taken here, because the answer holds a secret that is not stored",
            param="Idempotency-Key",
        )
    record, text = await service.keys.create(
        body.name, user=body.user, scopes=body.scopes, expires_at=_time(body.expires_at)
    )
    return json_response({**key_body(record), "key": text}, 201)


@router.delete("/{key_id}", responses={404: {"description": "no such key"}})
async def revoke_key(
    key_id: Annotated[str, Path(max_length=100)], request: Request, service: TheService, caller: Admin
) -> Response:
    """End a key at once."""

    async def work() -> Response:
        return json_response(key_body(await service.keys.revoke(key_id)))

    return await request.app.state.idempotency.once(request, caller.user_id, work)  # type: ignore[no-any-return]


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"expires_at {text!r}: expected a time like 2027-01-31T12:00:00Z", param="expires_at"
        ) from error
