"""Brings drafts before the rules of admission, with the memories that are nearest to them.

What a person writes meets rules that need no neighbours, so it costs no search. A memory that the writer may not see is
no neighbour: whether something was refused must not tell what is hidden. Nor is raw material: a claim says no more than
the conversation that it was drawn from, and is no duplicate of it. Source: memos §3.1, §3.10; ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from memory import access
from memory.admitting.admission import Candidate, Other, Verdict, decide
from memory.core import Core
from memory.indices.base import Filter
from memory.spaces import Spaces
from memory.store import Vectors, many
from memory.tx import Tx
from memory.types import LIVE, Actor, State
from runtime.errors import StorageError
from runtime.telemetry import get_logger

NEIGHBOURS = 5
COMPARED: frozenset[State] = LIVE - {"generated"}
BESIDE_THE_LOOP = 20_000

log = get_logger(__name__)


class Gate:
    """Judges drafts before they are stored."""

    def __init__(self, core: Core, spaces: Spaces) -> None:
        self._core = core
        self._spaces = spaces

    async def judge(
        self,
        actor: Actor,
        vault_id: str,
        candidates: Sequence[Candidate],
        vectors: Sequence[Vectors],
        injected: Sequence[Other] = (),
    ) -> list[Verdict]:
        """One verdict for each candidate, in order. `injected` is what stood in the prompt that they come from."""
        verdicts = []
        for candidate, made in zip(candidates, vectors, strict=True):
            neighbours = () if candidate.deliberate else await self.neighbours(actor, vault_id, made)
            if len(candidate.draft.content) < BESIDE_THE_LOOP:
                verdicts.append(decide(candidate, neighbours, injected))
            else:
                verdicts.append(await anyio.to_thread.run_sync(decide, candidate, neighbours, injected))
        return verdicts

    async def neighbours(
        self, actor: Actor, vault_id: str, made: Vectors, limit: int = NEIGHBOURS
    ) -> tuple[Other, ...]:
        """The live memories of the vault that are nearest, raw ones left out, at most `limit`; none while the index
        cannot be asked."""
        space = self._spaces.active
        if space.id not in made:
            return ()
        try:
            hits = await space.index.search(made[space.id], limit, Filter((vault_id,), states=COMPARED))
        except StorageError as error:
            log.warning("memory.admission_without_neighbours", error=error.message)
            return ()

        def work(tx: Tx) -> tuple[Other, ...]:
            allowed = access.vault(tx, vault_id, "write")
            cubes = many(tx, [hit.memory_id for hit in hits])
            found = [(cubes[hit.memory_id], hit.score) for hit in hits if hit.memory_id in cubes]
            return tuple(
                Other(cube.id, cube.content, score, cube.subject)
                for cube, score in found
                if cube.vault_id == vault_id and cube.state in COMPARED and allowed.sees(cube.sensitivity)
            )

        return await self._core.read(actor, work) if hits else ()
