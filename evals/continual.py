"""A store that grows along the items: batch by batch, so that what an item reads does not depend on which run was quicker.

Each run of a batch works on a copy of the store as it was before the batch. When all of them are done, what they changed is
taken over item by item, by the ids of the items: changes of known memories and new ones, then removals. Memories that go by
a name, as concepts do, are united with what the store holds under it by then (evals/uniting.py): there is one of each name.
Of the others a change of what an earlier item of the batch has changed becomes a new memory. A removal of it is left out.
Everything that is taken over has the item as a source.

The diary of the log says which copies there are and what was taken over, so a crash costs at most the runs that were under
way: taking over twice changes nothing more. Source: evaluation sheet §3.6, §3.8; ArcMemo sheet §3.1, §3.3, §5
(concurrent writers); Empirical-MCTS sheet §3.8, §5 (stale ids); ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

from pydantic import JsonValue

from evals import guards, vaults
from evals.log import LogWriter
from evals.plan import Slot, Stream
from evals.records import Record
from evals.stores import Reading, Shelf
from evals.uniting import UNITING
from memory.listing import Where
from memory.rows import fields_of
from memory.types import Change, Draft, MemCube, Source, State
from runtime.errors import Conflict, MnemeError, UnknownName

GONE: Final[tuple[State, ...]] = ("merged", "archived", "deleted")
# What a run may change in a memory, and an edit of the original can take over.
TAKEN: Final = ("content", "data", "title", "semantic_type", "tags", "entities", "confidence", "pinned")
NAME: Final = re.compile(r"(?P<id>evl_[0-9a-f]{32}) memory .*")
NOT_DRAFTED: Final = frozenset({"sources", "position", "state"})


async def clear(shelf: Shelf) -> None:
    """Drop the copies that a crash has left behind, when all streams are done."""
    await vaults.drop_all(shelf.memory, shelf.actor, shelf.name("work "))


def builder_of(vault: str) -> str | None:
    """The evaluation whose store a vault of this name is; None for any other vault."""
    found = NAME.fullmatch(vault)
    return found["id"] if found else None


@dataclass(frozen=True, slots=True)
class Copy:
    """A store as one item sees it: the vault, which memory became which, and the versions that were copied."""

    vault: str
    ids: Mapping[str, str]
    versions: Mapping[str, int]

    @property
    def originals(self) -> dict[str, str]:
        """From the id of a copy to that of the memory."""
        return {new: old for old, new in self.ids.items()}


@dataclass(slots=True)
class Taken:
    """What was taken over from one item."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    degraded: int = 0
    left_out: int = 0

    def to_json(self) -> dict[str, JsonValue]:
        """A part of a line of the diary."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(slots=True)
class _State:
    """Where a stream stands, by the diary."""

    vault: str | None = None
    copies: dict[int, Copy] = field(default_factory=dict)
    merged: set[int] = field(default_factory=set)


class GrowingStore:
    """The store of one stream. `open`, then for each batch `reading` of its slots, their runs, and `settle`."""

    def __init__(self, shelf: Shelf, stream: Stream, log: LogWriter) -> None:
        self._shelf = shelf
        self._stream = stream
        self._log = log
        self._state = _read_diary(log.diary(), stream.name)

    @property
    def name(self) -> str:
        """The name of the vault, which stays when the evaluation is over."""
        return self._shelf.name("memory", self._stream.name)

    async def open(self) -> None:
        """Make the vault, or find it again. It begins empty, or as a copy of the vault of the plan, which is looked at
        first. Raises `LeakFound`."""
        if self._state.vault is not None:
            return
        shelf, base = self._shelf, self._shelf.plan.vault
        if base is not None:
            await guards.refuse_leaks(shelf.memory, shelf.runs, shelf.actor, [base], shelf.asked)
        vault = await vaults.make(shelf.memory, shelf.actor, self.name)
        if base is not None:
            await vaults.copy(shelf.memory, shelf.actor, base, vault)
        self._log.note({"event": "began", "stream": self._stream.name, "vault": vault})
        self._state.vault = vault

    def is_settled(self, slot: Slot) -> bool:
        """Whether what the slot learned is in the store."""
        return slot.place in self._state.merged

    async def reading(self, slot: Slot) -> Reading:
        """A fresh copy of the store, which the run may read and write."""
        shelf = self._shelf
        assert self._state.vault is not None
        work = await vaults.make(shelf.memory, shelf.actor, self._work(slot))
        before = await vaults.live(shelf.memory, shelf.actor, self._state.vault)
        ids = await vaults.copy(shelf.memory, shelf.actor, self._state.vault, work)
        made = Copy(work, ids, {cube.id: cube.version for cube in before})
        line: dict[str, JsonValue] = {
            "event": "copied",
            "stream": self._stream.name,
            "place": slot.place,
            "vault": work,
        }
        self._log.note(line | {"ids": {**made.ids}, "versions": {**made.versions}})
        self._state.copies[slot.place] = made
        return Reading("on", (work,), made.originals)

    async def settle(self, records: Sequence[tuple[Slot, Record]]) -> None:
        """Take over what the runs of a batch have learned, by the ids of the items. What a run that failed has written is
        dropped: it says nothing."""
        for slot, record in sorted(records, key=lambda item: item[0].sample.id):
            if self.is_settled(slot):
                continue
            copy, taken = self._state.copies[slot.place], Taken()
            if not record.failed:
                taken = await self._take(slot, record, copy)
            told: dict[str, JsonValue] = {"event": "merged", "stream": self._stream.name, "item": slot.sample.id}
            self._log.note(told | {"place": slot.place} | taken.to_json())
            self._state.merged.add(slot.place)
            await vaults.drop(self._shelf.memory, self._shelf.actor, copy.vault)

    def _work(self, slot: Slot) -> str:
        return self._shelf.name("work", self._stream.name, slot.place)

    async def _take(self, slot: Slot, record: Record, copy: Copy) -> Taken:
        shelf, taken = self._shelf, Taken()
        source = guards.source_of(shelf.eval_id, shelf.plan.suite, slot.sample, record.run_id)
        originals = copy.originals
        new: list[MemCube] = []
        for found in await vaults.live(shelf.memory, shelf.actor, copy.vault):
            original = originals.get(found.id)
            # What names a memory of the copy, as a lineage does, must name the one of the store.
            cube = replace(found, data=cast(dict[str, JsonValue], _renamed(dict(found.data), originals)))
            if cube.state == "quarantined":
                # What waits for a person must not get in by being taken over.
                taken.left_out += original is None
            elif original is None:
                new.append(cube)
            elif cube.version > 1:
                await self._change(original, cube, copy, source, slot, taken, new)
        await self._add(new, source, taken)
        for cube in await vaults.live(shelf.memory, shelf.actor, copy.vault, GONE):
            if cube.id in originals:
                await self._remove(originals[cube.id], cube, copy, slot, taken)
        return taken

    async def _change(
        self,
        original: str,
        cube: MemCube,
        copy: Copy,
        source: Source,
        slot: Slot,
        taken: Taken,
        new: list[MemCube],
    ) -> None:
        memory, actor = self._shelf.memory, self._shelf.actor
        try:
            known = await memory.get(actor, original)
            changed: dict[str, object] = {
                name: getattr(cube, name) for name in TAKEN if getattr(cube, name) != getattr(known, name)
            }
            if known.version == copy.versions[original] and changed:
                change = Change(changed, reason=f"learned on {slot.sample.id}")
                sources = await self._sources(cube, source, since=1)
                await memory.edit(actor, original, change, expect=known.version, sources=sources)
                taken.changed += 1
            elif changed and cube.semantic_type in UNITING:
                await self._unite(await self._as_copied(known, copy), cube, known, source, taken)
            elif changed:
                new.append(cube)
                taken.degraded += 1
        except (UnknownName, Conflict):
            # Gone since the copy was made, or frozen: what was learned stays, as a memory of its own.
            new.append(cube)
            taken.degraded += 1

    async def _add(self, cubes: Sequence[MemCube], source: Source, taken: Taken) -> None:
        shelf = self._shelf
        assert self._state.vault is not None
        drafts = []
        for cube in sorted(cubes, key=lambda cube: cube.seq):
            here = await self._of_that_name(cube)
            if here is not None:
                await self._unite(None, cube, here, source, taken)
            else:
                drafts.append(_draft(cube, await self._sources(cube, source)))
        if not drafts:
            return
        for added in await shelf.memory.add(shelf.actor, drafts, vault=self._state.vault, force=True):
            if added.memory is None:
                raise added.error or MnemeError(f"vault {self.name!r}: {'; '.join(added.reasons)}")
            taken.added += added.created

    async def _of_that_name(self, cube: MemCube) -> MemCube | None:
        """The oldest memory of the store that a new one is united with."""
        if cube.semantic_type not in UNITING or cube.subject is None:
            return None
        where = Where(self._state.vault, semantic_types=(cube.semantic_type,), subject=cube.subject)
        found = (await self._shelf.memory.list(self._shelf.actor, where)).items
        return found[-1] if found else None

    async def _as_copied(self, known: MemCube, copy: Copy) -> MemCube:
        """A memory of the store as it was when the copy was made."""
        history = await self._shelf.memory.history(self._shelf.actor, known.id)
        (then,) = (each for each in history if each.version == copy.versions[known.id])
        return replace(known, content=then.content, data=fields_of(then.header)["data"])

    async def _unite(self, before: MemCube | None, after: MemCube, here: MemCube, source: Source, taken: Taken) -> None:
        memory, actor = self._shelf.memory, self._shelf.actor
        changed = UNITING[after.semantic_type](before, after, here)
        if not changed:
            return
        sources = await self._sources(after, source, since=0 if before is None else 1)
        try:
            await memory.edit(actor, here.id, Change(changed, "merge"), expect=here.version, sources=sources)
            taken.changed += 1
        except Conflict:
            # Frozen: it stays as it is, and there is one of that name.
            taken.left_out += 1

    async def _sources(self, cube: MemCube, source: Source, *, since: int = 0) -> tuple[Source, ...]:
        """Those of a memory of a copy, and the item. `since`: without those of the versions up to it, as version 1 is the
        one that was copied."""
        told = (await self._shelf.memory.provenance(self._shelf.actor, cube.id)).sources
        return tuple(dict.fromkeys((*(item.source for item in told if item.version > since), source)))

    async def _remove(self, original: str, cube: MemCube, copy: Copy, slot: Slot, taken: Taken) -> None:
        memory, actor = self._shelf.memory, self._shelf.actor
        reason = f"removed on {slot.sample.id}"
        try:
            known = await memory.get(actor, original)
            if known.version != copy.versions[original]:
                taken.left_out += 1
            elif cube.state == "deleted":
                await memory.delete(actor, original, expect=known.version, reason=reason)
                taken.removed += 1
            else:
                await memory.move(actor, original, "archive", expect=known.version, reason=reason)
                taken.removed += 1
        except (UnknownName, Conflict):
            taken.left_out += 1


def _renamed(value: JsonValue, names: Mapping[str, str]) -> JsonValue:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def _draft(cube: MemCube, sources: tuple[Source, ...]) -> Draft:
    values: dict[str, Any] = {
        item.name: getattr(cube, item.name) for item in fields(Draft) if item.name not in NOT_DRAFTED
    }
    return Draft(**values, sources=sources, state="frozen" if cube.state == "frozen" else "activated")


def _read_diary(lines: Sequence[Mapping[str, Any]], stream: str) -> _State:
    state = _State()
    for line in lines:
        if line["stream"] != stream:
            continue
        if line["event"] == "began":
            state.vault = line["vault"]
        elif line["event"] == "copied":
            state.copies[line["place"]] = Copy(line["vault"], line["ids"], line["versions"])
        else:
            state.merged.add(line["place"])
    return state
