"""What a codec costs and what it loses, against exact float32 search on the same vectors.

Source: embedding_storage §2.1, §3; ours.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from memory.codecs.base import Codec, Vectors
from memory.codecs.search import OVERSAMPLE, search
from runtime.errors import InvalidInput

FEWEST_QUERIES = 200
TOP = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """`recall` and `ndcg` at 10 against float32; `task_recall` at 10 of the wanted rows where they are known; `ms` is the
    median for one question; `digest` names the corpus."""

    codec: str
    rescored: bool
    bytes_per_vector: int
    recall: float
    ndcg: float
    task_recall: float | None
    ms: float
    queries: int
    digest: str


def measure(
    codec: Codec,
    corpus: Vectors,
    queries: Vectors,
    *,
    wanted: Sequence[int] | None = None,
    rescore: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Search the corpus, unit rows float32 (n, dim), with every query, unit rows float32 (m, dim).

    `wanted` is the row that answers each query. Raises `InvalidInput` for fewer than 200 queries, for which the figures
    would be noise.
    """
    if len(queries) < FEWEST_QUERIES:
        raise InvalidInput(f"{len(queries)} queries: too few to measure; expected at least {FEWEST_QUERIES}")
    codes = codec.encode(corpus)
    recalls, gains, hits, times = [], [], [], []
    # One thread, as a server answers one question: its times are told, and on a busy machine two wait for each other.
    with threadpool_limits(1, user_api="blas"):
        for n, query in enumerate(queries):
            cosines = corpus @ query
            true = np.argsort(-cosines, kind="stable")[:TOP]
            began = clock()
            found = search(
                query, codes, codec, TOP, full=corpus.__getitem__ if rescore else None, oversample=OVERSAMPLE
            )
            times.append(clock() - began)
            rows = [hit.row for hit in found]
            recalls.append(len(set(rows) & set(true.tolist())) / len(true))
            gains.append(gain(cosines[rows]) / max(gain(cosines[true]), 1e-12))
            if wanted is not None:
                hits.append(wanted[n] in rows)
    return Measured(
        codec=codec.name,
        rescored=rescore,
        bytes_per_vector=codec.bytes_per_vector,
        recall=float(np.mean(recalls)),
        ndcg=float(np.mean(gains)),
        task_recall=float(np.mean(hits)) if hits else None,
        ms=float(np.median(times)) * 1000,
        queries=len(queries),
        digest=hashlib.sha256(np.ascontiguousarray(corpus, "<f4").tobytes()).hexdigest()[:16],
    )


def gain(cosines: NDArray[np.float32]) -> float:
    """Discounted sum, as nDCG has it; a row's gain is how similar it is, and none when it points away."""
    return float((np.clip(cosines, 0, None) / np.log2(np.arange(2, len(cosines) + 2))).sum())
