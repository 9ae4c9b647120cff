"""Erases everything that is in a vault, and the vault itself when that is wanted; a receipt counts what was removed.

A vault that is deleted is out of sight in the first transaction, with its name, grants, snapshots and branches; then its
memories are purged one by one, as in memory/erase.py. Up to `AT_ONCE` of them are that same transaction, more are a job,
each batch of which is kept, so that it goes on where it stopped. Stubs without text stay, as after every purge: links of
other vaults lead to them. Source: memos §5 (erasure); ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

import anyio
from pydantic import JsonValue
from sqlalchemy import func, select, update

from memory import access, audit, erase, jobs, rows, store
from memory.access import Access
from memory.core import Core
from memory.indices import lexical
from memory.jobs import JobRun
from memory.tables import (
    AuditRow,
    GrantRow,
    LiftRow,
    MemoryRow,
    OutcomeMeanRow,
    ReviewRow,
    SnapshotRow,
    SubscriptionRow,
    VaultRow,
)
from memory.tx import Tx
from memory.types import Actor
from memory.vault import vault_lock
from runtime.errors import Conflict, Stale
from runtime.ids import new_id

KIND: Final = "vault.empty"
AT_ONCE: Final = 100
BATCH: Final = 25
TOLD: Final = 1000


@dataclass(frozen=True, slots=True)
class Emptied:
    """What was erased. With `job_id` the memories are still to be erased, and the job's result says the rest.

    `removed` counts rows by what they were; `stale` are memories elsewhere that were made from erased ones, `runs` read
    them and may quote them (at most `TOLD` of each). `pending` is still to be done: the vectors go with the outbox.
    """

    vault_id: str
    at: datetime
    deleted: bool
    memories: int = 0
    removed: Mapping[str, int] | None = None
    stale: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Purged memories, and the files that are unlinked after the commit."""

    count: int
    removed: Mapping[str, int]
    stale: tuple[str, ...]
    runs: tuple[str, ...]
    files: tuple[str, ...]


async def empty(core: Core, actor: Actor, vault: str, *, expect: int, delete: bool, at_once: int = AT_ONCE) -> Emptied:
    """Erase what is in the vault; with `delete` the vault goes too. Only its owner may.

    Raises `Stale` when `expect` is not its version, `Conflict` for deleting `default`, or while something else changes all
    of it.
    """
    job_id = new_id("job")

    def work(tx: Tx) -> tuple[Emptied, tuple[str, ...]]:
        allowed = access.vault(tx, vault, "read", alone=True)
        access.need_owner(allowed, "delete", "delete or empty it")
        vault_id = allowed.vault.id
        if allowed.vault.version != expect:
            raise stale(allowed, expect)
        if delete and allowed.vault.name == access.DEFAULT:
            raise Conflict("vault 'default': is there for every user; it can be emptied but not deleted", param="vault")
        vault_lock.refuse_held(tx, vault_id)
        removed = _strip(tx, allowed, delete=delete)
        total = tx.connection.execute(select(func.count()).where(*_left(vault_id))).scalar_one()
        if total > at_once:
            vault_lock.take(tx, vault_id, job_id)
            jobs.enqueue(tx, job_id, KIND, {"vault_id": vault_id, "delete": delete}, total=total)
            _audited(tx, allowed, {"job": job_id, "deleted": delete, "removed": removed})
            return Emptied(vault_id, tx.now, delete, removed=removed, job_id=job_id), ()
        vault_lock.release(tx, vault_id)
        batch = _purge(tx, vault_id, at_once)
        lexical.scrub(tx.connection)
        removed = dict(Counter(removed) + Counter(batch.removed))
        _audited(tx, allowed, {"deleted": delete, "memories": batch.count, "removed": removed})
        told = Emptied(vault_id, tx.now, delete, batch.count, removed, batch.stale[:TOLD], batch.runs[:TOLD])
        return told, batch.files

    told, files = await core.write(actor, work)
    await _unlink(files)
    return told if told.job_id else replace(told, pending=await _scrubbed(core))


async def finish(run: JobRun) -> Mapping[str, JsonValue]:
    """The job: purge what is left, batch by batch, then overwrite what the full text still holds of it and unlock."""
    vault_id, deleted = str(run.job.args["vault_id"]), bool(run.job.args["delete"])
    done, total = run.job.done, run.job.total or 0
    stale: dict[str, None] = {}
    runs: dict[str, None] = {}

    def batch(tx: Tx) -> _Batch:
        vault_lock.need_held(tx, vault_id, run.job.id)
        purged = _purge(tx, vault_id, BATCH)
        detail = {"job": run.job.id, "memories": purged.count, "removed": dict(purged.removed)}
        audit.record(tx, "purge", "vault", vault_id, chain=vault_id, rule="job", detail=detail)
        return purged

    while True:
        purged = await run.commit(batch, done=min(done + BATCH, total))
        if not purged.count:
            break
        done += purged.count
        await _unlink(purged.files)
        stale |= dict.fromkeys(purged.stale)
        runs |= dict.fromkeys(purged.runs)

    def end(tx: Tx) -> Emptied:
        vault_lock.need_held(tx, vault_id, run.job.id)
        vault_lock.release(tx, vault_id)
        lexical.scrub(tx.connection)
        removed, memories = _told(tx, vault_id, run.job)
        return Emptied(vault_id, tx.now, deleted, memories, removed, tuple(stale)[:TOLD], tuple(runs)[:TOLD])

    told = await run.commit(end, done=total)
    return body(replace(told, pending=await _scrubbed(run.core)))


