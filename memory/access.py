"""The one access decision, for HTTP, MCP, agents, exports and jobs alike.

Owner; else a live grant that fits user, context and verb; else no. Whoever may not even read learns nothing: an unknown,
a foreign and a masked memory are the same `Hidden`. `Refused` is for who may read but not do this. Both carry what the
audit is told; memory/core.py writes it, in a transaction of its own. A vault that was deleted is not there any more; one
that is locked, because all of it is being rolled back or emptied, takes no write from anybody else. Source: memos §3.10,
§3.5 (write lock).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Row, Select, bindparam, or_, select

from memory import rows
from memory.tables import GrantRow, VaultRow
from memory.tx import Tx
from memory.types import MemCube, Vault, Verb
from runtime.errors import Conflict, Forbidden, UnknownName

DEFAULT = "default"
NOBODY = "unknown"
Lock = Literal["none", "shared", "alone"]
CHANGING: Final[frozenset[Verb]] = frozenset({"write", "delete"})


@dataclass(frozen=True, slots=True)
class Denial:
    """A line for the audit."""

    chain: str
    verb: Verb
    object_type: str
    object_id: str
    rule: str


class Hidden(UnknownName):
    """The thing is not there for this caller."""

    def __init__(self, message: str, denial: Denial) -> None:
        super().__init__(message)
        self.denial = denial


class Refused(Forbidden):
    """The caller may see the thing, but not do this with it."""

    def __init__(self, message: str, denial: Denial) -> None:
        super().__init__(message)
        self.denial = denial


@dataclass(frozen=True, slots=True)
class Access:
    """A decision in favour: by which rule, which sensitivity tags stay hidden, and the grant whose reads are counted."""

    vault: Vault
    rule: str
    masked: frozenset[str] = frozenset()
    grant_id: str | None = None
    metered: bool = False

    def sees(self, sensitivity: Sequence[str]) -> bool:
        """False for a memory that carries a masked tag."""
        return not self.masked.intersection(sensitivity)


def vault(tx: Tx, ref: str, verb: Verb, *, alone: bool = False, despite_lock: bool = False) -> Access:
    """Decide on a vault, given by id or by the actor's own name for it.

    `alone`: nobody else changes the vault until the transaction ends. `despite_lock`: the caller looks at the write lock
    itself (memory/vault/vault_lock.py). Raises `Hidden`, `Refused`, `Conflict` for a change of a locked vault.
    """
    lock: Lock = "alone" if alone else _lock(verb)
    found = tx.connection.execute(_named(lock), {"ref": ref, "me": tx.actor.user_id}).first()
    access = _decide(tx, found, verb, "vault", ref)
    if not despite_lock:
        _refuse_locked(found, verb)
    return access


def vaults(tx: Tx, refs: Sequence[str], verb: Verb) -> list[Access]:
    """Decide on several; every one must be allowed. None named: the actor's `default`, which must have been made."""
    return [vault(tx, ref, verb) for ref in dict.fromkeys(refs or (DEFAULT,))]


def memory(tx: Tx, memory_id: str, verb: Verb) -> tuple[MemCube, Access]:
    """Decide on a memory through its vault, and give it as it is, whatever its state. Raises as `vault` does."""
    cube = rows.cubes(tx, [memory_id]).get(memory_id)
    found = None
    if cube is not None:
        found = tx.connection.execute(_by_id(_lock(verb)), {"ref": cube.vault_id}).first()
    access = _decide(tx, found, verb, "memory", memory_id)
    assert cube is not None
    if not access.sees(cube.sensitivity):
        raise _hidden("memory", memory_id, Denial(cube.vault_id, verb, "memory", memory_id, "masked"))
    _refuse_locked(found, verb)
    return cube, access


def need_owner(allowed: Access, verb: Verb, what: str) -> None:
    """Raise `Refused` unless the actor owns the vault."""
    if allowed.rule != "owner":
        raise _not_so(allowed, verb, f"only its owner may {what}", "owner only")


def need_all(allowed: Access, verb: Verb, what: str) -> None:
    """Raise `Refused` when some of the memories are hidden from the actor."""
    if allowed.masked:
        raise _not_so(allowed, verb, f"some of its memories are hidden from you, so you cannot {what}", "masked")


def need_open(allowed: Access) -> None:
    """Raise `Conflict` for a vault that is archived."""
    if allowed.vault.archived_at is not None:
        raise Conflict(
            f"vault {allowed.vault.name!r} is archived; take it back into use before you write", param="vault"
        )


