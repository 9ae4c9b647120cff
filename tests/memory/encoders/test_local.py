from __future__ import annotations

import threading
from collections.abc import Sequence

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.encoders.base import Vectors
from memory.encoders.local import Workers, by_length, in_order

pytestmark = pytest.mark.anyio


@given(st.lists(st.integers(0, 30).map(lambda n: "x" * n)), st.integers(1, 5), st.integers(1, 40))
def test_batches_hold_every_text_once_and_keep_to_their_limits(texts: list[str], size: int, characters: int) -> None:
    batches = list(by_length(texts, size=size, characters=characters))
    assert sorted(i for batch in batches for i in batch) == list(range(len(texts)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or sum(len(texts[i]) for i in batch) <= characters
    rows = [np.array([[float(i)] for i in batch], np.float32) for batch in batches]
    assert in_order(rows, batches, dim=1)[:, 0].tolist() == list(range(len(texts)))


async def test_questions_do_not_wait_behind_documents() -> None:
    workers = Workers(1)
    free, busy = threading.Event(), threading.Event()

    def slow(texts: Sequence[str]) -> Vectors:
        busy.set()
        assert free.wait(10)
        return np.ones((len(texts), 1), np.float32)

    def quick(texts: Sequence[str]) -> Vectors:
        return np.ones((len(texts), 1), np.float32)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: workers.run(slow, ["a", "b"], [[0], [1]], role="doc"))
        await anyio.to_thread.run_sync(busy.wait, 10)
        with anyio.fail_after(5):
            await workers.run(quick, ["q"], [[0]], role="query")
        assert not free.is_set()
        free.set()


async def test_no_more_documents_are_encoded_at_a_time_than_there_are_threads() -> None:
    running, most = 0, 0
    lock = threading.Lock()
    all_in = threading.Barrier(2)

    def encode(texts: Sequence[str]) -> Vectors:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_in.wait(10)
        with lock:
            running -= 1
        return np.zeros((len(texts), 1), np.float32)

    await Workers(2).run(encode, ["a"] * 6, [[n] for n in range(6)], role="doc")
    assert most == 2