def body(told: Emptied) -> dict[str, JsonValue]:
    """The receipt as JSON."""
    lists: dict[str, JsonValue] = {name: list(getattr(told, name)) for name in ("stale", "runs", "pending")}
    return {**asdict(told), **lists, "at": told.at.isoformat()}


def stale(allowed: Access, expect: int) -> Stale:
    """The error for a change of a version of the vault that is not the current one."""
    vault = allowed.vault
    return Stale(
        f"vault {vault.name!r} is at version {vault.version}, you expected {expect}; read it and try again",
        expected=expect,
        current=vault.version,
    )


def _strip(tx: Tx, allowed: Access, *, delete: bool) -> dict[str, int]:
    """Take away what is not a memory, and the vault out of sight when it goes."""
    vault_id = allowed.vault.id
    gone: list[tuple[str, Any]] = [("snapshots", SnapshotRow), ("reviews", ReviewRow)]
    gone += [("outcome_means", OutcomeMeanRow), ("lifts", LiftRow)]
    if delete:
        gone += [("grants", GrantRow), ("subscriptions", SubscriptionRow)]
    removed = {}
    for name, table in gone:
        # Items of snapshots and edits of branches go with the snapshot.
        removed[name] = tx.connection.execute(table.__table__.delete().where(table.vault_id == vault_id)).rowcount
    values: dict[str, Any] = {"version": VaultRow.version + 1}
    if delete:
        # The name is free for another vault, and says nothing about this one any more.
        values |= {"deleted_at": tx.now, "name": vault_id, "default_sensitivity": [], "ranking": None}
    tx.connection.execute(update(VaultRow).where(VaultRow.id == vault_id).values(**values))
    return removed


def _left(vault_id: str) -> tuple[Any, ...]:
    return MemoryRow.vault_id == vault_id, MemoryRow.digest_key.is_not(None)


def _purge(tx: Tx, vault_id: str, limit: int) -> _Batch:
    query = select(MemoryRow.id).where(*_left(vault_id)).order_by(MemoryRow.seq).limit(limit).with_for_update()
    found = rows.cubes(tx, tx.connection.execute(query).scalars().all())
    receipts = []
    for cube in sorted(found.values(), key=lambda cube: cube.seq):
        gone = cube
        if cube.state not in {"deleted", "expired"}:
            gone = store.move(tx, cube, "delete", reason="the vault was emptied")
        receipts.append(erase.erase(tx, gone, scrub=False))
    removed: Counter[str] = Counter()
    for receipt in receipts:
        removed.update(receipt.removed)
    ids = set(found)
    elsewhere = dict.fromkeys(id_ for receipt in receipts for id_ in receipt.stale if id_ not in ids)
    return _Batch(
        len(receipts),
        dict(removed),
        _outside(tx, vault_id, list(elsewhere)),
        tuple(dict.fromkeys(run for receipt in receipts for run in receipt.runs)),
        tuple(file for receipt in receipts for file in receipt.files),
    )


def _outside(tx: Tx, vault_id: str, ids: Sequence[str]) -> tuple[str, ...]:
    query = select(MemoryRow.id).where(MemoryRow.id.in_(ids), MemoryRow.vault_id != vault_id).order_by(MemoryRow.id)
    return tuple(tx.connection.execute(query).scalars()) if ids else ()


async def _scrubbed(core: Core) -> tuple[str, ...]:
    """Have the pages overwritten that held the texts; what is still to be done then."""
    return ("index",) if await core.db.scrub() else ("index", "database pages")


async def _unlink(files: Sequence[str]) -> None:
    for location in files:
        await anyio.Path(location).unlink(missing_ok=True)


def _told(tx: Tx, vault_id: str, job: jobs.Job) -> tuple[dict[str, int], int]:
    """The counts of all batches of the job, also of those before a restart, with those of its beginning."""
    query = select(AuditRow.detail).where(AuditRow.chain == vault_id, AuditRow.at >= job.created_at)
    lines = [detail for detail in tx.connection.execute(query).scalars() if detail.get("job") == job.id]
    removed: Counter[str] = Counter()
    for line in lines:
        removed.update(cast(dict[str, int], line["removed"]))
    return dict(removed), sum(int(line.get("memories", 0)) for line in lines)


def _audited(tx: Tx, allowed: Access, detail: Mapping[str, object]) -> None:
    vault_id = allowed.vault.id
    audit.record(tx, "empty", "vault", vault_id, chain=vault_id, rule=allowed.rule, detail=detail)
