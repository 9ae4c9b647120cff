"""What a long set-up step says while it goes on. Source: ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal, NamedTuple, TextIO


class Progress(NamedTuple):
    """One line of news. `stage` is what is being made: the engine's environment or the model's folder.

    `done` comes once at the end, and only when something was made.
    """

    stage: Literal["installing", "converting", "done"]
    detail: str


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Say nothing."""


def to_terminal(stream: TextIO | None = None) -> Report:
    """A report that keeps one line of a terminal up to date, or prints each stage once when it is not a terminal."""
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        seen: set[str] = set()

        def once(progress: Progress) -> None:
            if progress.stage not in seen:
                seen.add(progress.stage)
                print(f"{progress.stage}: {progress.detail}", file=out, flush=True)

        return once

    def overwrite(progress: Progress) -> None:
        out.write("\r\x1b[K" if progress.stage == "done" else f"\r\x1b[K{progress.stage}: {progress.detail}"[:120])
        out.flush()

    return overwrite
