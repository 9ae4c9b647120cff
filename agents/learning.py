"""How a run writes memories: a plan of changes, applied as a whole, each change an event of its log.

Only a run that names vaults and whose memory is `on` writes, and only into the first vault that it names; `read` reads
and never writes. The run acts as its owner, in its context, as it does when it reads. A plan is known by the run and the
step that it is applied in, so a run that is picked up again finds what it has written and does not write it twice.
Source: empirical_mcts §3.8, §5; memos §3.10; ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from agents.remembering import Find, actor_of, reads_memories
from memory.indices.base import Filter
from memory.revisions import Revised, Revision, There
from memory.service import Memory
from memory.types import MemCube
from runtime.events import MemoryWritten, StepCompleted
from runtime.run_types import RunSpec

if TYPE_CHECKING:
    from agents.base import Step


class Learning:
    """What one run may write."""

    def __init__(self, memory: Memory, spec: RunSpec, *, run_id: str, owner: str) -> None:
        self._memory = memory
        self._spec = spec
        self._run_id = run_id
        self._actor = actor_of(spec, owner)

    @property
    def writes(self) -> bool:
        """Whether the run writes memories at all."""
        return reads_memories(self._spec) and self._spec.memory == "on"

    @property
    def vault(self) -> str:
        """The vault that the run writes into, as it names it."""
        return self._spec.vaults[0]

    async def check(self) -> None:
        """Raise `UnknownName`, `Forbidden` or `Conflict` when the run wants to write where it may not."""
        if self.writes:
            await self._memory.revising.check(self._actor, self.vault)

    async def look(self, find: Find) -> list[MemCube]:
        """What `find` finds in the run's name: the memories that a plan is about."""
        return [hit.memory for hit in await find(self._memory, self._actor, self._spec)]

    async def write(
        self,
        step: Step,
        decide: Callable[[There], Sequence[Revision]],
        *,
        about: Sequence[str],
        new_ids: Sequence[str],
        texts: Sequence[str],
        alike: Filter,
        subjects: Sequence[str] = (),
    ) -> Revised:
        """Apply the plan (memory/revising.py) and tell the log, also what was left out. Raises as `check` does."""
        revised = await self._memory.revising.revise(
            self._actor,
            self.vault,
            decide,
            token=f"{self._run_id}:{step.key}",
            about=about,
            new_ids=new_ids,
            texts=texts,
            alike=alike,
            subjects=subjects,
        )
        for each in revised.written:
            await step.emit(MemoryWritten(id=each.id, version=each.version, op=each.op))
        skipped: list[JsonValue] = [*revised.skipped]
        await step.emit(StepCompleted(name=step.key, detail={"written": len(revised.written), "skipped": skipped}))
        return revised
