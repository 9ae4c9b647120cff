"""Counts how often memories are used, beside the request that used them.

Reads only note the ids; a background task adds them up in one statement a second. A process that dies loses the last
second of counts, and nothing else. Source: memos §2.2 (access counters), §3.2 step 6; ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import anyio
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from memory.core import Core
from memory.tables import MemoryUse
from runtime.errors import StorageError
from runtime.telemetry import get_logger

EVERY_S = 1.0

log = get_logger(__name__)


class Uses:
    """The uses that are not written yet."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._noted: Counter[str] = Counter()

    def note(self, ids: Iterable[str]) -> None:
        """Each of the memories was used once more."""
        self._noted.update(ids)

    async def flush(self) -> None:
        """Write what was noted. Raises `StorageError`; then it is kept for the next time."""
        noted, self._noted = self._noted, Counter()
        if not noted:
            return
        now = self._core.clock.now()

        def work(connection: Connection) -> None:
            make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            statement = make(MemoryUse)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["memory_id"],
                    set_={"uses": MemoryUse.uses + statement.excluded.uses, "last_used_at": now},
                ),
                [{"memory_id": id_, "uses": count, "last_used_at": now} for id_, count in sorted(noted.items())],
            )

        try:
            await self._core.db.write(work)
        except StorageError:
            self._noted.update(noted)
            raise

    async def run(self) -> None:
        """Flush every second until cancelled, and once more then."""
        try:
            while True:
                await anyio.sleep(EVERY_S)
                await self._try()
        finally:
            with anyio.CancelScope(shield=True):
                await self._try()

    async def _try(self) -> None:
        try:
            await self.flush()
        except StorageError as error:
            log.warning("memory.uses_not_written", error=error.message)
