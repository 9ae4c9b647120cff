"""Who is alive: every process that executes runs writes a heartbeat, and the others see when it stops.

A process of this machine whose pid is gone is dead at once; any other after `dead_after_s` of silence. A process that
was only paused and comes back finds its runs taken over: the epoch of the run refuses its writes. Source: ours (DBOS's
open part recovers only what its own executor left behind).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psutil
from sqlalchemy import Connection, delete, insert, select, update

from runtime.db import Database
from runtime.ids import Clock, new_id
from runtime.tables import Executor

FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Self:
    """What this process says of itself. `version` is the release."""

    id: str
    host: str
    pid: int
    version: str


def identify(version: str) -> Self:
    """Name this process: a new id at every start, and a host name that two containers do not share."""
    return Self(new_id("exe"), _host(), psutil.Process().pid, version)


class Executors:
    """The table of heartbeats."""

    def __init__(self, db: Database, clock: Clock, me: Self, *, dead_after_s: float) -> None:
        self._db = db
        self._clock = clock
        self._me = me
        self._dead_after = timedelta(seconds=dead_after_s)

    @property
    def id(self) -> str:
        return self._me.id

    async def register(self) -> None:
        """Announce this process."""
        now = self._clock.now()
        await self._db.write(
            lambda connection: connection.execute(
                insert(Executor).values(
                    id=self._me.id,
                    host=self._me.host,
                    pid=self._me.pid,
                    version=self._me.version,
                    started_at=now,
                    heartbeat_at=now,
                )
            )
        )

    async def beat(self) -> None:
        """Say that this process is alive; announces it again when another took it for dead and forgot it."""
        now = self._clock.now()

        def work(connection: Connection) -> bool:
            connection.execute(delete(Executor).where(Executor.heartbeat_at < now - FORGET_AFTER))
            done = connection.execute(update(Executor).where(Executor.id == self._me.id).values(heartbeat_at=now))
            return done.rowcount > 0

        if not await self._db.write(work):
            await self.register()

    async def leave(self) -> None:
        """Take this process off the list; what it was running may be picked up at once."""
        await self._db.write(lambda connection: connection.execute(delete(Executor).where(Executor.id == self._me.id)))

    async def alive(self) -> frozenset[str]:
        """The ids of the processes that may still be executing."""
        oldest = self._clock.now() - self._dead_after
        query = select(Executor.id, Executor.host, Executor.pid, Executor.started_at, Executor.heartbeat_at)
        rows = await self._db.read(lambda connection: connection.execute(query).all())
        return frozenset(
            row.id
            for row in rows
            if row.id == self._me.id
            or (row.heartbeat_at >= oldest and not (row.host == self._me.host and _gone(row.pid, row.started_at)))
        )


def _gone(pid: int, registered_at: datetime) -> bool:
    """True when the process of that pid has ended, also when its pid has been given to another one since."""
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.create_time() > registered_at.timestamp() + 1.0
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    # Containers may share a host name; a pid means something only inside its own pid namespace.
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.readlink() if namespace.is_symlink() else 'local'}"
