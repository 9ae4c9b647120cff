"""Time passes: expired memories leave, cold ones are archived, what was deleted is purged at its date.

One process of all sweeps (`leads`); should two do it for a moment, the version of each memory keeps them apart. Nothing
that is correct depends on the sweep: every read compares the times itself. A batch is one transaction in which each
memory gets its new state, a version, its outbox entry and an audit line, all by the actor `system`. The time is that of
the database, so that several machines agree. Source: memos §3.6, §2.5, §5 (TTL; summaries of what is gone).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import anyio
from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.orm import aliased

from memory import audit, erase, reviews, rows, store
from memory.core import Core
from memory.lifecycle import COLD_BELOW, IDLE_AFTER, QUARANTINE_KEPT, CapacityClass, is_cold, over_capacity
from memory.measuring.retirement import propose
from memory.tables import EdgeRow, JobRow, MemoryRow, MemoryUse, VaultRow
from memory.tx import Tx
from memory.types import LIVE, MemCube
from memory.workers import SYSTEM
from runtime.errors import Conflict, StorageError
from runtime.ids import new_id
from runtime.telemetry import get_logger

T = TypeVar("T")
EVERY_S: Final = 60.0
DAILY: Final = timedelta(days=1)
BATCH: Final = 100
JOBS_KEPT: Final = timedelta(days=30)
GONE: Final = ("deleted", "expired")
# Key of a summary's `data`: a member was replaced since it was written.
STALE: Final = "stale"
MORTAL: Final = ("generated", "quarantined", "activated", "merged", "archived")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the daily sweep does. `capacity`: how many memories of a class a vault holds; the coldest beyond that are
    archived. Without an entry a class has no limit."""

    archive_cold: bool = True
    cold_below: float = COLD_BELOW
    idle_after: timedelta = IDLE_AFTER
    capacity: Mapping[CapacityClass, int] | None = None


@dataclass(frozen=True, slots=True)
class Purged:
    """Memories whose content is gone; `files` of artefacts are unlinked after the commit."""

    count: int
    files: tuple[str, ...]


class Sweep:
    """Does the rounds. `time` reads the moment of a transaction; `leads` says whether this process is to sweep."""

    def __init__(
        self,
        core: Core,
        *,
        leads: Callable[[], Awaitable[bool]],
        policy: Policy | None = None,
        time: Callable[[Connection], datetime] | None = None,
    ) -> None:
        self._core = core
        self._leads = leads
        self._policy = policy or Policy()
        self._time = time or database_time

    async def run(self) -> None:
        """Sweep each minute until cancelled, and do the daily part at the start and each day. A database that refuses, or an
        editor who was faster, is met again a minute later."""
        daily: datetime | None = None
        while True:
            try:
                if await self._leads():
                    now = self._core.clock.now()
                    await self.minutely()
                    if daily is None or now - daily >= DAILY:
                        await self.daily()
                        daily = now
            except (StorageError, Conflict) as error:
                log.warning("sweep.failed", code=error.code, error=error.message)
            await anyio.sleep(EVERY_S)

    async def minutely(self) -> dict[str, int]:
        """Expire, empty the quarantine, keep inbox and summaries true; how many of each. Raises `StorageError`, `Stale`."""
        return {
            "expired": await self._batches(expire_due),
            "rejected": await self._batches(reject_forgotten),
            "summaries": await self._batches(age_summaries),
            "asked": await self._ask(),
            "withdrawn": await self._write(reviews.withdraw_answered),
        }

    async def daily(self) -> dict[str, int]:
        """Archive, purge, forget old jobs, propose the retirement of what does harm; how many of each.

        Raises `StorageError`, `Stale`.
        """
        cold = await self._archive_cold() if self._policy.archive_cold else 0
        crowded = await self._batches(self._make_room) if self._policy.capacity else 0
        purged = 0
        while (done := await self._write(purge_due)).count:
            for location in done.files:
                await anyio.Path(location).unlink(missing_ok=True)
            purged += done.count
        return {
            "archived": cold,
            "crowded": crowded,
            "purged": purged,
            "jobs": await self._write(forget_jobs),
            "proposed": await propose(self._core),
        }

    async def _archive_cold(self) -> int:
        """Walk over the candidates by `seq`, because one that is still warm stays a candidate."""
        after, count = 0, 0
        while True:

            def work(tx: Tx, after: int = after) -> tuple[int, int]:
                return archive_cold(tx, after, self._policy)

            after, archived = await self._write(work)
            count += archived
            if not after:
                return count

    async def _ask(self) -> int:
        count = 0
        ids = [new_id("rev") for _ in range(BATCH)]

        def work(tx: Tx) -> int:
            found = store.many(tx, reviews.unasked(tx, BATCH))
            for review_id, cube in zip(ids, found.values(), strict=False):
                reviews.ask(tx, review_id, "quarantine", cube, "held back when it was stored; accept it or reject it")
            return len(found)

        while done := await self._write(work):
            count += done
            ids[:] = [new_id("rev") for _ in range(BATCH)]
        return count

    def _make_room(self, tx: Tx) -> int:
        return make_room(tx, self._policy.capacity or {})

    async def _batches(self, work: Callable[[Tx], int]) -> int:
        count = 0
        while done := await self._write(work):
            count += done
        return count

    async def _write(self, work: Callable[[Tx], T]) -> T:
        result = await self._core.db.write(lambda connection: work(Tx(connection, self._time(connection), SYSTEM)))
        self._core.committed()
        return result


