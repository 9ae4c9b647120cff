"""What model-written Python is given and what comes back; who runs it, and how well it is shut in, is decided elsewhere.

A `Program` is source text, the name of the function to call, and the inputs to call it with, one after the other. Its
`Outcome` has one `Case` for each input. A program that fails is an outcome, not an error: errors are for the sandbox
itself (`SandboxUnavailable`). Values are JSON in both directions; numpy arrays that a program returns arrive as lists.
Source: evals sheet §5.2; shape ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

Level = Literal["strong", "standard", "reduced"]
Failure = Literal["timeout", "memory", "output", "error", "killed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Seconds are wall and CPU of the whole program, all of its calls together. `memory_bytes` is address space beyond that
    of the libraries that are loaded for it. `output_bytes` bounds what is printed, which is cut, and what is returned,
    which then is the failure `output`. The setting `sandbox.seconds` is the most that is given. Source: evals §5.2 [D].
    """

    seconds: float = 2.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Program:
    """Source text, the function in it that is called, and what it is called with: once for each of the inputs."""

    source: str
    entry: str
    inputs: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What one call gave: a value, or how it failed and the last line of its traceback. `stdout` is cut at the limit."""

    value: JsonValue = None
    failure: Failure | None = None
    error: str | None = None
    stdout: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case for each input, in order; `level` says how well the program was shut in."""

    cases: tuple[Case, ...]
    level: Level
    cpu_seconds: float = 0.0
    cached: bool = False


class Sandbox(Protocol):
    """Runs programs of tenants that must not see each other. Opened by `runtime.sandbox.pool.open_sandbox`."""

    @property
    def level(self) -> Level: ...

    async def run(self, program: Program, *, tenant: str, limits: Limits = Limits()) -> Outcome:
        """Run one program. Raises `SandboxUnavailable` when no worker can be started."""
        ...

    async def run_batch(
        self,
        programs: Sequence[Program],
        *,
        tenant: str,
        limits: Limits = Limits(),
    ) -> list[Outcome]:
        """Run candidates for one problem of one tenant. As `run`.

        They may share a process, one after the other: a hostile one can forge the outcomes of those beside it, so
        candidates of different authors do not belong into one batch.
        """
        ...
