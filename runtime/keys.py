"""API keys: made, shown once, hashed, scoped, revoked. Identity comes from a key and from nothing else.

A key is `mk-<id>-<secret>`: the id finds the row, so one hash is computed per check. argon2 is slow on purpose; a key
that was verified is remembered by the digest of its text, while the row (revoked? expired?) is looked at every time.
Source: contract §4 (auth), ours, over argon2-cffi.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from runtime.db import Database
from runtime.errors import AuthError, InvalidInput, StorageError, UnknownName
from runtime.ids import Clock, new_id
from runtime.tables import ApiKey, User
from runtime.telemetry import get_logger

Scope = Literal["read", "run", "admin"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
LOCAL_USER = "local"
USED_EVERY = timedelta(minutes=1)
KEY = re.compile(r"(mk-[0-9a-f]{12})-[0-9A-Za-z_-]{43}")
MAX_NAME = 200
# A key is 256 random bits, which nobody guesses; the hash need not make up for a weak password, so it may be cheap in
# memory: many wrong keys at once must not push the service out of it.
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
HASHES_AT_ONCE = 2

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. `key_id` is None for the user of a loopback service without keys."""

    user_id: str
    user_name: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    def may(self, scope: Scope) -> bool:
        """`admin` may do everything, `run` may also read."""
        return scope in self.scopes or "admin" in self.scopes or (scope == "read" and "run" in self.scopes)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its secret."""

    id: str
    name: str
    user: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyStore:
    """The tables of users and keys."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._hashing = anyio.CapacityLimiter(HASHES_AT_ONCE)
        self._verified: dict[str, bytes] = {}

    async def create(
        self,
        name: str,
        *,
        user: str = LOCAL_USER,
        scopes: Sequence[str] = ("read", "run"),
        expires_at: datetime | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key and return it with its text, which is not kept. Raises `InvalidInput`."""
        for param, value in (("name", name), ("user", user)):
            if not 1 <= len(value) <= MAX_NAME or not value.isprintable():
                raise InvalidInput(f"{param} {value!r}: expected 1 to {MAX_NAME} printable characters", param=param)
        unknown = sorted(set(scopes) - SCOPES)
        if unknown or not scopes:
            raise InvalidInput(f"scopes {list(scopes)!r}: expected some of {sorted(SCOPES)}", param="scopes")
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= self._clock.now()):
            raise InvalidInput(
                f"expires_at {expires_at.isoformat()!r}: expected a time to come, with its zone", param="expires_at"
            )
        key_id = new_id("key")
        prefix = f"mk-{secrets.token_hex(6)}"
        text = f"{prefix}-{secrets.token_urlsafe(32)}"
        hashed = await anyio.to_thread.run_sync(HASHER.hash, text, limiter=self._hashing)
        now = self._clock.now()
        user_id = await self.user_id(user)
        await self._db.write(
            lambda connection: connection.execute(
                insert(ApiKey).values(
                    id=key_id,
                    user_id=user_id,
                    name=name,
                    prefix=prefix,
                    hash=hashed,
                    scopes=sorted(set(scopes)),
                    created_at=now,
                    expires_at=expires_at,
                )
            )
        )
        return (await self._records(ApiKey.id == key_id))[0], text

    async def verify(self, text: str) -> Identity:
        """The identity behind a key. Raises `AuthError` for one that is unknown, wrong, expired or revoked."""
        parts = KEY.fullmatch(text)
        if parts is None:
            raise AuthError("the API key is not valid: expected the text `mk-…` that `mneme keys create` has shown")
        prefix = parts[1]
        row = await self._db.read(
            lambda connection: connection.execute(
                select(ApiKey, User.name.label("user"), User.disabled_at).join(User).where(ApiKey.prefix == prefix)
            ).one_or_none()
        )
        now = self._clock.now()
        if row is None or row.revoked_at or row.disabled_at or (row.expires_at and row.expires_at <= now):
            raise AuthError(
                "the API key is not valid: it is unknown, revoked or expired; `mneme keys create` makes one"
            )
        digest = hashlib.sha256(text.encode()).digest()
        if not secrets.compare_digest(self._verified.get(row.id, b""), digest):
            try:
                await anyio.to_thread.run_sync(HASHER.verify, row.hash, text, limiter=self._hashing)
            except (VerificationError, InvalidHashError) as error:
                raise AuthError("the API key is not valid: it is unknown, revoked or expired") from error
            self._verified[row.id] = digest
        if row.last_used_at is None or now - row.last_used_at > USED_EVERY:
            await self._note_use(row.id, now)
        return Identity(row.user_id, row.user, frozenset(row.scopes), row.id)

    async def _note_use(self, key_id: str, now: datetime) -> None:
        used = update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now)
        try:
            await self._db.write(lambda connection: connection.execute(used))
        except StorageError as error:
            # Nobody is locked out, and reads go on, because a disk is full.
            log.warning("key.use_not_noted", key_id=key_id, error=error.message)

    async def all(self) -> Sequence[KeyRecord]:
        """Every key, oldest first, revoked ones too."""
        return await self._records()

    async def revoke(self, key_id: str) -> KeyRecord:
        """End a key at once, for every process. Raises `UnknownName`."""
        now = self._clock.now()
        await self._db.write(
            lambda connection: connection.execute(
                update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
            )
        )
        records = await self._records(ApiKey.id == key_id)
        if not records:
            raise UnknownName(f"API key {key_id!r}: no such key", param="key_id")
        return records[0]

    async def any_active(self) -> bool:
        """True when at least one key could be used now."""
        now = self._clock.now()
        return any(
            not key.revoked_at and not (key.expires_at and key.expires_at <= now) for key in await self._records()
        )

    async def local(self) -> Identity:
        """The identity of whoever calls a loopback service that asks for no key."""
        return Identity(await self.user_id(LOCAL_USER), LOCAL_USER, SCOPES)

    async def user_id(self, name: str) -> str:
        """The id of a user, who is made when there is none of that name."""
        query = select(User.id).where(User.name == name)
        found = await self._db.read(lambda connection: connection.execute(query).scalar_one_or_none())
        if found is not None:
            return str(found)
        now = self._clock.now()

        def work(connection: Connection) -> None:
            connection.execute(insert(User).values(id=new_id("usr"), name=name, role="member", created_at=now))

        try:
            await self._db.write(work)
        except StorageError as error:
            # Two callers may make the same user at once; the second finds the first one's.
            if not isinstance(error.__cause__, IntegrityError):
                raise
        return str(await self._db.read(lambda connection: connection.execute(query).scalar_one()))

    async def _records(self, *conditions: Any) -> Sequence[KeyRecord]:
        query = select(ApiKey, User.name.label("user")).join(User).where(*conditions).order_by(ApiKey.id)
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        return [_key(row) for row in rows]


def _key(row: Any) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        name=row.name,
        user=row.user,
        prefix=row.prefix,
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
