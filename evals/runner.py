"""Runs an evaluation: samples in, one record for each attempt out, a summary at the end.

    prepared = await prepare(plan, loader)                  # evals/preparing.py: data and samples
    folder = await begin(prepared, service, owner)          # the guards have looked, the header is on disk
    with LogWriter(folder) as log:
        await Evaluation(bench, prepared, log).run()        # each slot once; what is recorded is not asked again

Agents run through the service, as every other run does. Slots are asked side by side, at most `jobs` at a time; where memory
is written during the run, the batches of a stream come one after the other. Ended by a signal or a crash, the evaluation is
resumed with the same log and goes on at the first missing record. Source: evaluation sheet §3.6-§3.9; style sheet §4 (3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from pydantic import JsonValue

from agents.service import Service
from agents.verifiers.math import MathVerifier, MathWorker
from evals import log as logs
from evals.asking import Desk, NotAsked
from evals.continual import GrowingStore, clear
from evals.loading import Loader
from evals.log import Log, LogWriter
from evals.plan import Plan, Slot, Stream, batches
from evals.preparing import Origin, Prepared, again, begin, prepare
from evals.stores import EmptyStores, NoStore, PreparedStore, Shelf, Store
from evals.summary import summarise
from evals.voting import with_calls
from memory.types import Actor
from runtime.errors import InvalidInput, MnemeError

JOBS: Final = 4
# So many runs that broke, without a good one between them: the model server is gone, and asking on only costs time.
MAX_BROKEN: Final = 10

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


class Incomplete(MnemeError):
    """Some runs broke for a reason outside the agent; the evaluation can be resumed."""

    code = "evaluation_incomplete"


@dataclass(frozen=True, slots=True)
class Bench:
    """What evaluations are run with: the service, whose they are, how many runs at a time, and who hears of it. `say` gets
    lines for a person, `progress` how many attempts are done, and of how many."""

    service: Service
    owner: str
    jobs: int = JOBS
    say: Say = lambda _: None
    progress: Progress = lambda done, total: None

    async def run(self, plan: Plan, loader: Loader, origin: Origin = Origin()) -> Log:  # noqa: B008 - frozen
        """A new evaluation, from its beginning to its end. Raises as `open` and `resume` do."""
        return await self.resume(await self.open(plan, loader, origin), loader)

    async def open(self, plan: Plan, loader: Loader, origin: Origin = Origin()) -> Log:  # noqa: B008 - frozen
        """A new evaluation that has asked nothing yet. Raises as `prepare` and `begin` do."""
        prepared = await prepare(plan, loader)
        folder = await begin(prepared, self.service, self.owner, origin)
        self.say(f"evaluation {folder.name}: {prepared.expected} attempts")
        return Log(folder)

    async def resume(self, log: Log, loader: Loader) -> Log:
        """Go on with one at the first missing record, to its end. Raises `InvalidInput` when its data has changed since, and
        as `Evaluation.run` does."""
        prepared = await prepare((await anyio.to_thread.run_sync(log.header)).plan, loader)
        await again(log, prepared)
        with LogWriter(log.folder) as writer:
            await Evaluation(self, prepared, writer).run()
        return log


class Evaluation:
    """One execution of an evaluation."""

    def __init__(self, bench: Bench, prepared: Prepared, log: LogWriter) -> None:
        if bench.jobs < 1:
            raise InvalidInput(f"jobs {bench.jobs!r}: expected 1 or more", param="jobs")
        service = bench.service
        self._bench = bench
        self._prepared = prepared
        self._log = log
        self._shelf = Shelf(service.memory, service.store, Actor(bench.owner), log.id, prepared.plan, prepared.asked)
        self._records = {record.key: record for record in log.records()}
        self._expected = prepared.expected
        self._limiter = anyio.CapacityLimiter(bench.jobs)
        self._writing = anyio.Lock()
        self._broken: list[str] = []
        self._in_a_row = 0
        self._calls = _calls_of(service.settings.home, prepared.plan)

    async def run(self) -> None:
        """Ask every slot that has no record, and write the summary, whatever stops it.

        Raises `Incomplete` when runs broke for a reason outside the agent, `LeakFound` when a frozen store turned out to
        hold what was learned on test items.
        """
        worker = MathWorker()
        desk = Desk(
            self._bench.service,
            self._bench.owner,
            self._prepared.plan,
            self._prepared.suite,
            MathVerifier(worker),
            self._prepared.digests,
        )
        self._bench.progress(len(self._records), self._expected)
        try:
            await (self._grow(desk) if self._prepared.plan.memory == "continual" else self._ask_all(desk))
        finally:
            with anyio.CancelScope(shield=True):
                await worker.aclose()
                await self._sum_up()
        if len(self._records) < self._expected:
            why = self._broken[-1] if self._broken else "not asked"
            raise Incomplete(
                f"{self._expected - len(self._records)} of {self._expected} attempts have no record ({why}); resume with "
                f"`mneme eval run --resume {self._log.id}`"
            )

    # -- no store, or one that does not change -------------------------------------------------------------------------

    async def _ask_all(self, desk: Desk) -> None:
        store = self._store()
        await store.open()
        try:
            await self._side_by_side(desk, store, [slot for stream in self._prepared.streams for slot in stream.slots])
        except ExceptionGroup as group:
            raise _first(group) from group
        if len(self._records) == self._expected:
            await store.close()

    def _store(self) -> Store:
        match self._prepared.plan.memory:
            case "cold":
                return EmptyStores(self._shelf)
            case "warm":
                return PreparedStore(self._shelf)
            case _:
                return NoStore()

    # -- a store that grows --------------------------------------------------------------------------------------------

    async def _grow(self, desk: Desk) -> None:
        try:
            async with anyio.create_task_group() as group:
                for stream in self._prepared.streams:
                    group.start_soon(self._stream, desk, stream)
        except ExceptionGroup as group_error:
            raise _first(group_error) from group_error
        if len(self._records) == self._expected:
            await clear(self._shelf)

    async def _stream(self, desk: Desk, stream: Stream) -> None:
        store = GrowingStore(self._shelf, stream, self._log)
        await store.open()
        for batch in batches(self._prepared.plan, stream):
            if all(store.is_settled(slot) for slot in batch):
                continue
            await self._side_by_side(desk, store, batch)
            if not all(slot.key in self._records for slot in batch):
                # The next batch would read a store that lacks what this one learns.
                return
            await store.settle([(slot, self._records[slot.key]) for slot in batch])
        self._bench.say(f"the memories of stream {stream.name} are in the vault {store.name!r}")

    # -- asking --------------------------------------------------------------------------------------------------------

    async def _side_by_side(self, desk: Desk, store: Store | GrowingStore, slots: Sequence[Slot]) -> None:
        async with anyio.create_task_group() as group:
            for slot in slots:
                if slot.key not in self._records:
                    # Waiting here keeps the order in which slots begin, and makes no task before its turn.
                    await self._limiter.acquire_on_behalf_of(slot.key)
                    if self._in_a_row >= MAX_BROKEN:
                        self._limiter.release_on_behalf_of(slot.key)
                        break
                    group.start_soon(self._ask, desk, store, slot)

    async def _ask(self, desk: Desk, store: Store | GrowingStore, slot: Slot) -> None:
        try:
            reading = await store.reading(slot)
            record = await desk.ask(slot, reading, self._config(slot))
            if not isinstance(store, GrowingStore):
                await store.read(slot, record.memory_ids)
        except NotAsked as error:
            self._in_a_row += 1
            self._broken.append(error.message)
            self._bench.say(error.message)
            return
        finally:
            self._limiter.release_on_behalf_of(slot.key)
        self._in_a_row = 0
        async with self._writing:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._log.add, record)
            self._records[slot.key] = record
        self._bench.progress(len(self._records), self._expected)

    def _config(self, slot: Slot) -> dict[str, JsonValue]:
        config = dict(self._prepared.plan.config)
        if self._calls is not None:
            config |= with_calls(self._prepared.plan.agent, self._calls.get(slot.sample.id, 1))
        return config

    async def _sum_up(self) -> None:
        records = list(self._records.values())
        header = await anyio.to_thread.run_sync(self._log.header)
        summary = await anyio.to_thread.run_sync(summarise, header, records)
        await anyio.to_thread.run_sync(self._log.write_summary, summary)


def _calls_of(home: Path, plan: Plan) -> dict[str, int] | None:
    """How many calls each item gets, when that is as many as in another evaluation."""
    if plan.equal_calls_to is None:
        return None
    calls: dict[str, list[int]] = {}
    for record in logs.find(home, plan.equal_calls_to).records():
        calls.setdefault(record.item_id, []).append(record.usage.calls)
    return {item: max(1, round(sum(each) / len(each))) for item, each in calls.items()}


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The first error of ours in a group, or else the first of all."""
    flat: list[Exception] = []
    ahead: list[Exception] = [group]
    while ahead:
        error = ahead.pop(0)
        if isinstance(error, ExceptionGroup):
            ahead = [*error.exceptions, *ahead]
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, MnemeError)), flat[0])
