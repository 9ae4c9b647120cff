"""What an evaluation reads as memory: nothing, an empty store for every attempt, or a prepared one.

A store that grows along the items is a matter of its own (evals/continual.py). A frozen store is read-only for the agents:
their runs are asked with memory `read`, and what a run has read is looked at again behind it. Source: evaluation sheet §3.8;
ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from evals import guards, placebo, vaults
from evals.plan import Plan, Slot
from memory.service import Memory
from memory.types import Actor, Draft
from runtime.errors import InvalidInput, UnknownName
from runtime.run_types import MemoryMode
from runtime.runs import RunStore


@dataclass(frozen=True, slots=True)
class Reading:
    """What the run of a slot is asked with. `originals` leads from the id of a copy to the memory it is a copy of."""

    memory: MemoryMode = "off"
    vaults: tuple[str, ...] = ()
    originals: Mapping[str, str] = field(default_factory=dict)


class Store(Protocol):
    """The memory of one evaluation."""

    async def open(self) -> None:
        """Make what is shared by all slots. Called once, also when the evaluation is resumed."""
        ...

    async def reading(self, slot: Slot) -> Reading:
        """What the slot reads; called before its run."""
        ...

    async def read(self, slot: Slot, memory_ids: Sequence[str]) -> None:
        """The run of the slot has ended well, and has read these. Raises `LeakFound`."""
        ...

    async def close(self) -> None:
        """Every slot is done: drop what nobody needs any more."""
        ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """What stores work with. `eval_id` begins the names of their vaults; of what is `asked` there must be no memory."""

    memory: Memory
    runs: RunStore
    actor: Actor
    eval_id: str
    plan: Plan
    asked: guards.Asked = guards.NOTHING

    def name(self, *words: object) -> str:
        """The name of a vault of this evaluation."""
        return " ".join((self.eval_id, *map(str, words)))


class NoStore:
    """Memory is off."""

    async def open(self) -> None:
        """See `Store`."""

    async def reading(self, slot: Slot) -> Reading:
        """See `Store`."""
        return Reading()

    async def read(self, slot: Slot, memory_ids: Sequence[str]) -> None:
        """See `Store`."""

    async def close(self) -> None:
        """See `Store`."""


class EmptyStores:
    """Every attempt has an empty vault of its own, which it may write into; nobody else ever sees it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def open(self) -> None:
        """See `Store`."""

    async def reading(self, slot: Slot) -> Reading:
        """See `Store`."""
        shelf = self._shelf
        return Reading("on", (await vaults.make(shelf.memory, shelf.actor, self._name(slot)),))

    async def read(self, slot: Slot, memory_ids: Sequence[str]) -> None:
        """See `Store`."""
        await vaults.drop(self._shelf.memory, self._shelf.actor, self._name(slot))

    async def close(self) -> None:
        """See `Store`."""
        await vaults.drop_all(self._shelf.memory, self._shelf.actor, self._shelf.name("cold "))

    def _name(self, slot: Slot) -> str:
        return self._shelf.name("cold", hashlib.sha256(repr(slot.key).encode()).hexdigest()[:16])


class PreparedStore:
    """A vault that is there, and what the suite says that a prepared store holds for a sample; or placebos of both."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._vaults: tuple[str, ...] = ()
        self._made: dict[str, str] = {}
        self._making = anyio.Lock()
        self._good: set[str] = set()

    async def open(self) -> None:
        """See `Store`. Raises `LeakFound`, and `UnknownName` for a vault that there is not."""
        shelf, vault = self._shelf, self._shelf.plan.vault
        if vault is None:
            return
        await guards.refuse_leaks(shelf.memory, shelf.runs, shelf.actor, [vault], shelf.asked)
        cubes = await vaults.live(shelf.memory, shelf.actor, vault)
        if shelf.plan.placebo:
            vault = await vaults.make(shelf.memory, shelf.actor, shelf.name("warm", "placebo"))
            await vaults.fill(shelf.memory, shelf.actor, vault, placebo.drafts(cubes))
        else:
            await vaults.findable(shelf.memory, [cube.id for cube in cubes])
        self._vaults = (vault,)

    async def reading(self, slot: Slot) -> Reading:
        """See `Store`. Raises `InvalidInput` when there is nothing that it could read."""
        drafts = slot.sample.memories
        if not drafts and not self._vaults:
            raise InvalidInput(
                f"memory 'warm': the suite prepares no store for {slot.sample.id!r}; name one with --vault, or build one "
                "with --build",
                param="memory",
            )
        return Reading("read", (*self._vaults, *([await self._prepared(drafts)] if drafts else [])))

    async def read(self, slot: Slot, memory_ids: Sequence[str]) -> None:
        """See `Store`. What came into the vault since the evaluation began is looked at here."""
        shelf, fresh = self._shelf, [id_ for id_ in memory_ids if id_ not in self._good]
        cubes = []
        for memory_id in fresh:
            try:
                cubes.append(await shelf.memory.get(shelf.actor, memory_id))
            except UnknownName:
                continue  # erased since it was read
        guards.refuse(await guards.leaks(shelf.memory, shelf.runs, shelf.actor, cubes, shelf.asked))
        self._good.update(fresh)

    async def close(self) -> None:
        """See `Store`."""
        await vaults.drop_all(self._shelf.memory, self._shelf.actor, self._shelf.name("warm "))

    async def _prepared(self, drafts: Sequence[Draft]) -> str:
        """The vault that holds these drafts; samples with the same ones share it."""
        shelf = self._shelf
        told = repr([(draft.content, draft.semantic_type, dict(draft.data)) for draft in drafts])
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        async with self._making:
            if digest not in self._made:
                vault = await vaults.make(shelf.memory, shelf.actor, shelf.name("warm", digest))
                held = placebo.drafts(drafts) if shelf.plan.placebo else drafts
                await vaults.fill(shelf.memory, shelf.actor, vault, held)
                self._made[digest] = vault
            return self._made[digest]
