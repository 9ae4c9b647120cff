"""The sandbox of the service: workers that are started when first needed, batches, and the outcomes that are known.

A job is one child of one worker: one program, or the candidates of one call of `run_batch`, which belong to one tenant and
so may share a process. When a child ends before its last program did, whoever is to blame, the programs that were not
finished run again, each in a child of its own. Only what a program wrote in a process of its own is kept: one that shared it
can have written the answers of those after it. Opening costs nothing; the level is found at the first use.
Source: evals sheet §5.3.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from pydantic import JsonValue

from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Case, Level, Limits, Outcome, Program
from runtime.sandbox.cache import Outcomes, key_of
from runtime.sandbox.probe import LEVELS, Offer, offered
from runtime.sandbox.reading import read
from runtime.sandbox.turns import Turns
from runtime.sandbox.worker import Answer, Job, Worker
from runtime.settings import SandboxSettings, Settings

# A zygote is replaced after so many jobs.
JOBS_PER_WORKER: Final = 1000
PROGRAMS_PER_JOB: Final = 64
# Longer answers are not read on the event loop.
LONG_BYTES: Final = 64 << 10
# A program and its JSON, which is what tells programs apart.
_Named = tuple[str, Program]
LOST: Final = Case(failure="killed", error="the worker was lost twice over this program")


@asynccontextmanager
async def open_sandbox(settings: Settings, *, serving: bool = False) -> AsyncIterator[Pool]:
    """The sandbox that the settings ask for. Raises nothing: a level that is missing is the error of the first run.

    `serving` is for a server, which runs no code at level reduced whatever the settings say.
    """
    own = settings.sandbox
    pool = Pool(partial(accepted, own, serving=serving), workers=own.workers, most_seconds=own.seconds)
    try:
        yield pool
    finally:
        with anyio.CancelScope(shield=True):
            await pool.aclose()


def accepted(settings: SandboxSettings, *, serving: bool = False) -> Level:
    """The level that code is run at on this machine. Raises `SandboxUnavailable` when none is good enough."""
    return choose(offered(), settings, serving=serving)


def choose(offer: Offer, settings: SandboxSettings, *, serving: bool = False) -> Level:
    """As `accepted`, for a machine with this offer."""
    weak = settings.allow_weak and settings.min_level == "standard"
    least: Level = "reduced" if weak else settings.min_level
    if offer.level is None or LEVELS.index(offer.level) > LEVELS.index(least):
        fix = "" if weak else "; for development with trusted models only, set MNEME_SANDBOX__ALLOW_WEAK=true"
        raise SandboxUnavailable(f"sandbox: expected level {least!r} or better, this machine has {offer}{fix}")
    if serving and offer.level == "reduced":
        raise SandboxUnavailable(f"sandbox: a server runs no code at level 'reduced', and this machine has {offer}")
    return offer.level


@dataclass(slots=True)
class _Place:
    """Where one worker is, or will be."""

    worker: Worker | None = None


class Pool:
    """Workers of one level. Meets `Sandbox`; opened by `open_sandbox`.

    `find_level` is asked once, in a thread; it may raise `SandboxUnavailable`. No program gets more than `most_seconds`,
    whatever its limits say.
    """

    def __init__(
        self,
        find_level: Callable[[], Level],
        *,
        workers: int | None = None,
        jobs_per_worker: int = JOBS_PER_WORKER,
        most_seconds: float = math.inf,
    ) -> None:
        self._find_level = find_level
        self._level: Level | None = None
        self._jobs_per_worker = jobs_per_worker
        self._most_seconds = most_seconds
        self._known = Outcomes()
        self._versions: Mapping[str, str] = {}
        self._open = True
        self._places = [_Place() for _ in range(workers or _processors())]
        self._turns = Turns(self._places)

    @property
    def level(self) -> Level:
        """The level that programs run at. The first question takes a tenth of a second. Raises `SandboxUnavailable`."""
        if self._level is None:
            self._level = self._find_level()
        return self._level

    async def run(self, program: Program, *, tenant: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
        """Run one program in a process of its own. Raises `SandboxUnavailable` when no worker can be started."""
        return (await self.run_batch([program], tenant=tenant, limits=limits))[0]

    async def run_batch(
        self,
        programs: Sequence[Program],
        *,
        tenant: str,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Outcome]:
        """Run candidates for one problem of one tenant; they may share a process, one after the other. As `run`."""
        if self._level is None:
            self._level = await anyio.to_thread.run_sync(self._find_level)
        level = self.level
        limits = replace(limits, seconds=min(limits.seconds, self._most_seconds))
        texts = list(_texts(programs))
        key = partial(key_of, tenant=tenant, limits=limits, level=level)
        outcomes: dict[str, Outcome] = {}
        missing: dict[str, Program] = {}
        for text, program in zip(texts, programs, strict=True):
            known = self._known.get(key(text, versions=self._versions))
            if known is None:
                missing[text] = program
            else:
                outcomes[text] = known
        rest = list(missing.items())
        for start in range(0, len(rest), PROGRAMS_PER_JOB):
            async for text, outcome, size in self._run(rest[start : start + PROGRAMS_PER_JOB], tenant, level, limits):
                outcomes[text] = outcome
                if size is not None:
                    self._known.put(key(text, versions=self._versions), outcome, size=size)
        return [outcomes[text] for text in texts]

    async def aclose(self) -> None:
        """End all workers, and whatever they run. Nothing can be run afterwards."""
        self._open = False
        for place in self._places:
            if place.worker is not None:
                await place.worker.aclose()
                place.worker = None

    async def _run(
        self, programs: list[_Named], tenant: str, level: Level, limits: Limits
    ) -> AsyncIterator[tuple[str, Outcome, int | None]]:
        """Each program's outcome: together at first, then those that were not finished one by one.

        With it the bytes that it was read from, when nobody else can have written them.
        """
        if len(programs) == 1:
            text, program = programs[0]
            answer, found = await self._read(programs, tenant, level, limits)
            if answer is None:
                answer, found = await self._read(programs, tenant, level, limits)
            if answer is None:
                yield text, Outcome((LOST,) * len(program.inputs), level), None
            else:
                yield text, found[0][0], len(answer.body)
            return
        _, found = await self._read(programs, tenant, level, limits)
        finished = [outcome for outcome, whole in found if whole]
        for (text, _), outcome in zip(programs, finished, strict=False):
            yield text, outcome, None
        for one in programs[len(finished) :]:
            async for alone in self._run([one], tenant, level, limits):
                yield alone

    async def _read(
        self, named: list[_Named], tenant: str, level: Level, limits: Limits
    ) -> tuple[Answer | None, list[tuple[Outcome, bool]]]:
        """What a child wrote about these programs, and what is read from it; None when its worker was lost."""
        programs = [program for _, program in named]
        job = Job(
            f"[{','.join(text for text, _ in named)}]".encode(),
            len(programs),
            max(len(program.inputs) for program in programs),
            limits,
        )
        async with self._turns.place(tenant) as place:
            worker = await self._worker(place, level)
            answer = await worker.do(job)
        if answer is None:
            return None, []
        if len(answer.body) <= LONG_BYTES:
            return answer, read(programs, answer, level, limits)
        return answer, await anyio.to_thread.run_sync(read, programs, answer, level, limits)

    async def _worker(self, place: _Place, level: Level) -> Worker:
        """The worker of a place; a new one when there is none, or it is dead or has done its share."""
        if not self._open:
            raise SandboxUnavailable("sandbox: it is closed; expected to be used within `open_sandbox`")
        old = place.worker
        if old is not None and old.alive and old.jobs < self._jobs_per_worker:
            return old
        if old is not None:
            await old.aclose()
        place.worker = None
        place.worker = await Worker.start(level)
        self._versions = place.worker.greeting.versions
        return place.worker


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _texts(programs: Sequence[Program]) -> Iterator[str]:
    """The JSON of each program. Candidates of a problem mostly have the same inputs, which are then written once."""
    inputs: dict[int, str] = {}
    for program in programs:
        values: tuple[JsonValue, ...] = program.inputs
        if id(values) not in inputs:
            inputs[id(values)] = json.dumps(values)
        yield f"[{json.dumps(program.source)},{json.dumps(program.entry)},{inputs[id(values)]}]"
