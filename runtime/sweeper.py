"""Keeps the promise that a run outlives its process: heartbeat, cancel requests, orphans.

Once per heartbeat: say that we live; stop the runs of ours that somebody cancelled through another process; and put
every run whose process is gone back into the queue. A run is an orphan when it is marked as running (or was interrupted
by a shutdown) and no live process has it in hand. Doing any of this twice, or in two processes at once, is harmless: a
claim takes the epoch it has seen, so of two workflows for one run the second finds nothing to do. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import anyio

from runtime.durable import DurableRuns
from runtime.errors import StorageError
from runtime.executors import Executors
from runtime.ids import new_id
from runtime.runs import RunStore
from runtime.telemetry import get_logger

LOST_IN_QUEUE_EVERY = 15

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hands:
    """What the sweeper must know of this process: the runs in hand, and how to stop one."""

    active: Callable[[], Collection[str]]
    stop: Callable[[str, str], None]


class Sweeper:
    """One per process; `run` goes on until it is cancelled. With `adopts` false it looks after its own runs only."""

    def __init__(
        self,
        store: RunStore,
        executors: Executors,
        durable: DurableRuns,
        hands: Hands,
        *,
        heartbeat_s: float,
        adopts: bool = True,
    ) -> None:
        self._store = store
        self._executors = executors
        self._durable = durable
        self._hands = hands
        self._heartbeat_s = heartbeat_s
        self._adopts = adopts
        self._suspects: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Sweep at every heartbeat. A database that refuses for a while is logged and tried again."""
        turn = 0
        while True:
            try:
                await self._executors.beat()
                await self.stop_cancelled()
                if self._adopts:
                    await self.requeue_orphans()
                    if turn % LOST_IN_QUEUE_EVERY == 0:
                        await self.requeue_lost()
            except StorageError as error:
                log.warning("sweep.failed", error=error.message)
            turn += 1
            await anyio.sleep(self._heartbeat_s)

    async def stop_cancelled(self) -> None:
        """Stop the runs in our hands that were cancelled, maybe by another process."""
        active = list(self._hands.active())
        if active:
            for run_id, reason in (await self._store.cancel_requested(active)).items():
                self._hands.stop(run_id, reason)

    async def requeue_orphans(self) -> None:
        """Queue every run that nobody has in hand."""
        alive = await self._executors.alive()
        mine = self._executors.id
        in_hand = await self._store.in_hand()
        # A run of ours that is claimed but not yet begun looks like a dropped one, so it must look so twice.
        dropped = {run.id for run in in_hand if run.executor == mine} - set(self._hands.active())
        orphans = [run for run in in_hand if run.executor not in alive or run.id in dropped & self._suspects]
        self._suspects = frozenset(dropped)
        if orphans:
            await self._recover_dead(alive)
        for run in orphans:
            if not await self._durable.waiting(run.id):
                log.info("run.orphan_requeued", run_id=run.id, executor=run.executor, attempt=run.attempt)
                await self._durable.enqueue(run.id, run.attempt + 1, mark=new_id("try"))

    async def _recover_dead(self, alive: Collection[str]) -> None:
        """Put back what dead processes had taken from the queue. Such a process may have died before it claimed the run, so
        the run does not name it."""
        dead = await self._durable.holders() - {*alive, self._executors.id}
        if dead:
            await self._durable.recover(sorted(dead))

    async def requeue_lost(self) -> None:
        """Queue every run that was accepted by a process that died before it could queue it."""
        await self._recover_dead(await self._executors.alive())
        for run in await self._store.queued():
            if not await self._durable.waiting(run.id):
                await self._durable.enqueue(run.id, run.attempt + 1, mark=new_id("try"))
