"""Looks after the indexes of one process: carries the outbox, follows other processes, takes new shards into use.

Every two seconds: another process may have moved the active profile; the owner of the embedded index may have gone; a
shard may have been built aside. Searches go on meanwhile: a space is replaced by one assignment, and what it replaces
is closed a moment later. Source: memos §3.13; design storage §1, §6; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

import anyio
from anyio.abc import TaskGroup

from memory import profiles
from memory.core import Core
from memory.profiles import StoredProfile
from memory.reembed import follow, tidy
from memory.spaces import Space, Spaces
from memory.upkeep import reconcile
from memory.upkeep.filling import fill
from memory.upkeep.outbox import Relay, wait_for
from memory.upkeep.placing import Placing, open_shard
from memory.upkeep.reconcile import Report
from memory.upkeep.reindexing import Progress, build
from runtime.errors import ModelError, SettingsError, StorageError
from runtime.ids import new_id
from runtime.telemetry import get_logger

EVERY_S: Final = 2.0
TIDY_EVERY_S: Final = 86_400.0
# Longer than a search that has begun.
CLOSE_AFTER_S: Final = 2.0
TAKEN_INTO_USE_S: Final = 120.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What a rebuild made: the points of the new indexes, and how long it took."""

    points: int
    seconds: float


class Keeper:
    """One per process. `resident`: the process stays, so it also reconciles every hour and tidies every day."""

    def __init__(self, core: Core, spaces: Spaces, placing: Placing, *, resident: bool) -> None:
        self._core = core
        self._spaces = spaces
        self._placing = placing
        self._resident = resident
        self._taking = anyio.Lock()
        self._relay = Relay(
            core,
            spaces,
            name=new_id("rly"),
            alone=placing.alone,
            follow=lambda: follow(core, spaces, placing.open_space),
        )

    async def run(self) -> None:
        """Look after them until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._placing.carries:
                self._carry(tasks)
            while True:
                await anyio.sleep(EVERY_S)
                try:
                    await self._round(tasks)
                except (StorageError, ModelError, SettingsError) as error:
                    log.warning("index.not_kept", code=error.code, error=error.message)

    async def wait_for(self, ids: Sequence[str]) -> bool:
        """Whether the indexes have all of these memories as they are; False when that takes too long."""
        return await wait_for(self._core, ids)

    @property
    def sees_index(self) -> bool:
        """Whether this process can compare the points of the index."""
        return self._placing.carries

    async def verify(self, *, repair: bool) -> Report:
        """Compare everything with the memories; see memory/upkeep/reconcile.py."""
        return await reconcile.verify(self._core, self._spaces, repair=repair, owned=self._placing.carries)

    async def reindex(self, progress: Progress | None = None) -> Reindexed:
        """Build every embedded index anew, with its graph of neighbours, in a process of its own, and use it.

        Searches go on. The process that has the index open takes the new one into use; that need not be this one.
        Raises `StorageError`.
        """
        begun, points = monotonic(), 0
        for profile in await self._core.db.read(profiles.written):
            shards = self._placing.shards(profile)
            if shards is None:
                points += await self._refill(profile)
                continue
            generation = shards.fresh()
            points += await build(self._core.settings, profile, generation, progress)
            shards.offer(generation)
            if self._placing.owns:
                await self._take_into_use(profile)
            else:
                await self._wait_until_taken(profile)
        return Reindexed(points, monotonic() - begun)

    def _carry(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._relay.run)
        if self._resident:
            tasks.start_soon(reconcile.keep_reconciled, self._core, self._spaces)
            tasks.start_soon(self._keep_tidy)

    async def _round(self, tasks: TaskGroup) -> None:
        await follow(self._core, self._spaces, self._placing.open_space)
        if self._placing.step_in():
            log.info("index.taken_over")
            await self._reopen()
            self._carry(tasks)
        if self._placing.owns:
            for profile in await self._core.db.read(profiles.written):
                shards = self._placing.shards(profile)
                if shards is not None and shards.offered() is not None:
                    await self._take_into_use(profile)

    async def _keep_tidy(self) -> None:
        """Once a day: profiles that have drained are retired, and their indexes removed."""
        while True:
            try:
                for profile in await tidy(self._core, self._spaces, self._placing.open_space):
                    await self._placing.remove(profile)
            except (StorageError, ModelError, SettingsError) as error:
                log.warning("index.not_tidied", code=error.code, error=error.message)
            await anyio.sleep(TIDY_EVERY_S)

    async def _reopen(self) -> None:
        """Open the embedded indexes in place of the copies in memory."""
        copies = self._spaces.written
        for profile in await self._core.db.read(profiles.written):
            space = await self._placing.open_space(profile)
            await fill(self._core, space)
            await self._replace(space)
        for copy in copies:
            await self._close(copy)

    async def _take_into_use(self, profile: StoredProfile) -> None:
        # The round may see the shard that `reindex` has just offered.
        async with self._taking:
            await self._take(profile)

    async def _take(self, profile: StoredProfile) -> None:
        shards = self._placing.shards(profile)
        generation = None if shards is None else shards.offered()
        old = next((space for space in self._spaces.written if space.id == profile.id), None)
        if shards is None or generation is None or old is None:
            return
        space = replace(old, index=await open_shard(generation, profile))
        # What was written since it was built; what comes after this is written by the relay, which is held meanwhile.
        async with self._relay.held():
            await fill(self._core, space)
            await self._replace(space)
        await self._close(old)
        shards.accept(generation)
        log.info("index.replaced", profile=profile.slug)

    async def _replace(self, space: Space) -> None:
        async with self._spaces.changing:
            after = [space if each.id == space.id else each for each in self._spaces.written]
            self._spaces.switch(after[0], after[1:])

    async def _close(self, old: Space) -> None:
        await anyio.sleep(CLOSE_AFTER_S)
        await old.index.aclose()

    async def _refill(self, profile: StoredProfile) -> int:
        space = next((each for each in self._spaces.written if each.id == profile.id), None)
        if space is None:
            return 0
        await fill(self._core, space)
        return await space.index.count()

    async def _wait_until_taken(self, profile: StoredProfile) -> None:
        shards = self._placing.shards(profile)
        with anyio.move_on_after(TAKEN_INTO_USE_S):
            while shards is not None and shards.offered() is not None:  # noqa: ASYNC110 - a file of another process
                await anyio.sleep(0.2)
            return
        raise StorageError(
            f"index {profile.slug!r}: it is built, but the process that has the index open did not take it into use within "
            f"{TAKEN_INTO_USE_S:g} s; it does when it comes back"
        )
