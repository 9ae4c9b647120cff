"""Which levels this machine has, found by starting a worker at each and having it attack itself. What is found out is
kept for the life of the process.

Source: evals sheet §5.2.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from runtime.errors import SandboxUnavailable
from runtime.sandbox import zygote
from runtime.sandbox.base import Level

LEVELS: Final[tuple[Level, ...]] = ("strong", "standard", "reduced")
ROOT: Final = Path(__file__).parents[2]
# Everything that a worker is told by its environment. The seed makes the order of sets the same in every worker; each
# thread of OpenBLAS would reserve memory, and namespaces are left by processes of one thread only.
ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_PROBE_SECONDS: Final = 60.0
_MAIN: Final = (
    "import sys; sys.path.append(sys.argv[1]); from runtime.sandbox.zygote import main; main(sys.argv[2], {})"
)


class Hello(BaseModel):
    """The first thing that a worker says: the level it has reached, or why it was refused."""

    level: Level
    refused: str | None
    versions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Offer:
    """The best level that this machine has, or None, and why each better one is missing."""

    level: Level | None
    missing: tuple[tuple[Level, str], ...]

    def __str__(self) -> str:
        lost = "; ".join(f"{level} is missing: {why}" for level, why in self.missing)
        return "; ".join(filter(None, (self.level or "no level", lost)))


def command(level: Level, *, numpy: bool) -> Sequence[str]:
    """The command line of a worker. `-P -s` with an environment of our own is `-I`, but for the hash seed, which counts."""
    return [sys.executable, "-P", "-s", "-c", _MAIN.format(numpy), str(ROOT), level]


def offered() -> Offer:
    """The best level here. Blocks for a tenth of a second for each level tried, the first time."""
    missing: list[tuple[Level, str]] = []
    for level in LEVELS:
        why = refused(level)
        if why is None:
            return Offer(level, tuple(missing))
        missing.append((level, why))
    return Offer(None, tuple(missing))


def refused(level: Level) -> str | None:
    """Why a level cannot be had here; None when it can. What a busy machine did not get done is tried again next time."""
    try:
        return _tried(level)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


@functools.cache
def _tried(level: Level) -> str | None:
    ran = subprocess.run(
        command(level, numpy=False),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    try:
        return hello(ran.stdout[zygote.FRAME.size :]).refused
    except SandboxUnavailable:
        return f"the worker ended without a word: {ran.stderr.decode(errors='replace').strip()[-300:]}"


def hello(data: bytes) -> Hello:
    """The greeting in a frame. Raises `SandboxUnavailable` for anything else."""
    try:
        return Hello.model_validate_json(data)
    except ValidationError as error:
        raise SandboxUnavailable(f"sandbox worker: its greeting is not one: {data[:100]!r}") from error
