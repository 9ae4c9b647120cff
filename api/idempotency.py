"""`Idempotency-Key`: the same changing call, sent twice, is done once and answered twice with the same.

The key is taken before the call is made; while it is under way a second one gets 409. Answers of 5xx are not kept, so
the call can be tried again. Source: draft-ietf-httpapi-idempotency-key-header; contract §4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from api.errors import IdempotencyMismatch
from runtime.db import Database
from runtime.errors import Conflict, InvalidInput, MnemeError, StorageError
from runtime.ids import Clock
from runtime.tables import Idempotency

KEPT_FOR = timedelta(hours=24)
MAX_KEY = 200


class IdempotencyKeys:
    """The stored answers."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def once(
        self,
        request: Request,
        user_id: str,
        work: Callable[[], Awaitable[Response]],
        *,
        kept: Callable[[Response], Response] | None = None,
    ) -> Response:
        """Do `work`, or answer as the first time. Raises `IdempotencyMismatch`, `Conflict`, `InvalidInput`.

        `kept` makes the answer that is stored from the one that is sent, for answers that hold a secret.
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            return await work()
        if not key or len(key) > MAX_KEY or not key.isprintable():
            raise InvalidInput(
                f"Idempotency-Key: expected 1 to {MAX_KEY} printable characters", param="Idempotency-Key"
            )
        digest = hashlib.sha256(_told(request).encode() + await request.body()).hexdigest()
        row = await self._take(user_id, key, digest)
        if row is not None:
            return Response(row.body, row.status, {"Idempotency-Replayed": "true"}, "application/json")
        try:
            response = await work()
        except MnemeError:
            await self._forget(user_id, key)
            raise
        if response.status_code >= 500:
            await self._forget(user_id, key)
        else:
            await self._keep(user_id, key, kept(response) if kept else response)
        return response

    async def _take(self, user_id: str, key: str, digest: str) -> Row[Any] | None:
        now = self._clock.now()
        mine = (Idempotency.user_id == user_id, Idempotency.key == key)

        def work(connection: Connection) -> Row[Any] | None:
            connection.execute(delete(Idempotency).where(Idempotency.created_at < now - KEPT_FOR))
            row = connection.execute(select(Idempotency).where(*mine)).one_or_none()
            if row is None:
                values = {"user_id": user_id, "key": key, "request_digest": digest, "created_at": now}
                connection.execute(insert(Idempotency).values(**values))
            return row

        try:
            row = await self._db.write(work)
        except StorageError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            row = await self._db.read(lambda connection: connection.execute(select(Idempotency).where(*mine)).one())
        if row is None:
            return None
        if row.request_digest != digest:
            raise IdempotencyMismatch(
                f"Idempotency-Key {key!r} was used for another request; use a new one", param="Idempotency-Key"
            )
        if row.status is None:
            raise Conflict(f"the request with Idempotency-Key {key!r} is still under way", param="Idempotency-Key")
        return row

    async def _keep(self, user_id: str, key: str, response: Response) -> None:
        body = bytes(response.body).decode()
        await self._db.write(
            lambda connection: connection.execute(
                update(Idempotency)
                .where(Idempotency.user_id == user_id, Idempotency.key == key)
                .values(status=response.status_code, body=body)
            )
        )

    async def _forget(self, user_id: str, key: str) -> None:
        await self._db.write(
            lambda connection: connection.execute(
                delete(Idempotency).where(Idempotency.user_id == user_id, Idempotency.key == key)
            )
        )


def _told(request: Request) -> str:
    # Everything beside the body that says what is to be done.
    seen = "\n".join(request.headers.get(name, "") for name in ("if-match", "x-mneme-context"))
    return f"{request.method} {request.url.path}?{request.url.query}\n{seen}\n"


class Once(Protocol):
    """Does the work of a request once per `Idempotency-Key`; see `IdempotencyKeys.once`."""

    async def __call__(
        self,
        user_id: str,
        work: Callable[[], Awaitable[Response]],
        kept: Callable[[Response], Response] | None = None,
        /,
    ) -> Response: ...


def _once(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description=f"1 to {MAX_KEY} printable characters; the same key with the same request is done once",
        ),
    ] = None,
) -> Once:
    keys: IdempotencyKeys = request.app.state.idempotency

    async def once(
        user_id: str, work: Callable[[], Awaitable[Response]], kept: Callable[[Response], Response] | None = None, /
    ) -> Response:
        return await keys.once(request, user_id, work, kept=kept)

    return once


Idempotent = Annotated[Once, Depends(_once)]
