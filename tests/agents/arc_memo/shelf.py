"""A store with two vaults, and runs that learn into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import insert

from agents.arc_memo.concept import ConceptEntry
from agents.arc_memo.keeping import Shorter, source_of, write_concepts
from agents.arc_memo.proving import Proven
from agents.base import Step
from agents.learning import Learning
from memory.listing import Where
from memory.opening import open_memory
from memory.revisions import Revised
from memory.service import Memory
from memory.types import Actor, MemCube
from runtime.db import open_database
from runtime.events import AnyPayload
from runtime.ids import SYSTEM
from runtime.run_types import RunSpec
from runtime.settings import Settings
from runtime.tables import User

ANN, BOB = Actor("usr_ann"), Actor("usr_bob")


@dataclass
class Told:
    """Stands where a step of a run stands: has a key, and keeps what the log would hold."""

    key: str
    events: list[AnyPayload] = field(default_factory=list)

    async def emit(self, payload: AnyPayload) -> None:
        self.events.append(payload)


@dataclass
class Shelf:
    """The store, and what runs do with it."""

    memory: Memory

    async def learn(
        self,
        batch: Mapping[str, Sequence[Mapping[str, object] | str]],
        *,
        run: str = "run_1",
        step: str = "write.1",
        vaults: tuple[str, ...] = ("default",),
        shorter: Sequence[Shorter] = (),
        proven: Sequence[Proven] = (),
    ) -> Revised:
        """What a run does that was told these entries for these problems."""
        entries = {id_: [ConceptEntry.model_validate(each) for each in told] for id_, told in batch.items()}
        sources = {id_: source_of(run, f"solve.{id_}", f"# program of {id_}") for id_ in batch}
        return await write_concepts(
            self.learning(run, vaults), self.step(step), entries, sources=sources, shorter=shorter, proven=proven
        )

    def learning(self, run: str = "run_1", vaults: tuple[str, ...] = ("default",)) -> Learning:
        spec = RunSpec(agent="arcmemo", input="x", vaults=vaults, memory="on", seed=1)
        return Learning(self.memory, spec, run_id=run, owner=ANN.user_id)

    def step(self, key: str) -> Step:
        return cast(Step, Told(key))

    async def cube(self, name: str, vault: str = "default") -> MemCube:
        """The one memory of the vault that holds a concept of this name."""
        (cube,) = (await self.memory.list(ANN, Where(vault, semantic_types=("concept",), subject=name))).items
        return cube


@asynccontextmanager
async def open_shelf(settings: Settings) -> AsyncIterator[Shelf]:
    """A shelf over an empty database; Ann owns the vaults `default` and `seeds`."""
    db = open_database(settings)
    rows = [{"id": a.user_id, "name": a.user_id[4:], "role": "member", "created_at": SYSTEM.now()} for a in (ANN, BOB)]
    await db.write(lambda connection: connection.execute(insert(User), rows))
    async with open_memory(settings, db) as memory:
        await memory.vaults.create(ANN, "seeds")
        yield Shelf(memory)
    await db.aclose()
