"""A bar for what takes longer than two seconds; nothing at all where no person is looking. Source: contract §2."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_S: Final = 2.0


class Bar:
    """Called with how much is done, and of how much when that is known; from any thread."""

    def __init__(self, what: str, *, shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._shown = shown
        self._clock = clock
        self._began = clock()
        self._lock = Lock()
        self._drawn: tuple[Progress, TaskID] | None = None
        self.done = 0
        self.total: int | None = None

    def __call__(self, done: int, total: int | None = None) -> None:
        """So far this much."""
        with self._lock:
            self.done, self.total = done, total
            if self._drawn is None and self._shown and self._clock() - self._began >= QUIET_S:
                self._drawn = self._draw()
            if self._drawn is not None:
                bar, task = self._drawn
                bar.update(task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar off the screen."""
        with self._lock:
            if self._drawn is not None:
                self._drawn[0].stop()
                self._drawn = None

    def _draw(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.start()
        return bar, bar.add_task(self._what, total=None)


@contextmanager
def bar(what: str) -> Iterator[Bar]:
    """A bar on stderr, as long as both streams are a terminal."""
    made = Bar(what, shown=sys.stdout.isatty() and sys.stderr.isatty())
    try:
        yield made
    finally:
        made.close()
