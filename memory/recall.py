"""Recall: scope → candidates per index → fuse → late check → near-repetitions → token budget.

Access is decided first, in the transaction that reads the candidates. An index answers ids and is believed in nothing
else: every hit is read again from SQL and shown only if the scope sees it (memory/ranking/scope.py). When too few are
left, the next page asks for more. What cannot be asked is named in `degraded`, and full text answers.
Source: memos §3.2; design storage §4b; design usefulness, "Use".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memory import access
from memory.core import Core
from memory.indices import lexical
from memory.indices.base import Filter, Vector
from memory.ranking import checked, entities, pool, ranking, weights, words
from memory.ranking.candidates import Candidate
from memory.ranking.measured import Measured
from memory.ranking.question import Question, understood
from memory.ranking.ranking import Ranked
from memory.ranking.related import Related
from memory.ranking.rerank import Reranker
from memory.ranking.scope import Scope
from memory.ranking.selection import selected
from memory.ranking.smoothing import Floats
from memory.ranking.weights import Stored
from memory.spaces import Space, Spaces
from memory.tx import Tx
from memory.types import Actor, MemCube, Mode, Query, Recall, RecallHit
from runtime.errors import InvalidInput, ModelError, SettingsError, StorageError
from runtime.telemetry import get_logger

PAGES: Final = 3
GROWTH: Final = 4
# Candidates of each index, at least; and `FACTOR` times as many as hits are wanted.
LEXICAL: Final = 120
DENSE: Final = 50
# Of so many of the best, what stands around them is read too.
LEXICAL_SEEDS: Final = 30
DENSE_SEEDS: Final = 15
GRAPH_SEEDS: Final = 5
GRAPH: Final = 20
# More hits than asked for are looked at, because some give way.
SPARE: Final = 5
FACTOR: Final = 4

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """What full text and the tables know before anything is encoded. `named`: the short keys that full text answered;
    `full`: it may have more."""

    scope: Scope
    weights: Mapping[str, Stored]
    named: Sequence[int]
    found: Sequence[Candidate]
    entities: Sequence[int]
    full: bool


@dataclass(frozen=True, slots=True)
class Dense:
    """The question's vector in a space, and the ids that its index answered: none when only the index cannot be asked."""

    space: Space
    vector: Vector
    named: Sequence[str]


