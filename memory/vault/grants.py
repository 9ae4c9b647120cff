"""What an owner lets others do in a vault: given, listed, revoked, and its reads counted.

Whoever has the verb `share` may pass on what they have and no more: some of their verbs, at least their masks, in their
context, not for longer, not for more reads. When a grant goes, what was given on its strength goes with it. A read on a
grant with `max_reads` is counted in one conditional statement before the answer leaves, so that many readers at once
never get more than there are. Source: memos §3.10, §2.2, §3.8 (a change of permission makes files stale), §3.9; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final, get_args

from sqlalchemy import Row, delete, insert, select, update

from memory import access, audit
from memory.access import Access, Denial, Hidden, Refused
from memory.changes import MAX_NAME, plain
from memory.core import Core
from memory.tables import ArtifactRow, GrantRow, MemoryRow
from memory.tx import Tx
from memory.types import Actor, Grant, Verb
from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.ids import new_id
from runtime.tables import User

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
MAX_GRANTS: Final = 1000
MAX_TAGS: Final = 100
MAX_CONTEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be given. `user` and `context` None: to every user, in every context."""

    verbs: frozenset[Verb]
    user: str | None
    context: str | None = None
    masked_tags: tuple[str, ...] = ()
    expires_at: datetime | None = None
    max_reads: int | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A grant with the name of the user (None: every user), and the id of the user who gave it."""

    grant: Grant
    user: str | None
    created_by: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant covers, apart from the vault that it is for."""

    grantee_id: str | None
    context: str | None
    verbs: frozenset[Verb] = field(default=frozenset(VERBS))
    masked: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    max_reads: int | None = None

    def covers(self, other: Scope) -> bool:
        """Whether who has this may give `other` to somebody."""
        return (
            other.verbs <= self.verbs
            and self.masked <= other.masked
            and self.context in (None, other.context)
            and _not_more(other.expires_at, self.expires_at)
            and _not_more(other.max_reads, self.max_reads)
        )


