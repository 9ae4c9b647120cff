"""Vaults: the named sets of memories that a user has, and everything that is done with a whole one.

`Vaults` is `memory.vaults` of the service. What belongs together stands beside it and is reached through it: `grants`
(who else may do what), `snapshots` (what was), `branches` (what if). Every call names who acts, and decides, writes and
audits in one transaction. What is too large for one is a job. The vault `default` is there for every user: it can be
emptied, but neither renamed nor deleted. Source: memos §2.2, §3.5, §3.9, §3.10; contract §4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from memory import access, audit, rows
from memory.access import Access
from memory.changes import MAX_NAME, plain
from memory.core import Core
from memory.jobs import Handler
from memory.listing import MAX_PAGE, Page
from memory.spaces import Spaces
from memory.tables import GrantRow, MemoryRow, VaultRow
from memory.tx import Tx
from memory.types import LIVE, Actor, Vault, VaultKind, Verb
from memory.vault import composing, emptying, migrating, rollback
from memory.vault.branches import Branches
from memory.vault.emptying import Emptied
from memory.vault.grants import VERBS, Grants
from memory.vault.migrating import Moved
from memory.vault.rollback import Rolled
from memory.vault.snapshots import Snapshots
from runtime.errors import Conflict, InvalidInput, StorageError
from runtime.ids import new_id

KINDS: Final[tuple[VaultKind, ...]] = get_args(VaultKind)
EDITABLE: Final = frozenset({"name", "kind", "default_ttl_s", "default_sensitivity", "explore", "archived"})
MAX_VAULT_NAME: Final = 200
MAX_TAGS: Final = 100
MAX_TTL_S: Final = 100 * 366 * 86_400
# A name like an id could be taken for one.
LIKE_AN_ID: Final = re.compile(r"vlt_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A vault as the actor sees it: what they may do, how many live memories there are (None when some are hidden from
    them), and whether a job has locked it."""

    vault: Vault
    verbs: frozenset[Verb]
    memories: int | None
    locked_by: str | None


