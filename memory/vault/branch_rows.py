"""A branch of a vault: its rows, and how a memory is seen on it.

A row lies over a memory of the base and holds the fields that are other there; a row without a base is a memory that was
added. Fields are kept as JSON, as in a version. Functions inside a transaction. Source: memos §3.5 (3); ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, insert, select, update

from memory import rows, versions
from memory.access import Access
from memory.lifecycle import lifetime_over
from memory.listing import Page
from memory.tables import BranchRow, SnapshotItemRow, SnapshotRow
from memory.tx import Tx
from memory.types import LIVE, Draft, MemCube, Source
from memory.vault.snapshots import MAIN, versions_of
from runtime.errors import Conflict, Gone, UnknownName

MAX_EDITS: Final = 5000
GONE: Final = frozenset({"deleted", "expired"})


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch: its base is the snapshot `id`, and `edits` memories are other than there."""

    id: str
    vault_id: str
    name: str
    at: datetime
    created_by: str
    edits: int


def every(tx: Tx, vault_id: str) -> list[Branch]:
    """The branches of a vault, oldest first."""
    edits = select(func.count()).where(BranchRow.snapshot_id == SnapshotRow.id).scalar_subquery()
    query = select(SnapshotRow.__table__, edits.label("edits")).where(
        SnapshotRow.vault_id == vault_id, SnapshotRow.branch != MAIN
    )
    found = tx.connection.execute(query.order_by(SnapshotRow.id))
    return [Branch(row.id, row.vault_id, row.branch, row.at, row.created_by, row.edits) for row in found]


def get(tx: Tx, vault_id: str, name: str, *, locked: bool = False) -> Branch:
    """A branch of the vault; `locked`: nobody else writes on it until the transaction ends. Raises `UnknownName`."""
    if locked:
        mine = (SnapshotRow.vault_id == vault_id, SnapshotRow.branch == name)
        tx.connection.execute(select(SnapshotRow.id).where(*mine).with_for_update())
    found = next((branch for branch in every(tx, vault_id) if branch.name == name), None)
    if found is None:
        raise UnknownName(f"branch {name!r}: not found; check the name, and that this key may read it")
    return found


def see(tx: Tx, allowed: Access, branch: Branch, memory_id: str) -> MemCube:
    """The memory on the branch, for whom it is allowed to. Raises `UnknownName`, `Gone`."""
    over = overlay(tx, branch, memory_id)
    if over is not None and over.base_version is None:
        cube = added_memory(branch, over)
    else:
        main = rows.cubes(tx, [memory_id]).get(memory_id)
        then = versions_of(tx, branch.id, [memory_id]).get(memory_id)
        if main is None or then is None or not allowed.sees(main.sensitivity):
            raise _unknown(memory_id)
        if then.redacted or (over is not None and over.deleted):
            raise Gone(f"memory {memory_id!r} was deleted; its content is not shown")
        cube = _laid(versions.restored(main, then), over)
    if not allowed.sees(cube.sensitivity):
        raise _unknown(memory_id)
    if cube.state in GONE or lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now):
        raise Gone(f"memory {memory_id!r} was deleted or has expired; its content is not shown")
    return cube


def page(tx: Tx, allowed: Access, branch: Branch, after: str | None, limit: int) -> Page:
    """Newest first by id; ids sort by the time they were made, those of the branch like all others."""
    overlays = {
        row.memory_id: row
        for row in tx.connection.execute(select(BranchRow.__table__).where(BranchRow.snapshot_id == branch.id))
    }
    query = select(SnapshotItemRow.memory_id).where(
        SnapshotItemRow.snapshot_id == branch.id, SnapshotItemRow.state.in_(sorted(LIVE))
    )
    items = tx.connection.execute(query).scalars().all()
    added = [row.memory_id for row in overlays.values() if row.base_version is None]
    deleted = {row.memory_id for row in overlays.values() if row.deleted}
    ids = [id_ for id_ in sorted({*items, *added} - deleted, reverse=True) if after is None or id_ < after]
    found: list[MemCube] = []
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        part = ids[start : start + rows.IN_ONE_QUERY]
        mains, then = rows.cubes(tx, part), versions_of(tx, branch.id, part)
        for memory_id in part:
            over = overlays.get(memory_id)
            if over is not None and over.base_version is None:
                cube = added_memory(branch, over)
            elif then[memory_id].redacted or not allowed.sees(mains[memory_id].sensitivity):
                continue
            else:
                cube = _laid(versions.restored(mains[memory_id], then[memory_id]), over)
            if not allowed.sees(cube.sensitivity) or lifetime_over(
                cube.state, cube.expires_at, cube.sensitivity, tx.now
            ):
                continue
            if len(found) == limit:
                return Page(tuple(found), found[-1].id)
            found.append(cube)
    return Page(tuple(found), None)


