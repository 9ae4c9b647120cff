"""Recall: scope → candidates per index → fuse → late check → near-repetitions → token budget.

Access is decided first, in the transaction that reads the candidates. An index answers ids and is believed in nothing
else: every hit is read again from SQL and shown only if the scope sees it (memory/ranking/scope.py). When too few are
left, the next page asks for more. What cannot be asked is named in `degraded`, and full text answers.
Source: memos §3.2; design storage §4b; design usefulness, "Use".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from memory.access import Access
from memory.core import Core
from memory.indices.base import Filter
from memory.ranking import ranking
from memory.ranking.looking import Dense, Look, Looked, opened
from memory.ranking.measured import Measured
from memory.ranking.question import Question, understood
from memory.ranking.related import Related
from memory.ranking.rerank import Reranker
from memory.ranking.scope import Scope
from memory.ranking.selection import selected
from memory.spaces import Spaces
from memory.types import Actor, Mode, Query, Recall, RecallHit
from runtime.errors import InvalidInput, ModelError, SettingsError, StorageError
from runtime.telemetry import get_logger

# When too few are left, another page asks each index for so many times more.
PAGES: Final = 3
GROWTH: Final = 4
# Candidates of each index, at least; and `FACTOR` times as many as hits are wanted.
LEXICAL: Final = 120
DENSE: Final = 50
FACTOR: Final = 4
GRAPH: Final = 20

log = get_logger(__name__)


class Recaller:
    """Finds memories; keeps nothing between two questions."""

    def __init__(
        self,
        core: Core,
        spaces: Spaces,
        graph: Related,
        measured: Measured | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self._core = core
        self._spaces = spaces
        self._graph = graph
        self._measured = measured
        self._reranker = reranker

    async def recall(self, actor: Actor, query: Query) -> tuple[Recall, Sequence[Access]]:
        """The memories that answer the question best, at most `query.k`, and the decisions by which they are shown.

        Raises `UnknownName` and `Forbidden` for a vault that the actor may not read, `InvalidInput` for a question without
        a number of hits.
        """
        if query.k < 1:
            raise InvalidInput(f"k {query.k!r}: expected 1 or more", param="k")
        for page in range(PAGES):
            recall, scope, done = await self._page(actor, query, GROWTH**page)
            if done:
                break
        return recall, list(scope.allowed.values())

    async def _page(self, actor: Actor, query: Query, more: int) -> tuple[Recall, Scope, bool]:
        """One round, what it looked at, and whether it found enough or asking for more cannot find more."""
        degraded: list[str] = []
        words_limit, vectors_limit = (more * max(least, FACTOR * query.k) for least in (LEXICAL, DENSE))
        opening = await self._core.read(actor, lambda tx: opened(tx, query, words_limit))
        question = understood(query.text, {each.speaker for each in opening.found if each.speaker})
        dense = await self._nearest(question, opening.scope, vectors_limit, degraded)
        mode: Mode = "hybrid" if degraded else query.mode
        look = Look(opening, question, dense, mode)
        looked = await self._core.read(actor, look.at_words_and_vectors)
        if looked.seeds or looked.entities:
            near = await self._near(looked, degraded)
            look = replace(look, mode="hybrid" if "graph" in degraded else mode)
            looked = await self._core.read(actor, lambda tx: look.at_the_graph_too(tx, looked.gathered, near))
        hits = await self._reread(question, looked.ranked.hits(looked.shown), degraded)
        hits = await self._useful(query, opening.scope, hits)
        kept, tokens = selected(hits, query)
        exhausted = not opening.full and len(look.named) < vectors_limit
        found = Recall(tuple(kept), tuple(degraded), looked.dropped, tokens)
        return found, opening.scope, exhausted or len(looked.shown) >= query.k

    async def _nearest(self, question: Question, scope: Scope, limit: int, degraded: list[str]) -> Dense | None:
        query = scope.query
        if query.mode == "lexical":
            return None
        space = self._spaces.active
        try:
            vector = np.asarray((await space.encoder.encode([question.meaning], role="query"))[0], np.float32)
        except (ModelError, SettingsError) as error:
            log.warning("memory.recall_without_encoder", error=error.message)
            degraded.append("dense")
            return None
        # Filters of the present say nothing about the past.
        now = query.as_of is None
        where = Filter(
            scope.vault_ids,
            scope.indexed,
            query.kinds if now else (),
            query.tags if now else (),
            query.session_id if now else None,
        )
        try:
            hits = await space.index.search(vector, limit, where)
        except StorageError as error:
            log.warning("memory.recall_without_index", space=space.slug, error=error.message)
            degraded.append("dense")
            return Dense(space, vector, ())
        return Dense(space, vector, [hit.memory_id for hit in hits])

    async def _near(self, looked: Looked, degraded: list[str]) -> dict[int, float]:
        """What shares entities with the question or with the best candidates."""
        seeds = {seq: 1.0 / place for place, seq in enumerate(looked.seeds, 1)}
        try:
            hits = await self._graph.related(seeds, entities=dict.fromkeys(looked.entities, 1.0), limit=GRAPH)
        except StorageError as error:
            log.warning("memory.recall_without_graph", error=error.message)
            degraded.append("graph")
            return {}
        return {hit.seq: hit.score for hit in hits if hit.score > 0}

    async def _reread(self, question: Question, hits: list[RecallHit], degraded: list[str]) -> list[RecallHit]:
        if self._reranker is None or not hits:
            return hits
        try:
            scores = await self._reranker.rerank(question.text, [hit.memory.content for hit in hits])
        except ModelError as error:
            log.warning("memory.recall_without_rerank", error=error.message)
            degraded.append("rerank")
            return hits
        return ranking.reread(hits, scores)

    async def _useful(self, query: Query, scope: Scope, hits: list[RecallHit]) -> list[RecallHit]:
        vaults = [item.vault.id for item in scope.allowed.values() if item.vault.explore != 0]
        if self._measured is None or query.explore == 0 or not vaults or not hits:
            return hits
        ids = [hit.memory.id for hit in hits if hit.memory.vault_id in vaults]
        draws = await self._measured.draws(vaults, ids, query.seed)
        return ranking.moved(hits, draws)
