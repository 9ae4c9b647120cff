"""LangGraph's `BaseStore` over the store: what a graph remembers are memories that people can read, date and correct.

Every call goes through `Memory` as the actor that was given, so access, audit and history are those of every other door. A
put is the next version of the memory of that name, a put of None deletes it, and a memory that a person has corrected is
read as corrected. The mapping stands in langgraph_items.py, the queries in langgraph_queries.py. Where this store differs
from LangGraph's own:

- `index`: the vault has an encoder already, so only `fields` are taken. They choose the text of the memory. An item that was
  put with `index=False` keeps a text for people, and is never ranked by a question, only listed behind those that are.
- `ttl`: expired items are gone at once. Being read puts the end off in steps of a twentieth of the time, not at each read.
- a question (`query`) ranks what `Memory.search` finds; behind it come the others that fit, newest first, without a score.
- within one `batch` reads see what was there before its puts, and of several puts of one name the last counts.

Source: langgraph.store.base; contract §4; ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)
from langgraph.store.base import Item as GraphItem

from memory import access
from memory import langgraph_items as items
from memory import langgraph_queries as queries
from memory.access import Access
from memory.adding import MAX_BATCH
from memory.langgraph_filter import check, fits, matches
from memory.langgraph_items import MARK, Fields, Item, Kept, Ref
from memory.langgraph_text import WHOLE
from memory.lifecycle import lifetime_over
from memory.service import Memory
from memory.tx import Tx
from memory.types import LIVE, Actor, Change, Draft, MemCube, Query, Vault, Verb
from memory.vault import grants
from runtime.errors import Conflict, InvalidInput, Stale, UnknownName

TRIES: Final = 20
# The most that a question ranks; what fits beyond follows in the order of time.
RANKED: Final = 200
# Reading within this share of the time that an item has does not put its end off: each step is a version.
STEP: Final = 0.05
WHY: Final = "put by a graph"


@dataclass(frozen=True, slots=True)
class Put:
    """What a name is to have: its text and data, and for how many seconds (None: as long as the vault says)."""

    kept: Kept
    seconds: float | None


class MnemeStore(BaseStore):
    """See the module. Made on the event loop that `memory` belongs to; the methods without `a` are for other threads."""

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        actor: Actor,
        *,
        vault: str = access.DEFAULT,
        fields: Sequence[str] = (WHOLE,),
        ttl: TTLConfig | None = None,
    ) -> None:
        """`vault` is an id or the actor's own name for it; `fields` are LangGraph's paths. Raises `InvalidInput`.

        Several stores may share a vault, and other memories may live in it.
        """
        super().__init__()
        if isinstance(fields, str) or not fields:
            raise InvalidInput(f"fields {fields!r}: expected a list of paths, such as ['text']", param="fields")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise InvalidInput("MnemeStore: make it in a coroutine, on the event loop of its memory") from error
        self._memory = memory
        self._core = memory.core
        self._actor = actor
        self._vault = vault
        self._fields = tuple(fields)
        self.ttl_config = ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """`abatch` for a thread that is not the event loop's. Raises `asyncio.InvalidStateError` on that one."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise asyncio.InvalidStateError(
                "MnemeStore: a call without `a` on the event loop would wait for itself; use `await store.aget(…)`, "
                "`aput`, `asearch`, `adelete`, `alist_namespaces` or `abatch` here"
            )
        if not self._loop.is_running():
            raise asyncio.InvalidStateError("MnemeStore: the event loop of its memory does not run any more")
        waiting = asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the operations and give their results in order.

        Raises `InvalidNamespaceError`, `InvalidInput` for a value, name or filter that cannot be used (before anything is
        done), `Conflict` for a put on a memory that is frozen or held back, and what `Memory` raises.
        """
        wanted = list(ops)
        for op in wanted:
            _check(op)
        puts = {_ref(op): op for op in wanted if isinstance(op, PutOp)}
        made = {ref: self._put_of(ref, op) for ref, op in puts.items() if op.value is not None}
        await self._core.default_vault(self._actor)
        got = await self._get([op for op in wanted if isinstance(op, GetOp)])
        results: list[Result] = []
        for op in wanted:
            match op:
                case GetOp():
                    results.append(got.get(_ref(op)))
                case SearchOp():
                    results.append(await self._search(op))
                case ListNamespacesOp():
                    results.append(await self._namespaces(op))
                case _:
                    results.append(None)
        if made:
            await self._store(made)
        for ref, op in puts.items():
            if op.value is None:
                await self._forget(ref)
        return results

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _get(self, ops: Sequence[GetOp]) -> dict[Ref, GraphItem]:
        asked = {_ref(op): op.refresh_ttl for op in ops if items.can_be(_ref(op))}
        if not asked:
            return {}

        def work(tx: Tx) -> _Read:
            allowed = access.vault(tx, self._vault, "read")
            found = queries.find(tx, allowed, list(asked))
            there = [[cube for cube in cubes if queries.is_there(cube, tx.now)] for cubes in found.values()]
            return self._read(tx, allowed, [cubes[0] for cubes in there if cubes])

        read = await self._core.read(self._actor, work)
        await self._count(read.allowed)
        await self._put_off(read, [item for item in read.items if asked[item.ref]])
        return {
            item.ref: GraphItem(
                value=item.value,
                key=item.ref.key,
                namespace=item.ref.namespace,
                created_at=item.cube.recorded_at,
                updated_at=item.updated_at,
            )
            for item in read.items
        }

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        prefix, end = tuple(op.namespace_prefix), op.offset + op.limit
        ranked: dict[str, MemCube] = {}
        scores: dict[str, float] = {}
        decided: Access | None = None
        if op.query and op.limit:
            # The search counts as the one read that this is, and may use up the grant that allows it.
            decided = await self._core.read(self._actor, lambda tx: access.vault(tx, self._vault, "read"))
            query = Query(
                op.query,
                vaults=(self._vault,),
                k=RANKED if op.filter else min(RANKED, end),
                tags=(items.tag_of(prefix),),
                diverse=False,
                explore=0.0,
            )
            for hit in (await self._memory.search(self._actor, query)).hits:
                ranked[hit.memory.id], scores[hit.memory.id] = hit.memory, hit.score

        def work(tx: Tx) -> _Read:
            allowed = decided or access.vault(tx, self._vault, "read")
            found: dict[Ref, MemCube] = {}
            for cube in ranked.values():
                told = items.told_of(cube.content, cube.data)
                if items.is_item(cube, prefix) and told.fields is not False and fits(told.value, op.filter):
                    found.setdefault(items.ref_of(cube.subject, cube.attribute), cube)
            chosen = list(found.values())
            if len(chosen) < end:
                more = end - len(chosen)
                chosen += queries.newest(tx, allowed, prefix, op.filter, without=found, limit=more)
            return self._read(tx, allowed, chosen[op.offset : end])

        read = await self._core.read(self._actor, work)
        if decided is None:
            await self._count(read.allowed)
        await self._put_off(read, read.items if op.refresh_ttl else ())
        return [
            SearchItem(
                namespace=item.ref.namespace,
                key=item.ref.key,
                value=item.value,
                created_at=item.cube.recorded_at,
                updated_at=item.updated_at,
                score=scores.get(item.cube.id) if item.fields is not False else None,
            )
            for item in read.items
        ]

    async def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        fixed = [tuple(c.path) for c in conditions if c.match_type == "prefix" and "*" not in c.path]
        prefix: tuple[str, ...] = max(fixed, key=len, default=())

        def work(tx: Tx) -> tuple[set[tuple[str, ...]], Access]:
            allowed = access.vault(tx, self._vault, "read")
            return queries.namespaces(tx, allowed, prefix), allowed

        found, allowed = await self._core.read(self._actor, work)
        await self._count(allowed)
        fitting = {space[: op.max_depth] for space in found if all(matches(c, space) for c in conditions)}
        return sorted(fitting)[op.offset : op.offset + op.limit]

    def _read(self, tx: Tx, allowed: Access, cubes: Sequence[MemCube]) -> _Read:
        found = queries.items_of(tx, cubes)
        return _Read(found, allowed, any(item.ttl_minutes is not None for item in found) and self._may_write(tx))

    def _may_write(self, tx: Tx) -> bool:
        try:
            access.vault(tx, self._vault, "write")
        except (access.Hidden, access.Refused):
            return False
        return True

    async def _put_off(self, read: _Read, refreshed: Sequence[Item]) -> None:
        """Let items live on for the time that they were given, because they were read by somebody who may write."""
        if not read.may_write:
            return
        now = self._core.clock.now()
        for item in refreshed:
            expires = item.cube.expires_at
            if item.ttl_minutes is None or expires is None or item.cube.state == "frozen":
                continue
            given = timedelta(minutes=item.ttl_minutes)
            if now + given - expires < STEP * given:
                continue
            change = Change({"expires_at": now + given}, "state", "read by a graph")
            try:
                await self._memory.edit(self._actor, item.cube.id, change, expect=item.cube.version)
            except (Stale, UnknownName):
                # Changed or deleted meanwhile: then its time is not ours to set.
                continue

    async def _count(self, allowed: Access) -> None:
        await grants.count_reads(self._core, self._actor, [allowed])

    # -- writing -------------------------------------------------------------------------------------------------------

    def _put_of(self, ref: Ref, op: PutOp) -> Put:
        assert op.value is not None
        fields: Fields = self._fields if op.index is None else False if op.index is False else tuple(op.index)
        seconds = None if op.ttl is None else op.ttl * 60.0
        self._end(seconds)
        return Put(items.kept(ref, op.value, fields, op.ttl), seconds)

    async def _store(self, puts: Mapping[Ref, Put]) -> None:
        """Write until each name has its value; what somebody else puts meanwhile becomes the version before."""
        left = list(puts)
        for _ in range(TRIES):
            there, vault = await self._live(left, "write")
            again: list[Ref] = []
            new: list[Ref] = []
            for ref in left:
                living = [cube for cube in there.get(ref, ()) if not self._is_over(cube)]
                # One whose time is up still holds the name until the sweep comes by.
                for cube in there.get(ref, ()):
                    if cube not in living[:1]:
                        await self._delete(cube)
                if not living:
                    new.append(ref)
                elif not await self._overwrite(living[0], puts[ref], vault):
                    again.append(ref)
            left = again + await self._insert({ref: puts[ref] for ref in new}, vault)
            if not left:
                return
        raise _contested(left[0])

    async def _live(self, refs: Sequence[Ref], verb: Verb) -> tuple[dict[Ref, list[MemCube]], Vault]:
        def work(tx: Tx) -> tuple[dict[Ref, list[MemCube]], Vault]:
            allowed = access.vault(tx, self._vault, verb)
            return queries.find(tx, allowed, refs, LIVE), allowed.vault

        return await self._core.read(self._actor, work)

    async def _insert(self, new: Mapping[Ref, Put], vault: Vault) -> list[Ref]:
        """Store new items. Returns those that somebody else has put meanwhile; they are to be looked at again."""
        again: list[Ref] = []
        refs = list(new)
        for start in range(0, len(refs), MAX_BATCH):
            part = refs[start : start + MAX_BATCH]
            drafts = [self._draft(ref, new[ref]) for ref in part]
            added = await self._memory.add(self._actor, drafts, vault=vault.id, force=True, reason=WHY)
            for ref, item in zip(part, added, strict=True):
                if item.memory is None:
                    raise item.error or Conflict(f"{ref!r}: was not stored: {'; '.join(item.reasons)}", param="value")
                if item.memory.watermark != MARK:
                    raise Conflict(
                        f"{ref!r}: the memory {item.memory.id!r} has this name and text and is no item of a graph; "
                        "rename or delete it",
                        param="key",
                    )
                if not item.created:
                    again.append(ref)
        # Two processes may both have found a name free; the one that looks last sees both.
        for cubes in (await self._live(refs, "write"))[0].values() if refs else ():
            for cube in sorted(cubes, key=lambda cube: cube.seq)[:-1]:
                await self._delete(cube)
        return again

    def _draft(self, ref: Ref, put: Put) -> Draft:
        return Draft(
            put.kept.content,
            semantic_type="document",
            data=put.kept.data,
            subject=items.subject_of(ref.namespace),
            attribute=items.attribute_of(ref.key),
            tags=items.tags_of(ref.namespace),
            # The program that puts a value vouches for it; there is no other text that it was drawn from.
            origin="user_input",
            pinned=True,
            watermark=MARK,
            expires_at=self._end(put.seconds),
        )

    async def _overwrite(self, cube: MemCube, put: Put, vault: Vault) -> bool:
        """Make the next version; False when the memory was changed or deleted meanwhile."""
        if cube.state == "quarantined":
            raise Conflict(
                f"memory {cube.id!r}, {cube.attribute!r} in {cube.subject!r}, is held back; accept or reject it first",
                param="key",
            )
        own = items.tags_of(items.namespace_of(cube.subject or ""))
        fields = {
            "content": put.kept.content,
            "data": put.kept.data,
            "tags": tuple(dict.fromkeys((*own, *cube.tags))),
            "expires_at": self._end(vault.default_ttl_s if put.seconds is None else put.seconds),
        }
        try:
            await self._memory.edit(self._actor, cube.id, Change(fields, "overwrite", WHY), expect=cube.version)
        except (Stale, UnknownName):
            return False
        return True

    async def _forget(self, ref: Ref) -> None:
        for _ in range(TRIES):
            cubes = (await self._live([ref], "delete"))[0].get(ref, [])
            if not cubes:
                return
            for cube in cubes:
                await self._delete(cube)
        raise _contested(ref)

    async def _delete(self, cube: MemCube) -> None:
        try:
            await self._memory.delete(self._actor, cube.id, expect=cube.version, reason="deleted by a graph")
        except (Stale, UnknownName):
            # Changed or gone meanwhile; whoever asked looks again.
            return

    def _is_over(self, cube: MemCube) -> bool:
        return lifetime_over(cube.state, cube.expires_at, cube.sensitivity, self._core.clock.now())

    def _end(self, seconds: float | None) -> datetime | None:
        """When something that lives so long is over. Raises `InvalidInput` for a time that no calendar has."""
        try:
            return None if seconds is None else self._core.clock.now() + timedelta(seconds=seconds)
        except (OverflowError, ValueError) as error:
            raise InvalidInput(f"ttl: {error}; expected minutes, at most some thousand years", param="ttl") from error


@dataclass(frozen=True, slots=True)
class _Read:
    items: list[Item]
    allowed: Access
    may_write: bool


def _ref(op: GetOp | PutOp) -> Ref:
    return Ref(tuple(op.namespace), op.key)


def _check(op: Op) -> None:
    """Refuse what cannot be done, before anything is done."""
    validate_op_namespace(op)
    match op:
        case PutOp():
            if not op.namespace:
                raise InvalidNamespaceError("Namespace cannot be empty.")
            items.check_name(_ref(op))
        case SearchOp():
            check(op.filter)
            _not_negative(op.limit, op.offset)
        case ListNamespacesOp():
            _not_negative(op.limit, op.offset)
        case GetOp():
            pass
        case _:
            raise InvalidInput(f"operation {op!r}: expected GetOp, PutOp, SearchOp or ListNamespacesOp", param="ops")


def _not_negative(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise InvalidInput(f"limit {limit}, offset {offset}: expected numbers from 0 on", param="limit")


def _contested(ref: Ref) -> Conflict:
    return Conflict(f"{ref.key!r} in {ref.namespace!r}: others change it all the time; try again", param="key")
