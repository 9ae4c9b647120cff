"""Snapshots: which version and state every memory of a vault had at one moment, and what differs from it now.

A snapshot holds no text, only numbers; the texts are in the history. Its digest covers (id, keyed digest of the content,
state) of each memory, so it can be computed again after a rollback has raised the versions, and equals the first one
exactly when the texts and states are back. Memories that were purged are in no snapshot, and one that is purged later
can be in no rollback. Source: memos §3.5 (1); ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from sqlalchemy import ColumnElement, Row, delete, func, insert, literal, or_, select, update

from memory import access, audit
from memory.access import Access
from memory.changes import plain
from memory.core import Core
from memory.tables import MemoryRow, SnapshotItemRow, SnapshotRow, VersionRow
from memory.tx import Tx
from memory.types import LIVE, Actor, State, Version
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import new_id

MAIN: Final = "main"
MAX_LABEL: Final = 200
MAX_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named moment of a vault; `branch` is `main`, or the name of the branch that it is the base of."""

    id: str
    vault_id: str
    label: str
    parent_id: str | None
    branch: str
    at: datetime
    created_by: str
    digest: str


@dataclass(frozen=True, slots=True)
class Item:
    """A memory as the snapshot knows it."""

    memory_id: str
    version: int
    state: State


@dataclass(frozen=True, slots=True)
class Difference:
    """One memory that is not as it was. `then` is None for one that came later; a purged one cannot come back."""

    memory_id: str
    what: Literal["changed", "new", "purged"]
    then: Item | None
    now: Item