@dataclass(frozen=True, slots=True)
class Gathered:
    """Candidates with their cosines; None when the encoder was not asked."""

    candidates: Sequence[Candidate]
    cosines: Floats | None

    def with_more(self, more: Gathered) -> Gathered:
        """Both, in their order."""
        both = None
        if self.cosines is not None and more.cosines is not None:
            both = np.concatenate([self.cosines, more.cosines])
        return Gathered([*self.candidates, *more.candidates], both)


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

    async def recall(self, actor: Actor, query: Query) -> Recall:
        """The memories that answer the question best, at most `query.k`. Raises `UnknownName` and `Forbidden` for a vault
        that the actor may not read, `InvalidInput` for a question without a number of hits."""
        if query.k < 1:
            raise InvalidInput(f"k {query.k!r}: expected 1 or more", param="k")
        for page in range(PAGES):
            recall, done = await self._page(actor, query, GROWTH**page)
            if done:
                break
        return recall

    async def _page(self, actor: Actor, query: Query, more: int) -> tuple[Recall, bool]:
        """One round, and whether it found enough or asking for more cannot find more."""
        degraded: list[str] = []
        words_limit, vectors_limit = (more * max(least, FACTOR * query.k) for least in (LEXICAL, DENSE))
        opening = await self._core.read(actor, lambda tx: _open(tx, query, words_limit))
        question = understood(query.text, {each.speaker for each in opening.found if each.speaker})
        dense = await self._nearest(question, opening.scope, vectors_limit, degraded)
        named = () if dense is None else dense.named
        gathered = await self._core.read(actor, lambda tx: _gather(tx, opening, question, dense))
        ranked, mode = await self._ranked(actor, opening, question, gathered, dense, degraded)
        seqs = [ranked.candidates[row].seq for row in ranked.order(frozenset(named), mode)]

        def last_look(tx: Tx) -> tuple[list[MemCube], int]:
            scope = _scope(tx, query)
            shown = checked.visible(tx, scope, seqs, query.k + query.k // 2 + SPARE)
            left = {each.seq: each.id for each in ranked.candidates if each.seq not in shown.refused}
            return shown.cubes, checked.dropped(tx, scope, opening.named, named, left)

        cubes, dropped = await self._core.read(actor, last_look)
        hits = await self._reread(question, ranked.hits(cubes), degraded)
        hits = await self._useful(query, opening.scope, hits)
        kept, tokens = selected(hits, query)
        exhausted = not opening.full and len(named) < vectors_limit
        return Recall(tuple(kept), tuple(degraded), dropped, tokens), exhausted or len(cubes) >= query.k

    async def _ranked(
        self,
        actor: Actor,
        opening: Opening,
        question: Question,
        gathered: Gathered,
        dense: Dense | None,
        degraded: list[str],
    ) -> tuple[Ranked, Mode]:
        """The candidates in order, with those that the graph adds, and the mode that is left of the one asked for."""
        mode: Mode = "hybrid" if degraded else opening.scope.query.mode
        # The graph starts from what words and vectors find.
        first: Mode = "hybrid" if mode == "graph" else mode
        ranked = ranking.rank(question, gathered.candidates, gathered.cosines, opening.weights, first)
        near = await self._near(opening, ranked, degraded) if mode in {"hybrid", "graph"} else {}
        if "graph" in degraded:
            mode = "hybrid"
        if not near and mode == first:
            return ranked, mode
        known = {each.seq for each in gathered.candidates}
        new = [seq for seq in near if seq not in known]
        if new:
            added = await self._core.read(
                actor, lambda tx: _with_cosines(tx, pool.by_seq(tx, opening.scope, new), dense)
            )
            gathered = gathered.with_more(added)
        return ranking.rank(question, gathered.candidates, gathered.cosines, opening.weights, mode, near), mode

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

    async def _near(self, opening: Opening, ranked: Ranked, degraded: list[str]) -> dict[int, float]:
        """What shares entities with the question or with the best candidates; empty when neither has any."""
        seeds = {seq: 1.0 / place for place, seq in enumerate(ranked.linked(GRAPH_SEEDS), 1)}
        if not seeds and not opening.entities:
            return {}
        try:
            hits = await self._graph.related(seeds, entities=dict.fromkeys(opening.entities, 1.0), limit=GRAPH)
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


def _scope(tx: Tx, query: Query) -> Scope:
    allowed = access.vaults(tx, query.vaults, "read")
    return Scope({item.vault.id: item for item in allowed}, query, tx.now)


def _open(tx: Tx, query: Query, limit: int) -> Opening:
    scope = _scope(tx, query)
    hits = lexical.search(tx.connection, words.expanded(query.text), scope.vault_ids, limit)
    seqs = [hit.seq for hit in hits]
    known = entities.named(tx, scope.vault_ids, query.text) if query.mode in {"hybrid", "graph"} else []
    found = pool.by_seq(tx, scope, seqs)
    return Opening(scope, weights.stored(tx, scope.vault_ids), seqs, found, known, len(hits) == limit)


def _gather(tx: Tx, opening: Opening, question: Question, dense: Dense | None) -> Gathered:
    """Every candidate once: what the indexes named, and what stands around the best of them."""
    scope = opening.scope
    pooled = {each.seq: each for each in opening.found}
    seeds = list(opening.found[:LEXICAL_SEEDS])
    if scope.query.as_of is not None:
        old = pool.edited_since(tx, scope, question.terms, LEXICAL)
        pooled |= {each.seq: each for each in pool.by_id(tx, scope, old)}
    if dense is not None:
        place = {each.id: each for each in pooled.values()}
        new = pool.by_id(tx, scope, [memory_id for memory_id in dense.named if memory_id not in place])
        place |= {each.id: each for each in new}
        pooled |= {each.seq: each for each in new}
        seeds += [place[memory_id] for memory_id in dense.named[:DENSE_SEEDS] if memory_id in place]
    pooled |= {each.seq: each for each in pool.around(tx, scope, seeds)}
    return _with_cosines(tx, list(pooled.values()), dense)


def _with_cosines(tx: Tx, candidates: Sequence[Candidate], dense: Dense | None) -> Gathered:
    if dense is None:
        return Gathered(candidates, None)
    return Gathered(candidates, pool.cosines(tx, dense.space.id, candidates, dense.vector))