def fitting(tx: Tx) -> tuple[ColumnElement[bool], ...]:
    """Which grants are live and fit the actor, of whatever vault."""
    return _fitting(tx.actor.user_id, tx.actor.context, tx.now)


def _fitting(user: object, context: object, now: object) -> tuple[ColumnElement[bool], ...]:
    return (
        or_(GrantRow.grantee_id.is_(None), GrantRow.grantee_id == user),
        or_(GrantRow.context.is_(None), GrantRow.context == context),
        or_(GrantRow.expires_at.is_(None), GrantRow.expires_at > now),
        or_(GrantRow.max_reads.is_(None), GrantRow.reads_used < GrantRow.max_reads),
    )


def _lock(verb: Verb) -> Lock:
    # Whoever holds the vault alone waits for the changes that have begun, and those that come later wait for him.
    return "shared" if verb in CHANGING else "none"


# Made once: every call of the store asks them, and building one takes longer than its answer.


@cache
def _named(lock: Lock) -> Select[Any]:
    mine = (VaultRow.owner_id == bindparam("me")) & (VaultRow.name == bindparam("ref"))
    return _vaults(lock).where(or_(VaultRow.id == bindparam("ref"), mine))


@cache
def _by_id(lock: Lock) -> Select[Any]:
    return _vaults(lock).where(VaultRow.id == bindparam("ref"))


@cache
def _live_grants() -> Select[Any]:
    now = bindparam("now", type_=GrantRow.__table__.c.expires_at.type)
    context = bindparam("context", type_=GrantRow.__table__.c.context.type)
    fits = _fitting(bindparam("me"), context, now)
    return select(GrantRow.__table__).where(GrantRow.vault_id == bindparam("vault"), *fits)


def _vaults(lock: Lock) -> Select[Any]:
    query = select(VaultRow.__table__).where(VaultRow.deleted_at.is_(None))
    match lock:
        case "alone":
            return query.with_for_update()
        case "shared":
            return query.with_for_update(read=True, key_share=True)
        case "none":
            return query


def _refuse_locked(found: Row[Any] | None, verb: Verb) -> None:
    if found is not None and found.locked_by is not None and verb in CHANGING:
        raise Conflict(
            f"vault {found.name!r} takes no change while all of it is being rolled back or emptied; wait for the job "
            f"{found.locked_by!r} to end",
            param="vault",
        )


def _decide(tx: Tx, found: Row[Any] | None, verb: Verb, object_type: str, ref: str) -> Access:
    # The same statements whether the thing is unknown or foreign, so that the time tells neither.
    grants = _grants(tx, found.id if found is not None else NOBODY)
    if found is None:
        raise _hidden(object_type, ref, Denial(tx.actor.user_id, verb, object_type, ref, "unknown"))
    if found.owner_id == tx.actor.user_id:
        return Access(rows.vault(found), "owner")
    readable = [grant for grant in grants if grant.can_read]
    chosen = next((grant for grant in grants if getattr(grant, f"can_{verb}")), None)
    if chosen is not None:
        return Access(
            rows.vault(found),
            f"grant:{chosen.id}",
            frozenset(chosen.masked_tags),
            chosen.id,
            chosen.max_reads is not None,
        )
    denial = Denial(found.id, verb, object_type, ref, "no grant")
    if readable:
        raise Refused(f"{object_type} {ref!r}: your grant does not include {verb!r}; ask its owner for it", denial)
    raise _hidden(object_type, ref, denial)


def _grants(tx: Tx, vault_id: str) -> Sequence[Row[Any]]:
    """The live grants that fit the actor, those that hide least first."""
    given = {"vault": vault_id, "me": tx.actor.user_id, "context": tx.actor.context, "now": tx.now}
    live = tx.connection.execute(_live_grants(), given).all()
    return sorted(live, key=lambda grant: (len(grant.masked_tags), grant.max_reads is not None, grant.id))


def _not_so(allowed: Access, verb: Verb, why: str, rule: str) -> Refused:
    vault_id = allowed.vault.id
    return Refused(f"vault {vault_id!r}: {why}", Denial(vault_id, verb, "vault", vault_id, rule))


def _hidden(object_type: str, ref: str, denial: Denial) -> Hidden:
    return Hidden(f"{object_type} {ref!r}: not found; check the id, and that this key may read it", denial)
