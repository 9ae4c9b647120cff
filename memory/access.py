"""The one access decision, for HTTP, MCP, agents, exports and jobs alike.

Owner; else a live grant that fits user, context and verb; else no. Whoever may not even read learns nothing: an unknown,
a foreign and a masked memory are the same `Hidden`. `Refused` is for who may read but not do this. Both carry what the
audit is told; memory/core.py writes it, in a transaction of its own. Source: memos §3.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select

from memory import rows
from memory.tables import GrantRow, VaultRow
from memory.tx import Tx
from memory.types import MemCube, Vault, Verb
from runtime.errors import Forbidden, UnknownName

DEFAULT = "default"
NOBODY = "unknown"


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


def vault(tx: Tx, ref: str, verb: Verb) -> Access:
    """Decide on a vault, given by id or by the actor's own name for it. Raises `Hidden`, `Refused`."""
    mine = (VaultRow.owner_id == tx.actor.user_id) & (VaultRow.name == ref)
    found = tx.connection.execute(select(VaultRow.__table__).where(or_(VaultRow.id == ref, mine))).all()
    return _decide(tx, found[0] if found else None, verb, "vault", ref)


def vaults(tx: Tx, refs: Sequence[str], verb: Verb) -> list[Access]:
    """Decide on several; every one must be allowed. None named: the actor's `default`, which must have been made."""
    return [vault(tx, ref, verb) for ref in dict.fromkeys(refs or (DEFAULT,))]


def memory(tx: Tx, memory_id: str, verb: Verb) -> tuple[MemCube, Access]:
    """Decide on a memory through its vault, and give it as it is, whatever its state. Raises `Hidden`, `Refused`."""
    cube = rows.cubes(tx, [memory_id]).get(memory_id)
    found = None
    if cube is not None:
        found = tx.connection.execute(select(VaultRow.__table__).where(VaultRow.id == cube.vault_id)).one()
    access = _decide(tx, found, verb, "memory", memory_id)
    assert cube is not None
    if not access.sees(cube.sensitivity):
        raise _hidden("memory", memory_id, Denial(cube.vault_id, verb, "memory", memory_id, "masked"))
    return cube, access


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
    fitting = tx.connection.execute(
        select(GrantRow.__table__)
        .where(GrantRow.vault_id == vault_id)
        .where(or_(GrantRow.grantee_id.is_(None), GrantRow.grantee_id == tx.actor.user_id))
        .where(or_(GrantRow.context.is_(None), GrantRow.context == tx.actor.context))
        .where(or_(GrantRow.expires_at.is_(None), GrantRow.expires_at > tx.now))
        .where(or_(GrantRow.max_reads.is_(None), GrantRow.reads_used < GrantRow.max_reads))
    ).all()
    return sorted(fitting, key=lambda grant: (len(grant.masked_tags), grant.max_reads is not None, grant.id))


def _hidden(object_type: str, ref: str, denial: Denial) -> Hidden:
    return Hidden(f"{object_type} {ref!r}: not found; check the id, and that this key may read it", denial)
