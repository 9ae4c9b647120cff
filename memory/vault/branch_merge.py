"""Brings a branch to `main`: three are compared, and all of it is merged or nothing.

For each row of the branch the memory is compared as it was in the base, as it is on the branch, and as it is on `main`. What
`main` has changed as well is a clash, unless it did the same. Functions inside a transaction. Source: memos §3.5 (3), §7
(11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from memory import access, rows, store
from memory.access import Access
from memory.lifecycle import lifetime_over
from memory.merging import hold
from memory.tables import BranchRow, MemoryRow
from memory.tx import Tx
from memory.types import MemCube
from memory.vault.branch_rows import GONE, Branch, draft_of, version_of
from memory.vault.settling import settle
from runtime.errors import Conflict


@dataclass(frozen=True, slots=True)
class Clash:
    """A memory that cannot be merged: its version in the base, on the branch and on `main`, and why not."""

    memory_id: str
    base: int | None
    branch: int
    main: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did; with `clashes` it did nothing. `settled`: `main` had it already."""

    branch: Branch
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    clashes: tuple[Clash, ...] = ()


class Unmergeable(Exception):
    """Ends the transaction of a merge."""

    def __init__(self, branch: Branch, clash: Clash) -> None:
        super().__init__(clash.why)
        self.branch = branch
        self.clash = clash


def merge(tx: Tx, allowed: Access, branch: Branch) -> Merged:
    """Write the branch into `main`; with clashes in the answer nothing was written.

    Raises `Refused` when the actor may not delete what is deleted on the branch, and `Unmergeable` for a clash that shows
    only while it is written (a frozen memory, a text that another one has): the transaction must be rolled back then.
    """
    query = select(BranchRow.__table__).where(BranchRow.snapshot_id == branch.id).order_by(BranchRow.memory_id)
    found = tx.connection.execute(query).all()
    if any(row.deleted for row in found):
        access.vault(tx, allowed.vault.id, "delete")
    ids = [row.memory_id for row in found if row.base_version is not None]
    hold(tx, ids)
    mains = rows.cubes(tx, ids)
    settled = tuple(row.memory_id for row in found if _is_settled(row, mains.get(row.memory_id)))
    todo = [row for row in found if row.memory_id not in settled]
    clashes = tuple(clash for row in todo if (clash := _clash(row, mains.get(row.memory_id), tx.now)) is not None)
    if clashes:
        return Merged(branch, clashes=clashes)
    reason = f"merged from branch {branch.name}"
    edited = [row for row in todo if row.base_version is not None and not row.deleted]
    _free_texts(tx, [row.memory_id for row in edited if _is_renamed(row, mains[row.memory_id])])
    gone = [row for row in todo if row.deleted]
    for row in gone:
        store.move(tx, mains[row.memory_id], "delete", expect=row.base_version, reason=reason)
    for row in edited:
        main = mains[row.memory_id]
        try:
            store.change(
                tx, main, kind="edit", reason=reason, expect=row.base_version, **rows.fields_of(row.draft["draft"])
            )
        except Conflict as conflict:
            raise Unmergeable(branch, _clashing(row, main, conflict.message)) from conflict
    new = [row for row in todo if row.base_version is None]
    added = store.insert_all(tx, [_new(allowed.vault.id, row, reason) for row in new])
    for item in added:
        if not item.duplicate:
            settle(tx, item.cube)
    twins = tuple(row.memory_id for row, item in zip(new, added, strict=True) if item.duplicate)
    return Merged(
        branch,
        tuple(row.memory_id for row in edited),
        tuple(item.cube.id for item in added if not item.duplicate),
        tuple(row.memory_id for row in gone),
        settled + twins,
    )


def _is_settled(row: Row[Any], main: MemCube | None) -> bool:
    """Whether `main` is already what the branch wants."""
    if row.base_version is None or main is None or main.version == row.base_version:
        return False
    if row.deleted:
        return main.state in GONE
    wanted = rows.fields_of(row.draft["draft"])
    return main.state not in GONE and all(getattr(main, name) == value for name, value in wanted.items())


def _clash(row: Row[Any], main: MemCube | None, now: datetime) -> Clash | None:
    if row.base_version is None:
        return None
    if main is None or not main.content:
        return _clashing(row, main, "it was erased on main")
    if main.version != row.base_version:
        return _clashing(row, main, "it was changed on main as well")
    if not row.deleted and lifetime_over(main.state, main.expires_at, main.sensitivity, now):
        return _clashing(row, main, "its lifetime is over")
    return None


def _clashing(row: Row[Any], main: MemCube | None, why: str) -> Clash:
    return Clash(row.memory_id, row.base_version, version_of(row), None if main is None else main.version, why)


def _is_renamed(row: Row[Any], main: MemCube) -> bool:
    """Whether the edit gives it another text, or another place."""
    given = rows.fields_of(row.draft["draft"])
    return any(getattr(main, name) != given[name] for name in store.IDENTITY & given.keys())


def _free_texts(tx: Tx, ids: Sequence[str]) -> None:
    """Two edited memories may get each other's text; each claims its own again when it is changed."""
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        part = ids[start : start + rows.IN_ONE_QUERY]
        tx.connection.execute(update(MemoryRow).where(MemoryRow.id.in_(part)).values(content_hash=None))


def _new(vault_id: str, row: Row[Any], reason: str) -> store.NewMemory:
    return store.NewMemory(row.memory_id, vault_id, draft_of(row), row.draft["provenance_id"], reason=reason)
