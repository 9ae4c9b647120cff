"""Measures an open space: does it find a memory by its own first words, and does its index find what an exact search does.

A move to another profile is decided by it (memory/reembed.py), and whether a fitted codec still fits the corpus. The
exact search runs over the stored float16 vectors, page by page, so nothing has to fit into memory. Source:
embedding_storage §2.1 (measure), §4 (accepted loss), §5 (drift); memos §5; ours.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import anyio
import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sqlalchemy import Connection, Select, select

from memory.backlog import StoredVector, intact
from memory.codecs import registry
from memory.codecs.measure import gain
from memory.core import Core
from memory.indices.base import Filter, VectorHit
from memory.profiles import StoredProfile
from memory.spaces import Space
from memory.tables import BlobRow, MemoryRow
from memory.types import SEARCHABLE

PROBES = 200
# Times the number of probes: from here on the store is large enough to draw from.
MANY = 4
QUESTION_WORDS = 12
TOP = 10
PAGE = 2000
# Cosines that differ by less are a tie.
TIE = 1e-6
# What a codec may lose of recall@10, at the switch and since.
ACCEPTED_LOSS = 0.02

Matrix = NDArray[np.float32]


class Probe(NamedTuple):
    """A memory, and the question that must find it."""

    memory_id: str
    vault_id: str
    question: str


@dataclass(frozen=True, slots=True)
class Figures:
    """`found`: share of the probes among the first ten. `recall` and `ndcg` at 10 of the index against exact search over
    the same vectors. `memories` were searched; `digest` names their vectors. Without a probe all shares are 1."""

    probes: int
    found: float
    recall: float
    ndcg: float
    memories: int
    digest: str


@dataclass(slots=True)
class _Exact:
    """What an exact search finds for one probe, and the exact cosines of what the index found."""

    best: list[tuple[float, str]] = field(default_factory=list)
    of_hits: dict[str, float] = field(default_factory=dict)


class _Row(NamedTuple):
    id: str
    stored: StoredVector


def question_of(content: str) -> str:
    """The first words of a memory, which must find it."""
    return " ".join(content.split()[:QUESTION_WORDS])


def sample(connection: Connection, count: int, rng: random.Random) -> list[Probe]:
    """`count` memories that a search may find, anywhere in the store; all of them when there are fewer."""
    searchable = (MemoryRow.state.in_(SEARCHABLE), MemoryRow.content != "")
    few = select(MemoryRow.seq).where(*searchable).order_by(MemoryRow.seq).limit(MANY * count)
    seqs = list(connection.execute(few).scalars())
    if len(seqs) < MANY * count:
        chosen = set(rng.sample(seqs, min(count, len(seqs))))
    else:
        # Drawn by number and not from a list of all: a million of them need not be read.
        chosen = _drawn(connection, count, rng, select(MemoryRow.seq).where(*searchable), seqs[0])
    query = select(MemoryRow.id, MemoryRow.vault_id, MemoryRow.content).where(MemoryRow.seq.in_(chosen))
    return [
        Probe(row.id, row.vault_id, question_of(row.content))
        for row in connection.execute(query.order_by(MemoryRow.seq))
    ]


def _drawn(connection: Connection, count: int, rng: random.Random, query: Select[int], first: int) -> set[int]:
    last = connection.execute(query.order_by(MemoryRow.seq.desc()).limit(1)).scalar_one()
    chosen: set[int] = set()
    for _ in range(MANY * count):
        after = query.where(MemoryRow.seq >= rng.randint(first, last)).order_by(MemoryRow.seq).limit(1)
        chosen.update(row.seq for row in connection.execute(after))
        if len(chosen) == count:
            break
    return chosen


async def found_share(space: Space, probes: Sequence[Probe]) -> float:
    """Share of the probes that the space finds among the first ten. Raises as `Spaces.nearest` does."""
    _, hits = await _asked(space, probes)
    return _found(probes, hits)


async def measure(core: Core, space: Space, probes: Sequence[Probe]) -> Figures:
    """Ask the space for every probe, and compare its index with an exact search. Raises as `Spaces.nearest` does."""
    vectors, hits = await _asked(space, probes)
    exact = [_Exact() for _ in probes]
    digest, memories = hashlib.sha256(), 0
    for vault_id in sorted({probe.vault_id for probe in probes}):
        asked = [n for n, probe in enumerate(probes) if probe.vault_id == vault_id]
        after = 0
        while page := await core.db.read(partial(_page, profile_id=space.id, vault_id=vault_id, after=after)):
            after = page[-1].stored.seq
            ids, scores = await anyio.to_thread.run_sync(_cosines, page, vectors[asked])
            for column, n in enumerate(asked):
                _merge(exact[n], ids, scores[:, column], hits[n])
            memories += len(ids)
            digest.update(repr([(row.stored.seq, row.stored.crc32) for row in page]).encode())
    recalls = [_recall(one, hit) for one, hit in zip(exact, hits, strict=True)]
    gains = [_ndcg(one, hit) for one, hit in zip(exact, hits, strict=True)]
    return Figures(
        probes=len(probes),
        found=_found(probes, hits),
        recall=float(np.mean(recalls)) if recalls else 1.0,
        ndcg=float(np.mean(gains)) if gains else 1.0,
        memories=memories,
        digest=digest.hexdigest()[:16],
    )


async def lost_since(core: Core, space: Space, stored: StoredProfile, rng: random.Random) -> float:
    """How much recall@10 the index has lost since the profile was measured, because the corpus is no longer the one that
    its codec was fitted on. 0 for codecs that are not fitted. More than `ACCEPTED_LOSS` asks for a refit, as another
    profile. Raises as `measure` does."""
    before = stored.measured.get("recall@10") if stored.measured else None
    if not registry.needs_sample(stored.codec) or not isinstance(before, float | int):
        return 0.0
    probes = await core.db.read(partial(sample, count=PROBES, rng=rng))
    return max(0.0, before - (await measure(core, space, probes)).recall)


def as_json(figures: Figures, *, old_found: float, at: str) -> Mapping[str, JsonValue]:
    """What is kept with the profile."""
    return {
        "recall@10": figures.recall,
        "ndcg@10": figures.ndcg,
        "found": figures.found,
        "old_found": old_found,
        "n_queries": figures.probes,
        "memories": figures.memories,
        "corpus_digest": figures.digest,
        "at": at,
    }


async def _asked(space: Space, probes: Sequence[Probe]) -> tuple[Matrix, list[list[VectorHit]]]:
    vectors = await space.encoder.encode([probe.question for probe in probes], role="query")
    hits = [
        await space.index.search(vector, TOP, Filter((probe.vault_id,), states=SEARCHABLE))
        for probe, vector in zip(probes, vectors, strict=True)
    ]
    return vectors, hits


def _found(probes: Sequence[Probe], hits: Sequence[Sequence[VectorHit]]) -> float:
    there = [probe.memory_id in {hit.memory_id for hit in found} for probe, found in zip(probes, hits, strict=True)]
    return float(np.mean(there)) if there else 1.0


def _page(connection: Connection, *, profile_id: str, vault_id: str, after: int) -> list[_Row]:
    query = (
        select(MemoryRow.id, MemoryRow.seq, BlobRow.data, BlobRow.crc32)
        .join(BlobRow, BlobRow.memory_seq == MemoryRow.seq)
        .where(BlobRow.profile_id == profile_id, MemoryRow.vault_id == vault_id, MemoryRow.state.in_(SEARCHABLE))
        .where(MemoryRow.seq > after)
        .order_by(MemoryRow.seq)
        .limit(PAGE)
    )
    return [_Row(row.id, StoredVector(row.seq, row.data, row.crc32)) for row in connection.execute(query)]


def _cosines(page: Sequence[_Row], questions: Matrix) -> tuple[list[str], Matrix]:
    """The ids whose vectors are intact, and their cosines with each question, float32 (ids, questions)."""
    dim = questions.shape[1]
    vectors = {row.id: intact(row.stored, dim) for row in page}
    there = {id_: vector for id_, vector in vectors.items() if vector is not None}
    matrix = np.array(list(there.values()), np.float32).reshape(-1, dim)
    return list(there), matrix @ questions.T


def _merge(exact: _Exact, ids: Sequence[str], scores: Matrix, hits: Sequence[VectorHit]) -> None:
    best = np.argsort(-scores, kind="stable")[:TOP]
    exact.best = sorted([*exact.best, *((float(scores[i]), ids[i]) for i in best)], reverse=True)[:TOP]
    wanted = {hit.memory_id for hit in hits}
    exact.of_hits |= {id_: float(scores[i]) for i, id_ in enumerate(ids) if id_ in wanted}


def _recall(exact: _Exact, hits: Sequence[VectorHit]) -> float:
    """Share of the best that was found; one as near as the last of them counts as one of them."""
    if not exact.best:
        return 1.0
    last = exact.best[-1][0] - TIE
    good = sum(exact.of_hits.get(hit.memory_id, -1.0) >= last for hit in hits)
    return min(1.0, good / len(exact.best))


def _ndcg(exact: _Exact, hits: Sequence[VectorHit]) -> float:
    ideal = gain(np.array([score for score, _ in exact.best], np.float32))
    got = gain(np.array([exact.of_hits.get(hit.memory_id, 0.0) for hit in hits], np.float32))
    return min(1.0, got / ideal) if ideal > 0 else 1.0
