"""Memory: the one door to the store, for agents, HTTP, MCP, command line and graphs alike.

Every call names who acts; the access decision and the audit are in here and nowhere else. A write is acknowledged when
its transaction is committed; the vector index follows through the outbox, and full text finds it at once.
Source: memos §2.4, §3; contract §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import anyio

from memory import access, audit, erase, explain, merging, store, versions
from memory.adding import Added, Adding, Wait
from memory.admitting.gate import Gate
from memory.archive.transfer import Transfer
from memory.changes import applied
from memory.core import Core
from memory.experiences import Experiences
from memory.jobs import Handler
from memory.lifecycle import lifetime_over
from memory.listing import Page, Where, page
from memory.measuring.usefulness import Usefulness
from memory.moves import Moves
from memory.pipelines.asking import Asker
from memory.pipelines.base import Parts as PipelineParts
from memory.pipelines.handlers import handlers
from memory.pipelines.requests import Learning
from memory.ranking.teaching import Teaching
from memory.recall import Recaller
from memory.revising import Revising
from memory.spaces import Spaces
from memory.tx import Tx
from memory.types import Actor, Change, Draft, EdgeType, MemCube, Query, Recall, Source, Verb, Version
from memory.upkeep import verifying
from memory.upkeep.keeper import Keeper, Reindexed
from memory.upkeep.reconcile import Report
from memory.upkeep.reindexing import Progress
from memory.uses import Uses
from memory.vault import grants
from memory.vault.vaults import Vaults
from runtime.errors import Forbidden, Gone, InvalidInput

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of beside the core; wired in memory/opening.py."""

    adding: Adding
    recaller: Recaller
    uses: Uses
    keeper: Keeper
    gate: Gate
    spaces: Spaces
    vaults: Vaults
    transfer: Transfer
    usefulness: Usefulness
    learning: Learning
    moves: Moves