class Vaults:
    """See the module. All methods raise `UnknownName` for what the actor may not see, `Forbidden` for what it may not do,
    and `Conflict` for a change of a locked vault. `vault` is an id or the actor's own name for it."""

    def __init__(self, core: Core, spaces: Spaces | None = None) -> None:
        self._core = core
        self._spaces = spaces
        self.grants = Grants(core)
        self.snapshots = Snapshots(core)
        self.branches = Branches(core)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What executes the jobs (memory/workers.py)."""
        return {
            rollback.KIND: rollback.finish,
            emptying.KIND: emptying.finish,
            migrating.KIND: migrating.finish,
        }

    async def get(self, actor: Actor, vault: str) -> Shown:
        """A vault."""
        await self._core.default_vault(actor)

        def work(tx: Tx) -> Shown:
            return _shown(tx, [access.vault(tx, vault, "read").vault.id])[0]

        return await self._core.read(actor, work)

    async def create(
        self,
        actor: Actor,
        name: str,
        *,
        kind: VaultKind = "private",
        default_ttl_s: int | None = None,
        default_sensitivity: Sequence[str] = (),
        explore: float | None = None,
    ) -> Shown:
        """Make a vault of the actor. Raises `Conflict` for a name that they have given already."""
        given = {"kind": kind, "default_ttl_s": default_ttl_s, "default_sensitivity": default_sensitivity}
        values = _checked({"name": name, "explore": explore, **given})
        # First, so that it is the first of every list.
        await self._core.default_vault(actor)
        vault_id = new_id("vlt")

        def work(tx: Tx) -> Shown:
            _refuse_taken(tx, values["name"])
            tx.connection.execute(
                insert(VaultRow).values(id=vault_id, owner_id=tx.actor.user_id, version=1, created_at=tx.now, **values)
            )
            _audited(tx, "create", vault_id, "owner", {"kind": kind})
            return _shown(tx, [vault_id])[0]

        return await self._named(actor, work, values["name"])

    async def edit(self, actor: Actor, vault: str, changes: Mapping[str, object], *, expect: int) -> Shown:
        """Change some of `EDITABLE`; `archived` puts the vault out of use for writing, or back. Only its owner may.

        Raises `Stale` when `expect` is not its version, `InvalidInput` naming the field.
        """
        unknown = sorted(changes.keys() - EDITABLE)
        if unknown or not changes:
            told = f"{unknown[0]!r}: cannot be changed" if unknown else "the edit is empty"
            raise InvalidInput(
                f"{told}; expected some of {sorted(EDITABLE)}", param=unknown[0] if unknown else "fields"
            )
        values = _checked(changes)

        def work(tx: Tx) -> Shown:
            allowed = access.vault(tx, vault, "read", alone=True)
            access.need_owner(allowed, "write", "change it")
            access.vault(tx, allowed.vault.id, "write")
            _refuse_name(tx, allowed, values)
            if allowed.vault.version != expect:
                raise emptying.stale(allowed, expect)
            new = dict(values)
            if "archived" in new:
                new["archived_at"] = (allowed.vault.archived_at or tx.now) if new.pop("archived") else None
            change = update(VaultRow).where(VaultRow.id == allowed.vault.id)
            tx.connection.execute(change.values(version=expect + 1, **new))
            _audited(tx, "edit", allowed.vault.id, allowed.rule, {"version": expect + 1, "fields": sorted(changes)})
            return _shown(tx, [allowed.vault.id])[0]

        return await self._named(actor, work, str(values.get("name", vault)))

    async def delete(self, actor: Actor, vault: str, *, expect: int) -> Emptied:
        """Erase the vault and everything in it. Raises `Stale`, and `Conflict` for `default`."""
        return await emptying.empty(self._core, actor, vault, expect=expect, delete=True)

    async def empty(self, actor: Actor, vault: str, *, expect: int) -> Emptied:
        """Erase everything that is in the vault, snapshots and branches too; the vault and its grants stay."""
        return await emptying.empty(self._core, actor, vault, expect=expect, delete=False)

    async def rollback(self, actor: Actor, vault: str, snapshot_id: str) -> Rolled:
        """Take the vault back to a snapshot; see memory/vault/rollback.py."""
        return await rollback.rollback(self._core, actor, vault, snapshot_id)

    async def compose(self, actor: Actor, vaults: Sequence[str], *, after: str | None = None, limit: int = 50) -> Page:
        """Several vaults seen as one, the nearest first; see memory/vault/composing.py."""
        return await composing.compose(self._core, actor, vaults, after=after, limit=limit)

    async def migrate(self, actor: Actor, vault: str, to: str, *, ids: Sequence[str] | None = None) -> Moved:
        """Copy the memories of a vault, or some of them, into another; see memory/vault/migrating.py."""
        return await migrating.migrate(self._core, actor, vault, to, ids=ids)

    async def fuse(self, actor: Actor, vault: str, to: str) -> Moved:
        """Make one vault of two: copy into `to`, and merge what says the same; see memory/vault/migrating.py."""
        return await migrating.migrate(self._core, actor, vault, to, fuse=True)

    async def list(self, actor: Actor, *, after: str | None = None, limit: int = 50) -> Sequence[Shown]:
        """The actor's own vaults and those that were granted to them, oldest first, behind the id `after`."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
        await self._core.default_vault(actor)

        def work(tx: Tx) -> Sequence[Shown]:
            granted = select(GrantRow.vault_id).where(GrantRow.can_read.is_(True), *access.fitting(tx))
            query = select(VaultRow.id).where(
                (VaultRow.owner_id == tx.actor.user_id) | VaultRow.id.in_(granted), VaultRow.deleted_at.is_(None)
            )
            if after is not None:
                query = query.where(VaultRow.id > after)
            return _shown(tx, tx.connection.execute(query.order_by(VaultRow.id).limit(limit)).scalars().all())

        return await self._core.read(actor, work)

    async def _named(self, actor: Actor, work: Any, name: str) -> Shown:
        try:
            made: Shown = await self._core.write(actor, work)
        except StorageError as error:
            # Two may give the same name at once; the second is told as if it had come later.
            if not isinstance(error.__cause__, IntegrityError):
                raise
            raise _taken(name) from error
        return made