def expire_due(tx: Tx) -> int:
    """Expire up to `BATCH` memories whose time is up; how many. A frozen one only when it is sensitive."""
    due = rows.SELECT.where(
        MemoryRow.expires_at <= tx.now,
        or_(MemoryRow.state.in_(MORTAL), (MemoryRow.state == "frozen") & (MemoryRow.sensitivity != [])),
    )
    return _move(tx, _cubes(tx, _unlocked(due).limit(BATCH)), "expire", "its lifetime is over")


def reject_forgotten(tx: Tx) -> int:
    """Delete up to `BATCH` memories that were in quarantine for 30 days; how many."""
    old = rows.SELECT.where(MemoryRow.state == "quarantined", MemoryRow.updated_at < tx.now - QUARANTINE_KEPT)
    return _move(tx, _cubes(tx, _unlocked(old).limit(BATCH)), "reject", "30 days in quarantine without a decision")


def archive_cold(tx: Tx, after: int, policy: Policy) -> tuple[int, int]:
    """Archive the cold ones of the next `BATCH` candidates behind the sequence number `after`.

    Returns where to go on (0: nowhere) and how many were archived.
    """
    since = tx.now - policy.idle_after
    query = (
        rows.SELECT.where(MemoryRow.seq > after, MemoryRow.state == "activated", MemoryRow.pinned.is_(False))
        .where(MemoryRow.updated_at < since, or_(MemoryUse.last_used_at.is_(None), MemoryUse.last_used_at < since))
        .order_by(MemoryRow.seq)
    )
    found = _cubes(tx, _unlocked(query).limit(BATCH))
    cold = [c for c in found if is_cold(c, tx.now, below=policy.cold_below, idle_after=policy.idle_after)]
    _move(tx, cold, "cool", "unused and cold")
    return (found[-1].seq if len(found) == BATCH else 0), len(cold)


def make_room(tx: Tx, capacity: Mapping[CapacityClass, int]) -> int:
    """Archive up to `BATCH` memories of the first vault that holds more than it may; how many."""
    crowded = (
        select(MemoryRow.vault_id)
        .where(MemoryRow.state.in_(("generated", "activated")))
        .group_by(MemoryRow.vault_id)
        .having(func.count() > min(capacity.values(), default=0))
        .order_by(MemoryRow.vault_id)
    )
    for vault_id in tx.connection.execute(crowded).scalars().all():
        query = rows.SELECT.where(MemoryRow.vault_id == vault_id, MemoryRow.state.in_(sorted(LIVE)))
        surplus = over_capacity(_cubes(tx, _unlocked(query)), capacity, tx.now)[:BATCH]
        if surplus:
            return _move(tx, surplus, "archive", "its class is full in this vault")
    return 0


def purge_due(tx: Tx) -> Purged:
    """Erase up to a tenth of `BATCH` memories whose purge date has passed."""
    due = rows.SELECT.where(MemoryRow.state.in_(("deleted", "expired")), MemoryRow.purge_after <= tx.now)
    files: list[str] = []
    found = _cubes(tx, _unlocked(due).limit(BATCH // 10))
    for cube in found:
        receipt = erase.erase(tx, cube)
        files += receipt.files
        _audit(tx, "purge", cube, dict(receipt.removed))
    return Purged(len(found), tuple(files))


def age_summaries(tx: Tx) -> int:
    """Mark summaries stale of which a member was replaced since, and put into quarantine those that still tell what was
    deleted; how many. Looks at up to `BATCH` members."""
    parent, member = aliased(MemoryRow), aliased(MemoryRow)
    query = (
        select(parent.id, member.state)
        .select_from(EdgeRow)
        .join(parent, parent.id == EdgeRow.src_id)
        .join(member, member.id == EdgeRow.dst_id)
        .where(EdgeRow.type == "PARENT", parent.semantic_type == "summary", parent.state == "activated")
        .where(or_(member.state.in_(GONE), member.superseded_at.is_not(None)), member.updated_at > parent.updated_at)
        .order_by(parent.seq)
        .limit(BATCH)
    )
    found = tx.connection.execute(query).all()
    untrue = {row.id for row in found if row.state in GONE}
    count = 0
    for cube in store.many(tx, sorted({row.id for row in found})).values():
        if cube.id in untrue:
            count += _move(tx, [cube], "quarantine", "a memory that it sums up was deleted")
        elif not cube.data.get(STALE):
            after = store.change(
                tx, cube, kind="edit", reason="a memory that it sums up was replaced", data={**cube.data, STALE: True}
            )
            _audit(tx, "edit", after, {"version": after.version, "fields": ["data"]})
            count += 1
    return count


def forget_jobs(tx: Tx) -> int:
    """Delete the rows of jobs that were done more than 30 days ago; how many."""
    old = (JobRow.state == "done", JobRow.finished_at < tx.now - JOBS_KEPT)
    return tx.connection.execute(delete(JobRow).where(*old)).rowcount


def database_time(connection: Connection) -> datetime:
    """The clock of the database: of the server, or of this machine for a file."""
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def _move(tx: Tx, cubes: Sequence[MemCube], event: str, reason: str) -> int:
    for cube in cubes:
        after = store.move(tx, cube, event, reason=reason)
        _audit(tx, event, after, {"version": after.version, "state": after.state})
    return len(cubes)


def _audit(tx: Tx, action: str, cube: MemCube, detail: dict[str, Any]) -> None:
    audit.record(tx, action, "memory", cube.id, chain=cube.vault_id, rule="sweep", detail=detail)


def _cubes(tx: Tx, query: Any) -> list[MemCube]:
    return [rows.cube(row, tx.now) for row in tx.connection.execute(query)]


def _unlocked(query: Any) -> Any:
    """Leave out vaults that a rollback has locked."""
    locked = select(VaultRow.id).where(VaultRow.id == MemoryRow.vault_id, VaultRow.locked_by.is_not(None))
    return query.where(~locked.exists())
