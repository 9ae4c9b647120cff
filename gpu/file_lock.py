"""One process at a time: an advisory lock on a file, free again as soon as its holder is gone, however it went.

Source: ours.
"""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

POLL_S = 0.1


@asynccontextmanager
async def exclusive(path: Path, *, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock on `path` (made when absent, never removed) for the body.

    `on_wait` is called once when somebody else holds it. The lock is asked for again and again rather than waited
    for in a thread, so that a cancelled caller leaves no thread behind that takes it later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited and on_wait is not None:
                    on_wait()
                waited = True
                await anyio.sleep(POLL_S)
        yield