def _shown(tx: Tx, ids: Sequence[str]) -> list[Shown]:
    """Vaults that the actor was allowed to see, in the order of the ids."""
    found = {row.id: row for row in tx.connection.execute(select(VaultRow.__table__).where(VaultRow.id.in_(ids)))}
    grants: dict[str, list[Row[Any]]] = {}
    for grant in tx.connection.execute(
        select(GrantRow.__table__).where(GrantRow.vault_id.in_(ids), *access.fitting(tx))
    ):
        grants.setdefault(grant.vault_id, []).append(grant)
    open_ids = [id_ for id_ in ids if found[id_].owner_id == tx.actor.user_id or _hides_nothing(grants.get(id_, []))]
    counted = (
        select(MemoryRow.vault_id, func.count().label("live"))
        .where(MemoryRow.vault_id.in_(open_ids), MemoryRow.state.in_(sorted(LIVE)))
        .group_by(MemoryRow.vault_id)
    )
    counts = {row.vault_id: row.live for row in tx.connection.execute(counted)}
    shown = []
    for vault_id in ids:
        row = found[vault_id]
        verbs = frozenset(VERBS)
        if row.owner_id != tx.actor.user_id:
            verbs = frozenset(v for v in VERBS if any(getattr(g, f"can_{v}") for g in grants.get(vault_id, [])))
        count = counts.get(vault_id, 0) if vault_id in open_ids else None
        shown.append(Shown(rows.vault(row), verbs, count, row.locked_by))
    return shown


def _hides_nothing(grants: Sequence[Row[Any]]) -> bool:
    return any(grant.can_read and not grant.masked_tags for grant in grants)


def _refuse_name(tx: Tx, allowed: Access, values: Mapping[str, Any]) -> None:
    name = values.get("name", allowed.vault.name)
    if allowed.vault.name == access.DEFAULT and (name != access.DEFAULT or values.get("archived")):
        raise Conflict("vault 'default': is there for every user; it is neither renamed nor archived", param="name")
    if name != allowed.vault.name:
        _refuse_taken(tx, name)


def _refuse_taken(tx: Tx, name: str) -> None:
    mine = select(VaultRow.id).where(VaultRow.owner_id == tx.actor.user_id, VaultRow.name == name)
    if tx.connection.execute(mine).first() is not None:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(f"vault {name!r}: you have one of this name; use it, or take another name", param="name")


def _checked(given: Mapping[str, object]) -> dict[str, Any]:
    """Raises `InvalidInput` naming the field."""
    values: dict[str, Any] = dict(given)
    if "name" in values:
        name = values["name"]
        good = (
            isinstance(name, str) and name.strip() == name and name.isprintable() and 1 <= len(name) <= MAX_VAULT_NAME
        )
        if not good or LIKE_AN_ID.fullmatch(plain("name", str(name), MAX_VAULT_NAME)):
            raise InvalidInput(
                f"name {name!r}: expected 1 to {MAX_VAULT_NAME} printable characters that are no id", param="name"
            )
    if "kind" in values and values["kind"] not in KINDS:
        raise InvalidInput(f"kind {values['kind']!r}: expected one of {list(KINDS)}", param="kind")
    ttl = values.get("default_ttl_s")
    if ttl is not None and not 1 <= ttl <= MAX_TTL_S:
        raise InvalidInput(f"default_ttl_s {ttl!r}: expected 1 to {MAX_TTL_S} seconds", param="default_ttl_s")
    if "default_sensitivity" in values:
        tags = tuple(
            dict.fromkeys(plain("default_sensitivity", tag, MAX_NAME).strip() for tag in values["default_sensitivity"])
        )
        if len(tags) > MAX_TAGS or not all(tags):
            raise InvalidInput(
                f"default_sensitivity: expected at most {MAX_TAGS} tags, none of them empty",
                param="default_sensitivity",
            )
        values["default_sensitivity"] = list(tags)
    explore = values.get("explore")
    if explore is not None and not 0.0 <= explore <= 1.0:
        raise InvalidInput(f"explore {explore!r}: expected a share from 0 to 1", param="explore")
    return values


def _audited(tx: Tx, action: str, vault_id: str, rule: str, detail: Mapping[str, object]) -> None:
    audit.record(tx, action, "vault", vault_id, chain=vault_id, rule=rule, detail=detail)
