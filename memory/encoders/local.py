"""Runs an encoder that is plain Python and NumPy beside the event loop.

Batches go through worker threads, few at a time. Questions have threads of their own: a search does not wait behind a
thousand documents. The matrix library gets one thread per call, because the calls are many and small: on a busy machine
its own threads wait for each other (measured: 45 texts/s fell to 5). Source: storage §3; ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import anyio
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from memory.encoders.base import Role, Vectors

Batch = Sequence[int]
QUERY_THREADS = 2


class Workers:
    """Threads for one encoder."""

    def __init__(self, threads: int | None) -> None:
        """`threads` for documents; None: half of the processors, at least one."""
        self._docs = anyio.CapacityLimiter(threads or max(1, (os.cpu_count() or 1) // 2))
        self._queries = anyio.CapacityLimiter(QUERY_THREADS)

    async def run(
        self, encode: Callable[[Sequence[str]], Vectors], texts: Sequence[str], batches: Sequence[Batch], *, role: Role
    ) -> list[Vectors]:
        """`encode` of the texts of each batch (their places in `texts`), as many batches at a time as there are threads."""
        limiter = self._queries if role == "query" else self._docs
        out: list[Vectors | None] = [None] * len(batches)

        async def one(n: int) -> None:
            chosen = [texts[i] for i in batches[n]]
            out[n] = await anyio.to_thread.run_sync(partial(encode, chosen), limiter=limiter)

        async with anyio.create_task_group() as group:
            for n in range(len(batches)):
                group.start_soon(one, n)
        return [vectors for vectors in out if vectors is not None]


def one_blas_thread() -> None:
    """From here on, one thread for each matrix product of this process."""
    threadpool_limits(1, user_api="blas")


def by_length(texts: Sequence[str], *, size: int, characters: int) -> Iterator[Batch]:
    """Places of texts of like length: at most `size` of them and, unless it is one text, `characters` in a batch."""
    batch: list[int] = []
    total = 0
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if batch and (len(batch) == size or total + len(texts[i]) > characters):
            yield batch
            batch, total = [], 0
        batch.append(i)
        total += len(texts[i])
    if batch:
        yield batch


def in_order(parts: Sequence[Vectors], batches: Sequence[Batch], *, dim: int) -> Vectors:
    """The rows of the batches at the places of their texts."""
    out = np.empty((sum(len(batch) for batch in batches), dim), np.float32)
    for part, batch in zip(parts, batches, strict=True):
        out[list(batch)] = part
    return out
