"""API keys: make, list, revoke. The text of a key is in the answer that makes it and nowhere else. Source: contract §4."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.answers import json_response
from api.auth import Admin, TheService
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import KeyBody, KeyList, KeyMade, answers
from api.routes.wire import KeyRequest, PlainText, key_body

router = APIRouter(prefix="/api/keys", tags=["keys"], route_class=Route)


@router.get("", responses=answers(KeyList))
async def list_keys(service: TheService, caller: Admin) -> Response:
    """Every key, without its secret."""
    return json_response({"items": [key_body(key) for key in await service.keys.all()], "next": None})


@router.post("", status_code=201, responses=answers(KeyMade, 409, 413, 415, status=201, text="made"))
async def create_key(body: KeyRequest, service: TheService, caller: Admin, once: Idempotent) -> Response:
    """Make a key; `key` in the answer is its text, shown this once.

    A repeat with the same `Idempotency-Key` makes no second key, and cannot show the text again: it is not kept.
    """
    expires_at = None if body.expires_at is None else body.expires_at.astimezone(UTC)
    made: list[object] = []

    async def work() -> Response:
        record, text = await service.keys.create(body.name, user=body.user, scopes=body.scopes, expires_at=expires_at)
        made.append(key_body(record))
        return json_response({**key_body(record), "key": text}, 201)

    def kept(response: Response) -> Response:
        return json_response({**made[0], "key": None}, 201)  # type: ignore[dict-item]

    return await once(caller.user_id, work, kept)


@router.delete("/{key_id}", responses=answers(KeyBody, 404, 409))
async def revoke_key(
    key_id: Annotated[PlainText, Path(max_length=100)], service: TheService, caller: Admin, once: Idempotent
) -> Response:
    """End a key at once."""

    async def work() -> Response:
        return json_response(key_body(await service.keys.revoke(key_id)))

    return await once(caller.user_id, work)