class Grants:
    """Part of `Vaults` (memory/vault/vaults.py); raises as it does."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def give(self, actor: Actor, vault: str, terms: Terms) -> Given:
        """Let a user do something in the vault. Raises `Forbidden` for more than the actor has, `UnknownName` (user)."""
        grant_id = new_id("grt")
        terms = _checked(terms, self._core.clock.now())

        def work(tx: Tx) -> Given:
            allowed = access.vault(tx, vault, "share")
            grantee_id = None if terms.user is None else _user_id(tx, terms.user)
            if grantee_id == allowed.vault.owner_id:
                raise InvalidInput(f"user {terms.user!r}: owns this vault and needs no grant", param="user")
            if len(_of(tx, allowed.vault.id)) >= MAX_GRANTS:
                raise Conflict(f"vault {vault!r}: has {MAX_GRANTS} grants; revoke some of them", param="vault")
            scope = Scope(
                grantee_id,
                terms.context,
                terms.verbs,
                frozenset(terms.masked_tags),
                terms.expires_at,
                terms.max_reads,
            )
            _refuse_more(tx, allowed, scope)
            write(tx, allowed.vault.id, [(grant_id, scope)])
            _audited(tx, "grant", allowed, {"grant": grant_id, "user": grantee_id, "verbs": sorted(scope.verbs)})
            return next(given for given in _named(tx, allowed.vault.id) if given.grant.id == grant_id)

        return await self._core.write(actor, work)

    async def list(self, actor: Actor, vault: str) -> Sequence[Given]:
        """The grants of the vault, oldest first: all for the owner, else those that the actor has or gave."""

        def work(tx: Tx) -> Sequence[Given]:
            allowed = access.vault(tx, vault, "share")
            mine = (None, actor.user_id)
            return [
                given
                for given in _named(tx, allowed.vault.id)
                if allowed.rule == "owner" or given.created_by == actor.user_id or given.grant.grantee_id in mine
            ]

        return await self._core.read(actor, work)

    async def revoke(self, actor: Actor, vault: str, grant_id: str) -> tuple[str, ...]:
        """End a grant and all that was given on its strength; their ids. Raises `Forbidden` for one of somebody else."""

        def work(tx: Tx) -> tuple[str, ...]:
            allowed = access.vault(tx, vault, "share")
            rows = _of(tx, allowed.vault.id)
            row = next((row for row in rows if row.id == grant_id), None)
            if row is None:
                raise UnknownName(f"grant {grant_id!r}: not found; check the id, and that this key may read it")
            if allowed.rule != "owner" and tx.actor.user_id not in (row.created_by, row.grantee_id):
                vault_id = allowed.vault.id
                raise Refused(
                    f"grant {grant_id!r}: was given by somebody else; ask the owner of the vault",
                    Denial(vault_id, "share", "vault", vault_id, "grant of another"),
                )
            left = [row for row in rows if row.id != grant_id]
            gone = (grant_id, *(row.id for row in _baseless(left, allowed.vault.owner_id)))
            remove(tx, allowed.vault.id, gone)
            _audited(tx, "revoke", allowed, {"grants": list(gone)})
            return gone

        return await self._core.write(actor, work)


async def count_reads(core: Core, actor: Actor, allowed: Sequence[Access]) -> None:
    """Count a read that took place on these decisions, where it is to be counted. Raises as `spend` does."""
    metered = [item for item in allowed if item.metered]
    if metered:
        await core.write(actor, lambda tx: spend(tx, metered))


def spend(tx: Tx, metered: Sequence[Access]) -> None:
    """Count one read on each grant behind these decisions. Raises `Hidden` when one is used up, over or revoked."""
    for grant_id, item in sorted({str(item.grant_id): item for item in metered}.items()):
        counted = tx.connection.execute(
            update(GrantRow)
            .where(GrantRow.id == grant_id, *access.fitting(tx))
            .values(reads_used=GrantRow.reads_used + 1)
        )
        if counted.rowcount != 1:
            ref = item.vault.id
            raise Hidden(
                f"vault {ref!r}: not found; check the id, and that this key may read it",
                Denial(ref, "read", "vault", ref, f"grant:{grant_id} is used up"),
            )


def scopes(tx: Tx, vault_id: str) -> list[Scope]:
    """What the live grants of a vault cover, with the reads that are left."""
    return [
        _scope(row, left=True)
        for row in _of(tx, vault_id)
        if (row.expires_at is None or row.expires_at > tx.now)
        and (row.max_reads is None or row.reads_used < row.max_reads)
    ]


def intersection(ours: Sequence[Scope], theirs: Sequence[Scope]) -> list[Scope]:
    """What both lists allow: for each user and context that both speak of, the common verbs and all of the masks. Pure."""
    both: dict[Scope, None] = {}
    for one, other in product(ours, theirs):
        fits = _same(one.grantee_id, other.grantee_id) and _same(one.context, other.context)
        verbs = one.verbs & other.verbs
        if fits and verbs:
            both[
                Scope(
                    one.grantee_id or other.grantee_id,
                    one.context or other.context,
                    verbs,
                    one.masked | other.masked,
                    min((t for t in (one.expires_at, other.expires_at) if t is not None), default=None),
                    min((n for n in (one.max_reads, other.max_reads) if n is not None), default=None),
                )
            ] = None
    return list(both)


def write(tx: Tx, vault_id: str, given: Sequence[tuple[str, Scope]]) -> None:
    """Store grants under their new ids."""
    for grant_id, scope in given:
        tx.connection.execute(
            insert(GrantRow).values(
                id=grant_id,
                vault_id=vault_id,
                grantee_id=scope.grantee_id,
                context=scope.context,
                masked_tags=sorted(scope.masked),
                expires_at=scope.expires_at,
                max_reads=scope.max_reads,
                reads_used=0,
                created_at=tx.now,
                created_by=tx.actor.user_id,
                **{f"can_{verb}": verb in scope.verbs for verb in VERBS},
            )
        )
    _stale_files(tx, vault_id)


def remove(tx: Tx, vault_id: str, ids: Sequence[str]) -> None:
    """End these grants of the vault."""
    tx.connection.execute(delete(GrantRow).where(GrantRow.vault_id == vault_id, GrantRow.id.in_(ids)))
    _stale_files(tx, vault_id)


def remove_all(tx: Tx, vault_id: str) -> tuple[str, ...]:
    """End every grant of the vault; their ids."""
    ids = tuple(row.id for row in _of(tx, vault_id))
    remove(tx, vault_id, ids)
    return ids


def _of(tx: Tx, vault_id: str) -> Sequence[Row[Any]]:
    query = select(GrantRow.__table__).where(GrantRow.vault_id == vault_id).order_by(GrantRow.id)
    return tx.connection.execute(query).all()


def _named(tx: Tx, vault_id: str) -> list[Given]:
    rows = _of(tx, vault_id)
    users = select(User.id, User.name).where(User.id.in_([row.grantee_id for row in rows if row.grantee_id]))
    names = {row.id: row.name for row in tx.connection.execute(users)}
    return [Given(_grant(row), names.get(row.grantee_id), row.created_by) for row in rows]


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        row.id,
        row.vault_id,
        row.grantee_id,
        row.context,
        _verbs(row),
        tuple(row.masked_tags),
        row.expires_at,
        row.max_reads,
        row.reads_used,
        row.created_at,
    )


def _verbs(row: Row[Any]) -> frozenset[Verb]:
    return frozenset(verb for verb in VERBS if getattr(row, f"can_{verb}"))


def _scope(row: Row[Any], *, left: bool = False) -> Scope:
    reads = row.max_reads
    if left and reads is not None:
        reads -= row.reads_used
    return Scope(row.grantee_id, row.context, _verbs(row), frozenset(row.masked_tags), row.expires_at, reads)


def _refuse_more(tx: Tx, allowed: Access, wanted: Scope) -> None:
    """Raise `Refused` when the actor has no grant that covers what it wants to give."""
    if allowed.rule == "owner":
        return
    vault_id = allowed.vault.id
    query = select(GrantRow.__table__).where(GrantRow.vault_id == vault_id, *access.fitting(tx))
    own = [_scope(row, left=True) for row in tx.connection.execute(query) if row.can_share]
    if not any(scope.covers(wanted) for scope in own):
        raise Refused(
            "you may pass on no more than you have: some of your verbs, with all of your masks, in your context, for not "
            "longer and for not more reads",
            Denial(vault_id, "share", "vault", vault_id, "more than own grant"),
        )


def _baseless(rows: Sequence[Row[Any]], owner_id: str) -> list[Row[Any]]:
    """The grants that nobody who still may share could have given. They must lead back to the owner, not to each other."""
    based: list[Row[Any]] = []
    rest = list(rows)
    while True:
        found = [row for row in rest if row.created_by == owner_id or any(_gives(by, row) for by in based)]
        if not found:
            return rest
        based += found
        rest = [row for row in rest if row not in found]


def _gives(by: Row[Any], row: Row[Any]) -> bool:
    return by.can_share and by.grantee_id in (None, row.created_by) and _scope(by).covers(_scope(row))


def _stale_files(tx: Tx, vault_id: str) -> None:
    """Files made from the memories hold them for whoever could read then."""
    mine = select(MemoryRow.id).where(MemoryRow.vault_id == vault_id)
    tx.connection.execute(
        update(ArtifactRow).where(ArtifactRow.memory_id.in_(mine), ArtifactRow.state != "evicted").values(state="stale")
    )


def _audited(tx: Tx, action: str, allowed: Access, detail: dict[str, object]) -> None:
    audit.record(tx, action, "vault", allowed.vault.id, chain=allowed.vault.id, rule=allowed.rule, detail=detail)


def _user_id(tx: Tx, name: str) -> str:
    query = select(User.id).where(User.name == name, User.disabled_at.is_(None))
    found: str | None = tx.connection.execute(query).scalar_one_or_none()
    if found is None:
        raise UnknownName(
            f"user {name!r}: there is no such user; expected the name that a key was made for", param="user"
        )
    return found


def _checked(terms: Terms, now: datetime) -> Terms:
    unknown = sorted(terms.verbs - set(VERBS))
    if unknown or not terms.verbs:
        raise InvalidInput(f"verbs {unknown or []!r}: expected some of {list(VERBS)}", param="verbs")
    if terms.user is not None:
        plain("user", terms.user, MAX_NAME)
    if terms.context is not None and not (0 < len(terms.context) <= MAX_CONTEXT and terms.context.isprintable()):
        raise InvalidInput(f"context: expected 1 to {MAX_CONTEXT} printable characters", param="context")
    masked = tuple(dict.fromkeys(plain("masked_tags", tag, MAX_NAME).strip() for tag in terms.masked_tags))
    if len(masked) > MAX_TAGS or not all(masked):
        raise InvalidInput(f"masked_tags: expected at most {MAX_TAGS} tags, none of them empty", param="masked_tags")
    expires = terms.expires_at
    if expires is not None and (expires.tzinfo is None or expires <= now):
        raise InvalidInput(
            f"expires_at {expires.isoformat()!r}: expected a time to come, with its zone", param="expires_at"
        )
    if terms.max_reads is not None and not 1 <= terms.max_reads < 2**31:
        raise InvalidInput(f"max_reads {terms.max_reads!r}: expected a number from 1 on", param="max_reads")
    expires = None if expires is None else expires.astimezone(UTC)
    return Terms(terms.verbs, terms.user, terms.context, masked, expires, terms.max_reads)


def _not_more(value: Any, limit: Any) -> bool:
    return limit is None or (value is not None and value <= limit)


def _same(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other
