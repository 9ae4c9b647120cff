"""Candidates in the order of their scores, and hits that say why. Pure. Source: memos §3.2 (3, 5, 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.ranking.candidates import Candidate
from memory.ranking.fusion import fused, weights_of
from memory.ranking.measured import Draws
from memory.ranking.parts import Parts, parts, standardised
from memory.ranking.question import Question
from memory.ranking.reasons import ordinal, why
from memory.ranking.smoothing import Floats
from memory.ranking.useful import additions
from memory.ranking.weights import Stored
from memory.types import MemCube, Mode, RecallHit

RERANK_WEIGHT: Final = 0.4
RANKED: Final = ("lexical", "dense", "graph")


@dataclass(frozen=True, slots=True)
class Ranked:
    """`scores` and `ranks` (from 1; 0 for a candidate of which the part says nothing) are in the order of `candidates`."""

    question: Question
    candidates: Sequence[Candidate]
    parts: Parts
    scores: Floats
    ranks: Mapping[str, NDArray[np.intp]]

    def order(self, named: frozenset[str], mode: Mode) -> list[int]:
        """Rows that may be shown, best first. `named`: the ids that the vector index answered. What nothing speaks for,
        such as a neighbour of a match that was read for its text only, is not among them."""
        lexical = self.parts.of["lexical"] > 0
        dense = np.array([each.id in named for each in self.candidates], np.bool_)
        graph = self.parts.of["graph"] > 0
        spoken = {"hybrid": lexical | dense | graph, "lexical": lexical, "dense": dense, "graph": graph}[mode]
        best = np.lexsort((-np.array([each.seq for each in self.candidates]), -self.scores))
        return [int(row) for row in best if spoken[row]]

    def linked(self, limit: int) -> list[int]:
        """Short keys of the best candidates, as far as the hypergraph knows them."""
        best = np.argsort(-self.scores, kind="stable")[:limit]
        return [self.candidates[row].seq for row in best if self.candidates[row].linked]

    def hits(self, cubes: Sequence[MemCube]) -> list[RecallHit]:
        """These memories, which are among the candidates, as hits in their order."""
        rows = {each.seq: row for row, each in enumerate(self.candidates)}
        return [self._hit(cube, rows[cube.seq]) for cube in cubes]

    def _hit(self, cube: MemCube, row: int) -> RecallHit:
        scores = {name: float(values[row]) for name, values in self.parts.of.items() if values[row]}
        cosine = float(self.parts.cosines[row])
        if not np.isnan(cosine):
            scores["cosine"] = cosine
        ranks = {name: int(values[row]) for name, values in self.ranks.items() if values[row]}
        reason = why(self.question, self.candidates[row], self.parts, row, ranks)
        return RecallHit(cube, float(self.scores[row]), scores, ranks, reason)


def rank(
    question: Question,
    candidates: Sequence[Candidate],
    cosines: Floats | None,
    stored: Mapping[str, Stored],
    mode: Mode,
    near: Mapping[int, float] | None = None,
) -> Ranked:
    """Score the candidates. `stored`: weights of vaults that have their own; `near`: what the graph reached."""
    made = parts(question, candidates, cosines, near or {})
    scores = fused(made, weights_of(None, mode))
    for vault_id, own in stored.items():
        theirs = np.array([each.vault_id == vault_id for each in candidates], np.bool_)
        scores = np.where(theirs, fused(made, weights_of(own, mode)), scores)
    said = {
        "lexical": made.of["lexical"] > 0,
        "dense": ~np.isnan(made.cosines),
        "graph": made.of["graph"] > 0,
    }
    ranks = {name: _ranks(made.of[name], said[name]) for name in RANKED}
    return Ranked(question, candidates, made, scores, ranks)


def reread(hits: Sequence[RecallHit], scores: Sequence[float]) -> list[RecallHit]:
    """The hits with what a reranker said of each, standardised among them, as one more part."""
    values = standardised(np.asarray(scores, np.float32))
    places = _ranks(values, np.ones(len(hits), np.bool_))
    return [
        replace(
            hit,
            score=hit.score + RERANK_WEIGHT * float(value),
            scores={**hit.scores, "rerank": float(value)},
            ranks={**hit.ranks, "rerank": int(place)},
            why="; ".join(part for part in (hit.why, f"{ordinal(int(place))} when read with the question") if part),
        )
        for hit, value, place in zip(hits, values, places, strict=True)
    ]


def moved(hits: Sequence[RecallHit], draws: Draws) -> list[RecallHit]:
    """The hits with what measured usefulness adds; those without an effect as they were."""
    added = additions([hit.memory.id for hit in hits], [hit.score for hit in hits], draws)
    return [
        replace(
            hit,
            score=hit.score + extra,
            scores={**hit.scores, "usefulness": extra},
            why="; ".join(part for part in (hit.why, "helped before" if extra > 0 else "did not help before") if part),
        )
        if extra
        else hit
        for hit, extra in zip(hits, added, strict=True)
    ]


def _ranks(values: Floats, said: NDArray[np.bool_]) -> NDArray[np.intp]:
    ranks = np.zeros(len(values), np.intp)
    order = np.argsort(-np.where(said, values, -np.inf), kind="stable")[: int(said.sum())]
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
