"""What a search reads, in two transactions: words first, because they tell whose names the encoder should not read; then
all candidates, ranked and checked. A third one only when the hypergraph may add some.

Access is decided in the first one; every row that is read after it is held against that decision. Source: memos §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memory import access
from memory.indices import lexical
from memory.indices.base import Vector
from memory.ranking import checked, entities, pool, weights, words
from memory.ranking.candidates import Candidate
from memory.ranking.question import Question
from memory.ranking.ranking import Ranked, rank
from memory.ranking.scope import Scope
from memory.ranking.smoothing import Floats
from memory.ranking.weights import Stored
from memory.spaces import Space
from memory.tx import Tx
from memory.types import MemCube, Mode, Query

# Of so many of the best, what stands around them is read too; so many of the best lead into the graph.
LEXICAL_SEEDS: Final = 30
DENSE_SEEDS: Final = 15
GRAPH_SEEDS: Final = 5
OLD_TEXTS: Final = 120
# More hits than asked for are looked at, because some give way.
SPARE: Final = 5
WITH_GRAPH: Final[frozenset[Mode]] = frozenset({"hybrid", "graph"})


@dataclass(frozen=True, slots=True)
class Opening:
    """What full text and the tables know before anything is encoded. `named`: the short keys that full text answered;
    `full`: it may have more; `entities`: those that the question names."""

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


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found. With `seeds` or `entities` the graph is asked first, and nothing is shown yet."""

    gathered: Gathered
    ranked: Ranked
    shown: Sequence[MemCube] = ()
    dropped: int = 0
    seeds: Sequence[int] = ()
    entities: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """One search after its question was understood. `mode` is the one asked for, or what is left of it."""

    opening: Opening
    question: Question
    dense: Dense | None
    mode: Mode

    @property
    def named(self) -> Sequence[str]:
        """The ids that the vector index answered."""
        return () if self.dense is None else self.dense.named

    def at_words_and_vectors(self, tx: Tx) -> Looked:
        """Rank what words and vectors find, and check it unless the graph may add something."""
        gathered = self._gathered(tx)
        # The graph starts from what words and vectors find.
        first: Mode = "hybrid" if self.mode == "graph" else self.mode
        ranked = rank(self.question, gathered.candidates, gathered.cosines, self.opening.weights, first)
        if self.mode in WITH_GRAPH:
            seeds = ranked.linked(GRAPH_SEEDS)
            if seeds or self.opening.entities:
                return Looked(gathered, ranked, seeds=seeds, entities=self.opening.entities)
        return self._checked(tx, gathered, ranked)

    def at_the_graph_too(self, tx: Tx, gathered: Gathered, near: Mapping[int, float]) -> Looked:
        """Rank again with what the graph reached (scores by short key), and check."""
        known = {each.seq for each in gathered.candidates}
        new = pool.by_seq(tx, self.opening.scope, [seq for seq in near if seq not in known])
        gathered = gathered.with_more(self._with_cosines(tx, new)) if new else gathered
        ranked = rank(self.question, gathered.candidates, gathered.cosines, self.opening.weights, self.mode, near)
        return self._checked(tx, gathered, ranked)

    def _gathered(self, tx: Tx) -> Gathered:
        """Every candidate once: what the indexes named, and what stands around the best of them."""
        scope, found = self.opening.scope, self.opening.found
        pooled = {each.id: each for each in found}
        seeds = list(found[:LEXICAL_SEEDS])
        if scope.query.as_of is not None:
            old = pool.edited_since(tx, scope, self.question.terms, OLD_TEXTS)
            pooled |= {each.id: each for each in pool.by_id(tx, scope, old)}
        new = pool.by_id(tx, scope, [memory_id for memory_id in self.named if memory_id not in pooled])
        pooled |= {each.id: each for each in new}
        seeds += [pooled[memory_id] for memory_id in self.named[:DENSE_SEEDS] if memory_id in pooled]
        pooled |= {each.id: each for each in pool.around(tx, scope, seeds)}
        return self._with_cosines(tx, list(pooled.values()))

    def _with_cosines(self, tx: Tx, candidates: Sequence[Candidate]) -> Gathered:
        if self.dense is None:
            return Gathered(candidates, None)
        return Gathered(candidates, pool.cosines(tx, self.dense.space.id, candidates, self.dense.vector))

    def _checked(self, tx: Tx, gathered: Gathered, ranked: Ranked) -> Looked:
        scope = self.opening.scope
        order = ranked.order(frozenset(self.named), self.mode)
        seqs = [gathered.candidates[row].seq for row in order]
        wanted = scope.query.k
        seen = checked.visible(tx, scope, seqs, wanted + wanted // 2 + SPARE)
        left = {each.seq: each.id for each in gathered.candidates if each.seq not in seen.refused}
        dropped = checked.dropped(tx, scope, self.opening.named, self.named, left)
        return Looked(gathered, ranked, seen.cubes, dropped)


def opened(tx: Tx, query: Query, limit: int) -> Opening:
    """Decide on access, and ask full text for `limit` memories. Raises `UnknownName`, `Forbidden`."""
    allowed = access.vaults(tx, query.vaults, "read")
    scope = Scope({item.vault.id: item for item in allowed}, query, tx.now)
    hits = lexical.search(tx.connection, words.expanded(query.text), scope.vault_ids, limit)
    seqs = [hit.seq for hit in hits]
    known = entities.named(tx, scope.vault_ids, query.text) if query.mode in WITH_GRAPH else []
    found = pool.by_seq(tx, scope, seqs)
    return Opening(scope, weights.stored(tx, scope.vault_ids), seqs, found, known, len(hits) == limit)