class Memory:
    """See the module. All methods raise `UnknownName` for what the actor may not see, `Forbidden` for what it may not do."""

    def __init__(self, core: Core, parts: Parts) -> None:
        self.core = core
        self._parts = parts
        self.uses = parts.uses
        self.spaces = parts.spaces
        self.vaults = parts.vaults
        self.transfer = parts.transfer
        self.usefulness = parts.usefulness
        self.learning = parts.learning
        self.moves = parts.moves
        self.teaching = Teaching(core, parts.recaller)
        self.experiences = Experiences(core, parts.spaces, parts.usefulness)
        self.revising = Revising(core, parts.spaces, parts.adding, parts.keeper)

    async def add(
        self,
        actor: Actor,
        drafts: Sequence[Draft],
        *,
        vault: str | None = None,
        wait: Wait = "committed",
        force: bool = False,
        reason: str = "",
    ) -> list[Added]:
        """Store drafts in one transaction and say what became of each; a draft that cannot be stored stops no other.

        `force` stores what admission would refuse. With `wait="extracted"` they are kept as raw material, and a job draws
        claims from them. Raises `InvalidInput` for more than `MAX_BATCH`.
        """
        return await self._parts.adding.add(actor, drafts, vault=vault, wait=wait, force=force, reason=reason)

    async def get(self, actor: Actor, memory_id: str, *, verb: Verb = "read") -> MemCube:
        """A memory as it is. Raises `Gone` for one that was deleted or has expired."""
        cube, allowed = await self.core.read(actor, lambda tx: access.memory(tx, memory_id, verb))
        await self._spend(actor, [allowed])
        return _present(cube, self.core)

    async def list(self, actor: Actor, where: Where, *, after: str | None = None, limit: int = 50) -> Page:
        """The memories of a vault, the newest first. Raises `InvalidInput` for an unknown cursor."""
        await self.core.default_vault(actor)

        def work(tx: Tx) -> tuple[Page, access.Access]:
            allowed = access.vault(tx, where.vault or access.DEFAULT, "read")
            return page(tx, allowed, where, after=after, limit=limit), allowed

        found, allowed = await self.core.read(actor, work)
        await self._spend(actor, [allowed])
        return found

    async def search(self, actor: Actor, query: Query, *, counts: bool = True) -> Recall:
        """Find memories. Each hit carries its scores, its ranks and a reason; see memory/recall.py.

        Without `counts` no hit is counted as used: the caller tells `uses` which ones it hands on.
        """
        await self.core.default_vault(actor)
        found, allowed = await self._parts.recaller.recall(actor, query)
        await self._spend(actor, allowed)
        if counts:
            self.uses.note(hit.memory.id for hit in found.hits)
        return found

    async def edit(
        self, actor: Actor, memory_id: str, change: Change, *, expect: int, sources: Sequence[Source] = ()
    ) -> MemCube:
        """Make the next version. Raises `Stale` when `expect` is not the current one, `Gone`, `Conflict`, `InvalidInput`."""
        seen = await self.get(actor, memory_id, verb="write")
        if seen.version != expect:
            raise store.stale(seen, expect)
        new = applied(seen, change)
        vectors = (await self._parts.adding.vectors([new["content"]]))[0] if "content" in new else None

        def work(tx: Tx) -> MemCube:
            cube, allowed = access.memory(tx, memory_id, "write")
            after = store.change(
                tx,
                _present(cube, self.core),
                kind=change.kind,
                reason=change.reason,
                expect=expect,
                vectors=vectors,
                sources=sources,
                **new,
            )
            _written(tx, change.kind, after, allowed, {"version": after.version, "fields": sorted(new)})
            return after

        return await self.core.write(actor, work)

    async def move(
        self, actor: Actor, memory_id: str, event: str, *, expect: int | None = None, reason: str = ""
    ) -> MemCube:
        """Let a lifecycle event happen: archive, freeze, unfreeze, restore, approve, reject. Raises `Conflict`, `Stale`."""

        def work(tx: Tx) -> MemCube:
            cube, allowed = access.memory(tx, memory_id, "write")
            owner = allowed.rule == "owner"
            after = store.move(tx, cube, event, expect=expect, reason=reason, by_owner=owner)
            _written(tx, event, after, allowed, {"version": after.version, "state": after.state})
            return after

        return await self.core.write(actor, work)

    async def delete(self, actor: Actor, memory_id: str, *, expect: int, reason: str = "") -> MemCube:
        """Take the memory out of sight at once; its text goes at its purge date, or with `purge`. Raises `Stale`."""

        def work(tx: Tx) -> MemCube:
            cube, allowed = access.memory(tx, memory_id, "delete")
            if cube.state == "deleted":
                raise Gone(f"memory {memory_id!r} was deleted")
            after = store.move(tx, cube, "delete", expect=expect, reason=reason)
            _written(tx, "delete", after, allowed, {"version": after.version})
            return after

        return await self.core.write(actor, work)

    async def purge(self, actor: Actor, memory_id: str) -> erase.Receipt:
        """Erase the memory for good and say what was removed; purging twice gives an empty receipt."""

        def work(tx: Tx) -> erase.Receipt:
            cube, allowed = access.memory(tx, memory_id, "delete")
            if cube.state not in {"deleted", "expired"}:
                cube = store.move(tx, cube, "delete", reason="purge")
            receipt = erase.erase(tx, cube)
            _written(tx, "purge", cube, allowed, dict(receipt.removed))
            return receipt

        receipt = await self.core.write(actor, work)
        for location in receipt.files:
            await anyio.Path(location).unlink(missing_ok=True)
        pending = () if await self._parts.keeper.wait_for([memory_id]) else receipt.pending
        # The database may keep what was deleted for a while: in its log, or until its vacuum.
        scrubbed = await self.core.db.scrub()
        return replace(receipt, pending=pending if scrubbed else (*pending, "database pages"))

    async def restore(self, actor: Actor, memory_id: str, version: int, *, expect: int) -> MemCube:
        """Make an old version the next one; history only grows. Raises `UnknownName` for a version that there is not."""
        before = await self._reading(
            actor, memory_id, "write", lambda tx, _: versions.at_version(tx, memory_id, version)
        )
        if before.redacted:
            raise Gone(f"memory {memory_id!r}: version {version} was erased")
        vectors = (await self._parts.adding.vectors([before.content]))[0]

        def work(tx: Tx) -> MemCube:
            cube, allowed = access.memory(tx, memory_id, "write")
            then = versions.restored(cube, before)
            old = {name: getattr(then, name) for name in _RESTORED}
            if cube.state in {"merged", "archived", "expired", "deleted"}:
                after = store.move(
                    tx,
                    cube,
                    "restore",
                    expect=expect,
                    kind="restore",
                    reason=f"version {version}",
                    vectors=vectors,
                    content=before.content,
                    **old,
                )
            else:
                after = store.change(
                    tx,
                    _present(cube, self.core),
                    kind="restore",
                    reason=f"version {version}",
                    expect=expect,
                    vectors=vectors,
                    content=before.content,
                    **old,
                )
            _written(tx, "restore", after, allowed, {"version": after.version, "from": version})
            return after

        return await self.core.write(actor, work)

    async def link(self, actor: Actor, src_id: str, dst_id: str, edge: EdgeType, weight: float = 1.0) -> None:
        """Link two memories that the actor may write and read."""

        def work(tx: Tx) -> None:
            src, allowed = access.memory(tx, src_id, "write")
            access.memory(tx, dst_id, "read")
            store.link(tx, src_id, dst_id, edge, weight)
            _written(tx, "link", src, allowed, {"to": dst_id, "type": edge})

        await self.core.write(actor, work)

    async def supersede(
        self, actor: Actor, memory_id: str, by: str, *, expect: int | None = None, reason: str = ""
    ) -> MemCube:
        """Let the memory `by` take the place of this one, which stays readable as archived. Raises `Conflict`, `Stale`."""

        def work(tx: Tx) -> MemCube:
            old, allowed = access.memory(tx, memory_id, "write")
            new, _ = access.memory(tx, by, "write")
            if expect is not None and expect != old.version:
                raise store.stale(old, expect)
            if old.vault_id != new.vault_id:
                raise InvalidInput(f"by {by!r}: expected a memory of the same vault", param="by")
            after = store.supersede(tx, old, _present(new, self.core), reason=reason)
            _written(tx, "supersede", after, allowed, {"version": after.version, "by": by})
            return after

        return await self.core.write(actor, work)

    async def merge(self, actor: Actor, ids: Sequence[str], *, content: str | None = None, reason: str = "") -> MemCube:
        """Fold memories that say the same into the richest of them, or into the given text. Raises `Conflict`."""
        if len(set(ids)) < 2:
            raise InvalidInput(f"ids {list(ids)!r}: expected two or more different memories", param="ids")
        vectors = None if content is None else (await self._parts.adding.vectors([content]))[0]

        def work(tx: Tx) -> MemCube:
            found = [access.memory(tx, memory_id, "write") for memory_id in dict.fromkeys(ids)]
            cubes = [_present(cube, self.core) for cube, _ in found]
            keep = cubes[0]
            for other in cubes[1:]:
                keep, _ = merging.richer(keep, other)
            for other in cubes:
                if other.id != keep.id:
                    keep = merging.merge(tx, keep, other, vectors=vectors, content=content, reason=reason)
            _written(tx, "merge", keep, found[0][1], {"ids": [cube.id for cube in cubes]})
            return keep

        return await self.core.write(actor, work)

    async def history(self, actor: Actor, memory_id: str) -> Sequence[Version]:
        """Every version, the newest first; of a purged memory without text."""
        return await self._reading(actor, memory_id, "read", lambda tx, _: versions.history(tx, memory_id))

    async def diff(self, actor: Actor, memory_id: str, from_version: int, to_version: int) -> explain.Difference:
        """What changed between two versions."""
        return await self._reading(
            actor, memory_id, "read", lambda tx, _: explain.difference(tx, memory_id, from_version, to_version)
        )

    async def provenance(self, actor: Actor, memory_id: str) -> explain.Provenance:
        """Sources and links."""
        return await self._reading(actor, memory_id, "read", explain.provenance)

    async def verify(self, actor: Actor, *, repair: bool = False) -> Report:
        """Compare indexes, histories and audit with the memories of the whole database. Raises `Forbidden` for who is no
        admin."""
        _admin(actor, "verify")
        keeper = self._parts.keeper
        told = None if keeper.sees_index else await verifying.ask(self.core, actor, repair=repair)
        return told or await keeper.verify(repair=repair)

    async def reindex(self, actor: Actor, progress: Progress | None = None) -> Reindexed:
        """Build the vector indexes anew beside the ones in use, and switch. Raises `Forbidden`, `StorageError`."""
        _admin(actor, "reindex")
        return await self._parts.keeper.reindex(progress)

    def handlers(self, asker: Asker) -> Mapping[str, Handler]:
        """What does the jobs of the store, for a process that has a model (memory/workers.py)."""
        parts = PipelineParts(self.core, asker, self._parts.gate, self.spaces)
        return {
            **handlers(parts),
            **self.vaults.handlers,
            **self.transfer.handlers,
            verifying.KIND: verifying.Verify(self._parts.keeper),
        }

    async def _reading(self, actor: Actor, memory_id: str, verb: Verb, work: _OnMemory[T]) -> T:
        def read(tx: Tx) -> tuple[T, access.Access]:
            cube, allowed = access.memory(tx, memory_id, verb)
            if cube.state in {"deleted", "expired"} and allowed.rule != "owner":
                raise Gone(f"memory {memory_id!r} was deleted or has expired")
            return work(tx, cube), allowed

        result, allowed = await self.core.read(actor, read)
        await self._spend(actor, [allowed])
        return result

    async def _spend(self, actor: Actor, allowed: Sequence[access.Access]) -> None:
        metered = [item for item in allowed if item.metered]
        if metered:
            await self.core.write(actor, lambda tx: grants.spend(tx, metered))


class _OnMemory(Protocol[T_co]):
    def __call__(self, tx: Tx, cube: MemCube, /) -> T_co: ...


_RESTORED = (
    "semantic_type",
    "data",
    "subject",
    "attribute",
    "title",
    "speaker",
    "entities",
    "tags",
    "sensitivity",
    "confidence",
    "priority",
    "pinned",
    "watermark",
    "valid_from",
    "valid_to",
    "occurred_at",
    "expires_at",
)


def _present(cube: MemCube, core: Core) -> MemCube:
    """The memory, unless it is gone; that does not depend on when the sweep comes by."""
    over = lifetime_over(cube.state, cube.expires_at, cube.sensitivity, core.clock.now())
    if cube.state in {"deleted", "expired"} or over:
        raise Gone(f"memory {cube.id!r} was deleted or has expired; its content is not shown")
    return cube


def _admin(actor: Actor, what: str) -> None:
    if not actor.admin:
        raise Forbidden(f"{what}: it touches the memories of everybody; use the key of an admin")


def _written(tx: Tx, action: str, cube: MemCube, allowed: access.Access, detail: Mapping[str, object]) -> None:
    audit.record(tx, action, "memory", cube.id, chain=cube.vault_id, rule=allowed.rule, detail=detail)
