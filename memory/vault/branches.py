"""What-if branches: a snapshot, and edits that lie over it. `main` does not see them until they are merged.

An edit on a branch is a row keyed (branch, memory) that holds the changed fields; reading a memory on the branch is the
version of the snapshot with these fields over it. Its version there counts on from that of the snapshot, and is the
optimistic lock of the branch. A merge compares three: the snapshot, the branch, and `main`. A memory that `main` has
changed as well is a conflict; conflicts are given back and nothing at all is merged. After a merge the branch is gone.
Source: memos §3.5 (3), §7 (11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from sqlalchemy import delete

from memory import access, audit
from memory.access import Access
from memory.changes import admissible, applied, plain
from memory.core import Core
from memory.listing import MAX_PAGE, Page
from memory.tables import BranchRow, SnapshotRow
from memory.tx import Tx
from memory.types import Actor, Change, Draft, MemCube, Verb
from memory.vault import grants
from memory.vault.branch_merge import Merged, Unmergeable, merge
from memory.vault.branch_rows import Branch, every, fields_of_draft, get, key_of, overlay, page, put, see, to_json
from memory.vault.snapshots import MAIN, take
from runtime.errors import Conflict, InvalidInput, Stale
from runtime.ids import new_id

T = TypeVar("T")
MAX_NAME: Final = 200
MAX_BRANCHES: Final = 100


class Branches:
    """Part of `Vaults` (memory/vault/vaults.py); raises as it does. `branch` is a name."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def create(self, actor: Actor, vault: str, name: str) -> Branch:
        """Begin a branch from the vault as it is. Raises `Conflict` for a name that is taken."""
        snapshot_id = new_id("snp")
        name = _named(name)

        def work(tx: Tx) -> Branch:
            allowed = access.vault(tx, vault, "write", alone=True)
            access.need_open(allowed)
            taken = {branch.name for branch in every(tx, allowed.vault.id)}
            if name in taken:
                raise Conflict(
                    f"branch {name!r}: there is one of this name; merge it, drop it or take another", param="name"
                )
            if len(taken) >= MAX_BRANCHES:
                raise Conflict(f"vault {vault!r}: has {MAX_BRANCHES} branches; drop some of them", param="vault")
            made = take(tx, snapshot_id, allowed.vault.id, name, name)
            _audited(tx, "branch", allowed, {"branch": made.id})
            return Branch(made.id, made.vault_id, name, made.at, made.created_by, 0)

        return await self._core.write(actor, work)

    async def all(self, actor: Actor, vault: str) -> Sequence[Branch]:
        """The branches of the vault, oldest first."""
        return await self._core.read(actor, lambda tx: every(tx, access.vault(tx, vault, "read").vault.id))

    async def drop(self, actor: Actor, vault: str, branch: str) -> Branch:
        """Throw the branch away with its edits."""

        def work(tx: Tx) -> Branch:
            allowed = access.vault(tx, vault, "write")
            found = get(tx, allowed.vault.id, branch)
            tx.connection.execute(delete(SnapshotRow).where(SnapshotRow.id == found.id))
            _audited(tx, "drop", allowed, {"branch": found.id})
            return found

        return await self._core.write(actor, work)

    async def get(self, actor: Actor, vault: str, branch: str, memory_id: str) -> MemCube:
        """A memory as it is on the branch. Raises `Gone` for one that is deleted there."""
        return await self._reading(
            actor, vault, lambda tx, allowed: see(tx, allowed, get(tx, allowed.vault.id, branch), memory_id)
        )

    async def page(self, actor: Actor, vault: str, branch: str, *, after: str | None = None, limit: int = 50) -> Page:
        """The live memories as they are on the branch, newest first."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
        return await self._reading(
            actor, vault, lambda tx, allowed: page(tx, allowed, get(tx, allowed.vault.id, branch), after, limit)
        )

    async def add(self, actor: Actor, vault: str, branch: str, draft: Draft) -> MemCube:
        """Add a memory on the branch. Raises `InvalidInput` for a draft that cannot be stored."""
        memory_id, provenance_id = new_id("mem"), new_id("prv")

        def work(tx: Tx) -> MemCube:
            allowed, found = _writing(tx, vault, branch, "write")
            known = admissible(draft, allowed.vault, tx.now)
            row = {
                "provenance_id": provenance_id,
                "created_by": tx.actor.user_id,
                "draft": to_json(fields_of_draft(known)),
            }
            put(tx, found, memory_id, None, row, deleted=False)
            _audited(tx, "branch.add", allowed, {"branch": found.id, "memory": memory_id})
            return see(tx, allowed, found, memory_id)

        return await self._core.write(actor, work)

    async def edit(
        self, actor: Actor, vault: str, branch: str, memory_id: str, change: Change, *, expect: int
    ) -> MemCube:
        """Change a memory on the branch. Raises `Stale` when `expect` is not its version there, `Gone`, `InvalidInput`."""

        def work(tx: Tx) -> MemCube:
            allowed, found = _writing(tx, vault, branch, "write")
            cube = _seen(tx, allowed, found, memory_id, expect)
            over = overlay(tx, found, memory_id)
            new = to_json(applied(cube, change))
            row = dict(over.draft) if over is not None else {}
            row["draft"] = {**row.get("draft", {}), **new}
            put(tx, found, memory_id, cube.version if over is None else over, row, deleted=False)
            _audited(tx, "branch.edit", allowed, {"branch": found.id, "memory": memory_id, "fields": sorted(new)})
            return see(tx, allowed, found, memory_id)

        return await self._core.write(actor, work)

    async def delete(self, actor: Actor, vault: str, branch: str, memory_id: str, *, expect: int) -> None:
        """Delete a memory on the branch. Raises as `edit` does."""

        def work(tx: Tx) -> None:
            allowed, found = _writing(tx, vault, branch, "delete")
            cube = _seen(tx, allowed, found, memory_id, expect)
            over = overlay(tx, found, memory_id)
            if over is not None and over.base_version is None:
                tx.connection.execute(delete(BranchRow).where(*key_of(found, memory_id)))
            else:
                put(tx, found, memory_id, cube.version if over is None else over, {"draft": {}}, deleted=True)
            _audited(tx, "branch.delete", allowed, {"branch": found.id, "memory": memory_id})

        await self._core.write(actor, work)

    async def merge(self, actor: Actor, vault: str, branch: str) -> Merged:
        """Bring the branch to `main`, all of it or, when something clashes, nothing. Clashes are in the answer."""

        def work(tx: Tx) -> Merged:
            allowed = access.vault(tx, vault, "write", alone=True)
            access.need_open(allowed)
            access.need_all(allowed, "write", "merge a branch")
            found = get(tx, allowed.vault.id, branch, locked=True)
            merged = merge(tx, allowed, found)
            if not merged.clashes:
                tx.connection.execute(delete(SnapshotRow).where(SnapshotRow.id == found.id))
                told = {"changed": merged.changed, "added": merged.added, "deleted": merged.deleted}
                detail = {name: list(ids[:100]) for name, ids in told.items()}
                _audited(tx, "merge_branch", allowed, {"branch": found.id, **detail})
            return merged

        try:
            return await self._core.write(actor, work)
        except Unmergeable as clash:
            # Found while it was being written, so all of it was taken back.
            return Merged(clash.branch, clashes=(clash.clash,))

    async def _reading(self, actor: Actor, vault: str, work: Callable[[Tx, Access], T]) -> T:
        def read(tx: Tx) -> tuple[T, Access]:
            allowed = access.vault(tx, vault, "read")
            return work(tx, allowed), allowed

        result, allowed = await self._core.read(actor, read)
        await grants.count_reads(self._core, actor, [allowed])
        return result


def _writing(tx: Tx, vault: str, branch: str, verb: Verb) -> tuple[Access, Branch]:
    """One edit on the branches of a vault at a time: it is the lock of their rows."""
    allowed = access.vault(tx, vault, verb)
    access.need_open(allowed)
    found = get(tx, allowed.vault.id, branch, locked=True)
    return allowed, found


def _seen(tx: Tx, allowed: Access, branch: Branch, memory_id: str, expect: int) -> MemCube:
    cube = see(tx, allowed, branch, memory_id)
    if cube.version != expect:
        raise Stale(
            f"memory {memory_id!r} is at version {cube.version} on branch {branch.name!r}, you expected {expect}; read "
            "it and edit again",
            expected=expect,
            current=cube.version,
        )
    return cube


def _named(name: str) -> str:
    plain("name", name, MAX_NAME)
    if not name or not name.isprintable() or name == MAIN or "/" in name:
        raise InvalidInput(
            f"name {name!r}: expected printable characters without '/', other than {MAIN!r}", param="name"
        )
    return name


def _audited(tx: Tx, action: str, allowed: Access, detail: Mapping[str, object]) -> None:
    vault_id = allowed.vault.id
    audit.record(tx, action, "vault", vault_id, chain=vault_id, rule=allowed.rule, detail=detail)