class Snapshots:
    """Part of `Vaults` (memory/vault/vaults.py); raises as it does."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def take(self, actor: Actor, vault: str, label: str = "") -> Snapshot:
        """Keep which version and state every memory of the vault has."""
        snapshot_id = new_id("snp")
        label = plain("label", label, MAX_LABEL)

        def work(tx: Tx) -> Snapshot:
            allowed = access.vault(tx, vault, "write")
            made = take(tx, snapshot_id, allowed.vault.id, label)
            audit.record(
                tx, "snapshot", "vault", made.vault_id, chain=made.vault_id, rule=allowed.rule, detail={"id": made.id}
            )
            return made

        return await self._core.write(actor, work)

    async def page(self, actor: Actor, vault: str, *, after: str | None = None, limit: int = 50) -> Sequence[Snapshot]:
        """The snapshots of the vault, newest first, older than `after`; without the bases of branches."""
        limit = _checked(limit)

        def work(tx: Tx) -> Sequence[Snapshot]:
            vault_id = access.vault(tx, vault, "read").vault.id
            query = select(SnapshotRow.__table__).where(SnapshotRow.vault_id == vault_id, SnapshotRow.branch == MAIN)
            if after is not None:
                query = query.where(SnapshotRow.id < after)
            found = tx.connection.execute(query.order_by(SnapshotRow.id.desc()).limit(limit))
            return [_snapshot(row) for row in found]

        return await self._core.read(actor, work)

    async def show(
        self, actor: Actor, vault: str, snapshot_id: str, *, after: str = "", limit: int = 50
    ) -> tuple[Snapshot, Sequence[Item]]:
        """A snapshot with its memories that the actor may see, by id behind `after`."""
        limit = _checked(limit)

        def work(tx: Tx) -> tuple[Snapshot, Sequence[Item]]:
            allowed = access.vault(tx, vault, "read")
            snapshot = get(tx, allowed.vault.id, snapshot_id)
            query = _ITEMS.where(SnapshotItemRow.snapshot_id == snapshot.id, SnapshotItemRow.memory_id > after)
            return snapshot, [item for item, _ in _seen(tx, allowed, query, limit)]

        return await self._core.read(actor, work)

    async def diff(
        self, actor: Actor, vault: str, snapshot_id: str, *, after: str = "", limit: int = 50
    ) -> Sequence[Difference]:
        """What is not as it was and what has come since, by id behind `after`; only what the actor may see."""
        limit = _checked(limit)

        def work(tx: Tx) -> Sequence[Difference]:
            allowed = access.vault(tx, vault, "read")
            snapshot = get(tx, allowed.vault.id, snapshot_id)
            query = _ITEMS.where(SnapshotItemRow.snapshot_id == snapshot.id, DIFFERS, SnapshotItemRow.memory_id > after)
            changed = [
                Difference(item.memory_id, "purged" if row.digest_key is None else "changed", item, _now(row))
                for item, row in _seen(tx, allowed, query, limit)
            ]
            later = _CURRENT.where(*is_newcomer(snapshot), MemoryRow.id > after)
            new = [Difference(row.memory_id, "new", None, _now(row)) for _, row in _seen(tx, allowed, later, limit)]
            return sorted(changed + new, key=lambda difference: difference.memory_id)[:limit]

        return await self._core.read(actor, work)

    async def forget(self, actor: Actor, vault: str, snapshot_id: str) -> Snapshot:
        """Take the snapshot away; the memories and their history stay."""

        def work(tx: Tx) -> Snapshot:
            allowed = access.vault(tx, vault, "write")
            snapshot = get(tx, allowed.vault.id, snapshot_id)
            tx.connection.execute(delete(SnapshotRow).where(SnapshotRow.id == snapshot.id))
            audit.record(
                tx,
                "forget",
                "vault",
                snapshot.vault_id,
                chain=snapshot.vault_id,
                rule=allowed.rule,
                detail={"id": snapshot.id},
            )
            return snapshot

        return await self._core.write(actor, work)


def take(tx: Tx, snapshot_id: str, vault_id: str, label: str, branch: str = MAIN) -> Snapshot:
    """Write a snapshot of the vault as one statement sees it."""
    parent = tx.connection.execute(
        select(func.max(SnapshotRow.id)).where(SnapshotRow.vault_id == vault_id, SnapshotRow.branch == MAIN)
    ).scalar_one()
    row: dict[str, Any] = {"id": snapshot_id, "vault_id": vault_id, "label": label, "parent_id": parent}
    row |= {"branch": branch, "at": tx.now, "created_by": tx.actor.user_id}
    tx.connection.execute(insert(SnapshotRow).values(**row, digest=""))
    there = select(literal(snapshot_id), MemoryRow.id, MemoryRow.version, MemoryRow.state).where(
        MemoryRow.vault_id == vault_id, MemoryRow.digest_key.is_not(None)
    )
    tx.connection.execute(insert(SnapshotItemRow).from_select(["snapshot_id", "memory_id", "version", "state"], there))
    then = select(SnapshotItemRow.memory_id, VersionRow.content_digest, SnapshotItemRow.state).join(
        VersionRow,
        (VersionRow.memory_id == SnapshotItemRow.memory_id) & (VersionRow.version == SnapshotItemRow.version),
    )
    digest = _digest(tx.connection.execute(then.where(SnapshotItemRow.snapshot_id == snapshot_id)))
    tx.connection.execute(update(SnapshotRow).where(SnapshotRow.id == snapshot_id).values(digest=digest))
    return Snapshot(**row, digest=digest)


def get(tx: Tx, vault_id: str, snapshot_id: str) -> Snapshot:
    """A snapshot of the vault. Raises `UnknownName`, also for the base of a branch."""
    query = select(SnapshotRow.__table__).where(
        SnapshotRow.id == snapshot_id, SnapshotRow.vault_id == vault_id, SnapshotRow.branch == MAIN
    )
    row = tx.connection.execute(query).one_or_none()
    if row is None:
        raise UnknownName(f"snapshot {snapshot_id!r}: not found; check the id, and that this key may read it")
    return _snapshot(row)


def digest_now(tx: Tx, snapshot_id: str) -> str:
    """The digest over the same memories as they are at this moment."""
    now = (
        select(SnapshotItemRow.memory_id, VersionRow.content_digest, MemoryRow.state)
        .join(MemoryRow, MemoryRow.id == SnapshotItemRow.memory_id)
        .join(VersionRow, (VersionRow.memory_id == MemoryRow.id) & (VersionRow.version == MemoryRow.version))
        .where(SnapshotItemRow.snapshot_id == snapshot_id)
    )
    return _digest(tx.connection.execute(now))


def versions_of(tx: Tx, snapshot_id: str, ids: Sequence[str]) -> dict[str, Version]:
    """What each of these memories was in the snapshot. At most `rows.IN_ONE_QUERY` ids."""
    query = (
        select(VersionRow.__table__)
        .join(
            SnapshotItemRow,
            (SnapshotItemRow.memory_id == VersionRow.memory_id) & (SnapshotItemRow.version == VersionRow.version),
        )
        .where(SnapshotItemRow.snapshot_id == snapshot_id, VersionRow.memory_id.in_(ids))
    )
    names = [item.name for item in fields(Version)]
    return {
        row.memory_id: Version(**{name: getattr(row, name) for name in names}) for row in tx.connection.execute(query)
    }


def is_newcomer(snapshot: Snapshot) -> tuple[ColumnElement[bool], ...]:
    """Which memories of the vault are live and came after the snapshot."""
    known = select(SnapshotItemRow.memory_id).where(
        SnapshotItemRow.snapshot_id == snapshot.id, SnapshotItemRow.memory_id == MemoryRow.id
    )
    return (MemoryRow.vault_id == snapshot.vault_id, MemoryRow.state.in_(sorted(LIVE)), ~known.exists())


DIFFERS: Final = or_(MemoryRow.version != SnapshotItemRow.version, MemoryRow.state != SnapshotItemRow.state)
_NOW: Final = (MemoryRow.version.label("now_version"), MemoryRow.state.label("now_state"))
_CURRENT: Final = select(
    MemoryRow.id.label("memory_id"),
    MemoryRow.version,
    MemoryRow.state,
    MemoryRow.sensitivity,
    MemoryRow.digest_key,
    *_NOW,
).order_by(MemoryRow.id)
_ITEMS: Final = (
    select(
        SnapshotItemRow.memory_id,
        SnapshotItemRow.version,
        SnapshotItemRow.state,
        MemoryRow.sensitivity,
        MemoryRow.digest_key,
        *_NOW,
    )
    .join(MemoryRow, MemoryRow.id == SnapshotItemRow.memory_id)
    .order_by(SnapshotItemRow.memory_id)
)


def _seen(tx: Tx, allowed: Access, query: Any, limit: int) -> list[tuple[Item, Row[Any]]]:
    """The first rows that are not masked; the masks are in JSON, so they are looked at here."""
    found: list[tuple[Item, Row[Any]]] = []
    result = tx.connection.execute(query)
    for row in result:
        if allowed.sees(row.sensitivity):
            found.append((Item(row.memory_id, row.version, row.state), row))
        if len(found) == limit:
            break
    result.close()
    return found


def _now(row: Row[Any]) -> Item:
    return Item(row.memory_id, row.now_version, row.now_state)


def _digest(items: Iterable[Row[Any]]) -> str:
    whole = hashlib.sha256()
    for memory_id, content_digest, state in sorted(tuple(item) for item in items):
        whole.update(orjson.dumps([memory_id, content_digest, state]))
    return whole.hexdigest()


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
    return limit


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(row.id, row.vault_id, row.label, row.parent_id, row.branch, row.at, row.created_by, row.digest)
