"""A vault learns to rank from recorded use: which hits of which questions were used.

A record holds no scores, because those would be of the memories and the encoder of then. So each question is asked again,
as the actor who teaches, and the hits that come now are told apart into used and passed over. A use of which none is
found again says nothing about those that are, and neither does a recall that could not ask every index: both are left
out. What is learned stands in memory/ranking/learn.py. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from memory import access
from memory.core import Core
from memory.ranking import learn as learning
from memory.ranking import weights
from memory.ranking.learn import Sample
from memory.ranking.weights import Stored
from memory.recall import Recaller
from memory.tx import Tx
from memory.types import Actor, Query
from memory.vault import grants

# Hits of a question that are looked at; whoever uses one seldom looks further.
HITS: Final = 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Used:
    """A question and the ids of the memories that were used for it."""

    query: str
    ids: Collection[str]


@dataclass(frozen=True, slots=True)
class LearnedRanking:
    """What came of teaching. `weights`: by part; None, and the vault ranks as before, when `why` says what is missing.

    `samples`: hits that were looked at; `used`: those of them that were used; `left_out`: questions that told nothing.
    """

    weights: Stored | None
    samples: int
    used: int
    left_out: int
    why: str = ""


class Teaching:
    """Reached as `Memory.teaching`. `vault` is an id or the actor's own name for it. Raises `UnknownName` for a vault that
    the actor may not read, `Forbidden` and `Conflict` for one that it may not change."""

    def __init__(self, core: Core, recaller: Recaller) -> None:
        self._core = core
        self._recaller = recaller

    async def learn(
        self, actor: Actor, vault: str, uses: Sequence[Used], *, progress: Progress = lambda done, total: None
    ) -> LearnedRanking:
        """Fit weights to the uses, in place of what was learned before. The actor needs `write`, and `read` to ask again;
        each question is a read on a metered grant, and when that is used up nothing is learned."""
        await self._core.default_vault(actor)
        # Before anything is asked, so that who may not teach spends no reads and no time.
        vault_id = (await self._core.read(actor, lambda tx: access.vault(tx, vault, "write"))).vault.id
        samples: list[Sample] = []
        left_out = 0
        for done, use in enumerate(uses, 1):
            told = await self._asked_again(actor, vault_id, use)
            samples += told
            left_out += not told
            progress(done, len(uses))
        learned = await weights.learn(self._core, actor, vault_id, samples)
        why = "" if learned is not None else learning.lacking(samples) or learning.UNRELATED
        return LearnedRanking(learned, len(samples), sum(sample.used for sample in samples), left_out, why)

    async def learned(self, actor: Actor, vault: str) -> Stored | None:
        """The weights that the vault has learned; None: it ranks with the defaults (memory/ranking/fusion.py)."""
        await self._core.default_vault(actor)

        def work(tx: Tx) -> Stored | None:
            vault_id = access.vault(tx, vault, "read").vault.id
            return weights.stored(tx, [vault_id]).get(vault_id)

        return await self._core.read(actor, work)

    async def forget(self, actor: Actor, vault: str) -> None:
        """Let the vault rank with the defaults again. The actor needs `write`."""
        await self._core.default_vault(actor)
        await weights.forget(self._core, actor, vault)

    async def _asked_again(self, actor: Actor, vault_id: str, use: Used) -> list[Sample]:
        """The hits of today as samples; none when they tell nothing."""
        # Measured usefulness would move hits by what is no part of the score.
        query = Query(use.query, vaults=(vault_id,), k=HITS, explore=0.0)
        found, allowed = await self._recaller.recall(actor, query)
        await grants.count_reads(self._core, actor, allowed)
        samples = learning.observed(found, use.ids)
        return samples if not found.degraded and any(sample.used for sample in samples) else []
