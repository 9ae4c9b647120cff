"""Search over codes: a shortlist by the codec, then the exact order of that shortlist by the full vectors.

Rescoring matters more than the format: four candidates for each wanted hit bring half-size float8 back to float32.
Source: embedding_storage §2.1, §3; design storage §2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memory.codecs.base import Codec, Codes, Vectors, checked

OVERSAMPLE = 4
Rows = NDArray[np.intp]


class Found(NamedTuple):
    """A row that was found. `exact`: the score is the cosine of the full vectors, not an estimate."""

    row: int
    score: float
    exact: bool


def search(
    query: Vectors,
    codes: Codes,
    codec: Codec,
    top_k: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
    full: Callable[[Rows], Vectors] | None = None,
    oversample: int = OVERSAMPLE,
) -> list[Found]:
    """The `top_k` best rows, best first, equal scores in the order of the rows.

    `query` is a unit vector, float32 (codec.dim,). `allowed` (n,) is applied before anything is compared. `full` gives
    the unit vectors, float32 (m, codec.dim), of the rows it is asked for; with it `oversample · top_k` candidates are
    scored again. Raises as `Codec` does.
    """
    rows: Rows = np.arange(len(codes)) if allowed is None else np.flatnonzero(allowed)
    if not len(rows) or top_k < 1:
        return []
    projected = codec.project(query[None])[0]
    scores = codec.scores(projected, codes if allowed is None else codes[rows])
    if full is None:
        chosen = _best(scores, top_k)
        return [Found(int(rows[i]), float(scores[i]), exact=False) for i in chosen]
    shortlist = rows[_best(scores, top_k * oversample)]
    exact = checked(full(shortlist), codec.dim) @ query
    return [Found(int(shortlist[i]), float(exact[i]), exact=True) for i in _best(exact, top_k)]


def _best(scores: Vectors, count: int) -> Rows:
    if count < len(scores):
        # All that tie with the last one compete, so that the order of the rows decides and not the partition.
        last = np.partition(scores, -count)[-count]
        candidates = np.flatnonzero(scores >= last)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))][:count]
