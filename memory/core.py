"""What every part of the store is made from: the database, the clock, the settings, and how a transaction is run.

A refusal is audited here, in a transaction of its own, because the one in which it was found is rolled back.
Source: memos §3.10; ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from memory import audit
from memory.access import DEFAULT, Denial, Hidden, Refused
from memory.tables import VaultRow
from memory.tx import Tx
from memory.types import Actor
from runtime.db import Database
from runtime.ids import Clock, new_id
from runtime.settings import Settings

T = TypeVar("T")


class Core:
    """Shared by the services of the store; holds no facts of its own."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        self.db = db
        self.clock = clock
        self.settings = settings
        self._listeners: list[Callable[[], None]] = []
        self._has_default: set[str] = set()

    async def read(self, actor: Actor, work: Callable[[Tx], T]) -> T:
        """Run queries as the actor. Raises what `work` raises; a refusal is written to the audit first."""
        now = self.clock.now()
        try:
            return await self.db.read(lambda connection: work(Tx(connection, now, actor)))
        except (Hidden, Refused) as refusal:
            await self._audit(actor, refusal.denial)
            raise

    async def write(self, actor: Actor, work: Callable[[Tx], T]) -> T:
        """Run one transaction as the actor, then wake whoever applies index operations. Raises as `read` does.

        `work` may be called twice, so ids are made outside of it.
        """
        now = self.clock.now()
        try:
            result = await self.db.write(lambda connection: work(Tx(connection, now, actor)))
        except (Hidden, Refused) as refusal:
            await self._audit(actor, refusal.denial)
            raise
        self.committed()
        return result

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every write of this process."""
        self._listeners.append(listener)

    def committed(self) -> None:
        """Something was written."""
        for listener in self._listeners:
            listener()

    async def default_vault(self, actor: Actor) -> None:
        """See to it that the actor's vault `default` exists; two at once make one."""
        if actor.user_id in self._has_default:
            return
        vault_id = new_id("vlt")
        now = self.clock.now()

        def work(connection: Connection) -> None:
            make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            connection.execute(
                make(VaultRow)
                .values(
                    id=vault_id,
                    owner_id=actor.user_id,
                    name=DEFAULT,
                    kind="private",
                    default_sensitivity=[],
                    version=1,
                    created_at=now,
                )
                .on_conflict_do_nothing(index_elements=["owner_id", "name"])
            )

        mine = (VaultRow.owner_id == actor.user_id, VaultRow.name == DEFAULT)
        if not await self.db.read(lambda connection: connection.execute(select(VaultRow.id).where(*mine)).all()):
            await self.db.write(work)
        self._has_default.add(actor.user_id)

    async def _audit(self, actor: Actor, denial: Denial) -> None:
        now = self.clock.now()

        def work(connection: Connection) -> None:
            audit.record(
                Tx(connection, now, actor),
                denial.verb,
                denial.object_type,
                denial.object_id,
                chain=denial.chain,
                decision="deny",
                rule=denial.rule,
            )

        await self.db.write(work)