def overlay(tx: Tx, branch: Branch, memory_id: str) -> Row[Any] | None:
    """The row of a memory on the branch; None when it is as in the base."""
    return tx.connection.execute(select(BranchRow.__table__).where(*key_of(branch, memory_id))).one_or_none()


def key_of(branch: Branch, memory_id: str) -> tuple[Any, Any]:
    """Which row is that of the memory."""
    return BranchRow.snapshot_id == branch.id, BranchRow.memory_id == memory_id


def put(
    tx: Tx, branch: Branch, memory_id: str, base: Row[Any] | int | None, draft: Mapping[str, Any], *, deleted: bool
) -> None:
    """Write the row of a memory on the branch.

    `base` is the row that is there, or the version that it lies over, or None for a memory that is added. Raises `Conflict`
    for a branch that is full.
    """
    if base is None or isinstance(base, int):
        if branch.edits >= MAX_EDITS:
            raise Conflict(f"branch {branch.name!r}: changes {MAX_EDITS} memories; merge it or drop it", param="branch")
        values = {"snapshot_id": branch.id, "memory_id": memory_id, "base_version": base}
        row = {**values, "draft": {**draft, "edits": 1}, "deleted": deleted, "at": tx.now}
        tx.connection.execute(insert(BranchRow).values(**row))
        return
    tx.connection.execute(
        update(BranchRow)
        .where(*key_of(branch, memory_id))
        .values(draft={**draft, "edits": base.draft["edits"] + 1}, deleted=deleted, at=tx.now)
    )


def version_of(row: Row[Any]) -> int:
    """The version of the memory on the branch: that of the base, and one for each edit."""
    return int((row.base_version or 0) + row.draft["edits"])


def _laid(cube: MemCube, over: Row[Any] | None) -> MemCube:
    if over is None:
        return cube
    return replace(cube, version=version_of(over), updated_at=over.at, **rows.fields_of(over.draft["draft"]))


def added_memory(branch: Branch, row: Row[Any]) -> MemCube:
    """A memory that is only on the branch."""
    draft = draft_of(row)
    given = {item.name: getattr(draft, item.name) for item in fields(Draft) if item.name != "sources"}
    return MemCube(
        id=row.memory_id,
        seq=0,
        vault_id=branch.vault_id,
        version=version_of(row),
        provenance_id=row.draft["provenance_id"],
        recorded_at=row.at,
        updated_at=row.at,
        superseded_at=None,
        created_by=row.draft["created_by"],
        deleted_at=None,
        purge_after=None,
        vector_state="none",
        embedded_version=None,
        **given,
    )


def draft_of(row: Row[Any]) -> Draft:
    """What was added on the branch, as a draft for `main`."""
    given = rows.fields_of(row.draft["draft"])
    sources = []
    for source in given.pop("sources", []):
        occurred = source["occurred_at"]
        sources.append(
            Source(**{**source, "occurred_at": None if occurred is None else datetime.fromisoformat(occurred)})
        )
    return Draft(**given, sources=tuple(sources))


def fields_of_draft(draft: Draft) -> dict[str, Any]:
    """The fields of a draft, for `to_json`."""
    given = {item.name: getattr(draft, item.name) for item in fields(Draft)}
    given["sources"] = [asdict(source) for source in draft.sources]
    for source in given["sources"]:
        source["occurred_at"] = None if source["occurred_at"] is None else source["occurred_at"].isoformat()
    return given


def to_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a memory as a row keeps them."""
    out = dict(given)
    for name in rows.TIMES & out.keys():
        out[name] = None if out[name] is None else out[name].isoformat()
    for name in rows.LISTS & out.keys():
        out[name] = list(out[name])
    if "data" in out:
        out["data"] = dict(out["data"])
    return out


def _unknown(memory_id: str) -> UnknownName:
    return UnknownName(f"memory {memory_id!r}: not found; check the id, and that this key may read it")
