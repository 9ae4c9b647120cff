"""Brings drafts before the rules of admission, with the memories that are nearest to them.

What a person writes meets rules that need no neighbours, so it costs no search. Source: memos §3.1; ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from memory.admission import Candidate, Other, Verdict, decide
from memory.core import Core
from memory.indices.base import Filter
from memory.spaces import Spaces
from memory.store import Vectors, many
from memory.types import LIVE, Actor
from runtime.errors import StorageError
from runtime.telemetry import get_logger

NEIGHBOURS = 5

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
            plain = candidate.draft.origin == "user_input" and candidate.span is None
            neighbours = () if plain else await self.neighbours(actor, vault_id, made)
            verdicts.append(decide(candidate, neighbours, injected))
        return verdicts

    async def neighbours(self, actor: Actor, vault_id: str, made: Vectors) -> tuple[Other, ...]:
        """The live memories of the vault that are nearest; none while the index cannot be asked."""
        space = self._spaces.active
        if space.id not in made:
            return ()
        where = Filter((vault_id,), states=LIVE)
        try:
            hits = await space.index.search(made[space.id], NEIGHBOURS, where)
        except StorageError as error:
            log.warning("memory.admission_without_neighbours", error=error.message)
            return ()
        cubes = await self._core.read(actor, lambda tx: many(tx, [hit.memory_id for hit in hits]))
        return tuple(
            Other(hit.memory_id, cubes[hit.memory_id].content, hit.score)
            for hit in hits
            if hit.memory_id in cubes
            and cubes[hit.memory_id].vault_id == vault_id
            and cubes[hit.memory_id].state in LIVE
        )
