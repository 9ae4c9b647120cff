"""Takes a vault back to a snapshot, forwards: what differs is restored as a new version, what came later is archived.

History only grows, so a rollback can be rolled back. What was purged stays gone and is named in the report, as is what
would be over by now, because a lifetime is a promise about the text. Up to `AT_ONCE` rows are one transaction; beyond
that a job does it in batches, each with its place committed, while the vault is locked. Doing it again changes nothing:
a memory that says the same as in the snapshot gets no new version. Vectors of texts that come back are made by the relay.
Source: memos §3.5 (2), §7 (11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import func, or_, select, update

from memory import access, audit, jobs, rows, store, versions
from memory.core import Core
from memory.jobs import JobRun
from memory.lifecycle import lifetime_over
from memory.merging import hold
from memory.tables import MemoryRow, SnapshotItemRow, VersionRow
from memory.tx import Tx
from memory.types import LIVE, Actor, MemCube
from memory.vault import vault_lock
from memory.vault.bulk import change_all
from memory.vault.snapshots import DIFFERS, Snapshot, digest_now, get, is_newcomer, versions_of
from runtime.errors import Forbidden
from runtime.ids import new_id

KIND: Final = "vault.rollback"
AT_ONCE: Final = 5000
BATCH: Final = 250
GONE: Final = frozenset({"deleted", "expired"})
CLAIMED: Final = store.IDENTITY | {"state"}
# When a deleted memory is to be purged counts from the deletion that is in force.
RESTORED: Final = ("content", *(name for name in rows.HEADER if name not in ("kind", "origin", "purge_after")))


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a rollback did. With `job_id` it is still to be done, and the job's result says the rest.

    `purged` cannot come back; of `expired` the lifetime is over. `equal`: the digest of the snapshot holds again.
    """

    snapshot_id: str
    restored: int = 0
    archived: int = 0
    purged: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    equal: bool = False
    job_id: str | None = None


async def rollback(core: Core, actor: Actor, vault: str, snapshot_id: str, *, at_once: int = AT_ONCE) -> Rolled:
    """Take the vault back. Raises `Conflict` while another change of all of it goes on, `Forbidden`, `UnknownName`."""
    job_id = new_id("job")

    def work(tx: Tx) -> Rolled:
        allowed = access.vault(tx, vault, "write", alone=True, despite_lock=True)
        access.need_all(allowed, "write", "roll it back")
        vault_id = allowed.vault.id
        access.need_open(allowed)
        snapshot = get(tx, vault_id, snapshot_id)
        vault_lock.refuse_held(tx, vault_id)
        if allowed.rule != "owner":
            _refuse_frozen(tx, snapshot)
        differing = _differing(tx, snapshot)
        _free_texts(tx, snapshot, differing)
        if len(differing) + _newcomers(tx, snapshot) > at_once:
            vault_lock.take(tx, vault_id, job_id)
            jobs.enqueue(tx, job_id, KIND, {"vault_id": vault_id, "snapshot_id": snapshot_id})
            report = Rolled(snapshot_id, job_id=job_id)
        else:
            vault_lock.release(tx, vault_id)
            archived = _archive_newcomers(tx, snapshot, None)
            restored = _restore(tx, snapshot, differing)
            report = _report(tx, snapshot, restored, archived)
        _audited(tx, snapshot, allowed.rule, report)
        return report

    return await core.write(actor, work)


async def finish(run: JobRun) -> Mapping[str, JsonValue]:
    """The job: archive the newcomers, then visit the memories of the snapshot in their order, then unlock.

    Who may do this was decided when it was asked for; half of it would be nobody's wish.
    """
    vault_id, snapshot_id = str(run.job.args["vault_id"]), str(run.job.args["snapshot_id"])
    snapshot = await run.core.read(run.job.actor, lambda tx: get(tx, vault_id, snapshot_id))
    done, total = run.job.done, await run.core.read(run.job.actor, lambda tx: _size(tx, snapshot_id))

    def archive(tx: Tx) -> int:
        vault_lock.need_held(tx, vault_id, run.job.id)
        return _archive_newcomers(tx, snapshot, BATCH)

    while await run.commit(archive, done=done, total=total):
        pass
    while done < total:

        def visit(tx: Tx, place: int = done) -> None:
            vault_lock.need_held(tx, vault_id, run.job.id)
            page = select(SnapshotItemRow.memory_id).where(SnapshotItemRow.snapshot_id == snapshot_id)
            page = page.order_by(SnapshotItemRow.memory_id).offset(place).limit(BATCH)
            _restore(tx, snapshot, tx.connection.execute(page).scalars().all())

        done = min(done + BATCH, total)
        await run.commit(visit, done=done)

    def end(tx: Tx) -> Rolled:
        vault_lock.need_held(tx, vault_id, run.job.id)
        vault_lock.release(tx, vault_id)
        report = _report(tx, snapshot, *_made(tx, snapshot, run.job.created_at))
        _audited(tx, snapshot, "job", report)
        return report

    return body(await run.commit(end, done=total))


def body(report: Rolled) -> dict[str, JsonValue]:
    """The report as JSON."""
    return {**asdict(report), "purged": list(report.purged), "expired": list(report.expired)}


def _newcomers(tx: Tx, snapshot: Snapshot) -> int:
    query = select(func.count()).select_from(MemoryRow).where(*is_newcomer(snapshot))
    return int(tx.connection.execute(query).scalar_one())


def _size(tx: Tx, snapshot_id: str) -> int:
    query = select(func.count()).where(SnapshotItemRow.snapshot_id == snapshot_id)
    return int(tx.connection.execute(query).scalar_one())


def _differing(tx: Tx, snapshot: Snapshot) -> Sequence[str]:
    """The memories that have to be looked at. One whose text is not claimed was left so by a rollback that broke off."""
    unclaimed = MemoryRow.content_hash.is_(None) & MemoryRow.state.in_(sorted(LIVE))
    query = (
        select(SnapshotItemRow.memory_id)
        .join(MemoryRow, MemoryRow.id == SnapshotItemRow.memory_id)
        .where(SnapshotItemRow.snapshot_id == snapshot.id, MemoryRow.digest_key.is_not(None), or_(DIFFERS, unclaimed))
        .order_by(SnapshotItemRow.memory_id)
    )
    return tx.connection.execute(query).scalars().all()


def _refuse_frozen(tx: Tx, snapshot: Snapshot) -> None:
    changed = (
        select(SnapshotItemRow.memory_id)
        .join(MemoryRow, MemoryRow.id == SnapshotItemRow.memory_id)
        .where(SnapshotItemRow.snapshot_id == snapshot.id, DIFFERS, MemoryRow.state == "frozen")
    )
    new = select(MemoryRow.id).where(*is_newcomer(snapshot), MemoryRow.state == "frozen")
    if tx.connection.execute(changed.union(new).limit(1)).first() is not None:
        raise Forbidden(
            "the rollback would change frozen memories, which only the owner of the vault may; ask the owner"
        )


def _free_texts(tx: Tx, snapshot: Snapshot, ids: Sequence[str]) -> None:
    """Let go of the texts and places that will change: two memories may get each other's. Each claims its own again when
    it is restored."""
    for part in _parts(ids):
        freed = [cube.seq for cube, new in _plans(tx, snapshot, part) if new.keys() & CLAIMED]
        tx.connection.execute(update(MemoryRow).where(MemoryRow.seq.in_(freed)).values(content_hash=None))


def _archive_newcomers(tx: Tx, snapshot: Snapshot, limit: int | None) -> int:
    query = select(MemoryRow.id).where(*is_newcomer(snapshot)).order_by(MemoryRow.id).limit(limit).with_for_update()
    found = tx.connection.execute(query).scalars().all()
    for part in _parts(found):
        cubes = rows.cubes(tx, part).values()
        change_all(tx, [(cube, {"state": "archived"}) for cube in cubes], kind="state", reason=_reason(snapshot))
    return len(found)


def _restore(tx: Tx, snapshot: Snapshot, ids: Sequence[str]) -> int:
    """Make each of these memories what it was; how many were not."""
    count = 0
    for part in _parts(ids):
        hold(tx, part)
        plans = _plans(tx, snapshot, part)
        changed = [(cube, new) for cube, new in plans if new]
        for kind in ("restore", "state"):
            # A frozen memory takes no change of another kind.
            mine = [(cube, new) for cube, new in changed if (cube.state == "frozen") == (kind == "state")]
            change_all(tx, mine, kind=kind, reason=_reason(snapshot))
        _claim(tx, [cube for cube, new in plans if not new])
        count += len(changed)
    return count


def _claim(tx: Tx, same: Sequence[MemCube]) -> None:
    """Let live memories have their texts again that a rollback had freed which broke off."""
    seqs = [cube.seq for cube in same if cube.state in LIVE]
    query = select(MemoryRow.seq).where(MemoryRow.seq.in_(seqs), MemoryRow.content_hash.is_(None))
    unclaimed = set(tx.connection.execute(query).scalars())
    for cube in same:
        if cube.seq in unclaimed:
            claim = store.identity(tx, cube, cube)
            tx.connection.execute(update(MemoryRow).where(MemoryRow.seq == cube.seq).values(**claim))


def _plans(tx: Tx, snapshot: Snapshot, ids: Sequence[str]) -> list[tuple[MemCube, dict[str, Any]]]:
    """What each memory is and the fields that are to be given back; those that were purged are left out."""
    then = versions_of(tx, snapshot.id, ids)
    return [
        (cube, _plan(cube, versions.restored(cube, then[cube.id]), tx.now))
        for cube in sorted(rows.cubes(tx, ids).values(), key=lambda cube: cube.id)
        if not then[cube.id].redacted
    ]


def _plan(cube: MemCube, then: MemCube, now: datetime) -> dict[str, Any]:
    if cube.state in GONE and lifetime_over(then.state, then.expires_at, then.sensitivity, now):
        return {}
    new = {name: getattr(then, name) for name in RESTORED if getattr(then, name) != getattr(cube, name)}
    if new.keys() <= {"deleted_at"}:
        return {}
    if "state" in new:
        kept = {"deleted": store.DELETED_KEPT, "expired": store.EXPIRED_KEPT}.get(then.state)
        new["purge_after"] = None if kept is None else now + kept
    return new


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + rows.IN_ONE_QUERY] for start in range(0, len(ids), rows.IN_ONE_QUERY))


def _report(tx: Tx, snapshot: Snapshot, restored: int, archived: int) -> Rolled:
    query = (
        select(
            SnapshotItemRow.memory_id,
            MemoryRow.digest_key,
            MemoryRow.state,
            MemoryRow.expires_at,
            MemoryRow.sensitivity,
            SnapshotItemRow.state.label("then"),
        )
        .join(MemoryRow, MemoryRow.id == SnapshotItemRow.memory_id)
        .where(SnapshotItemRow.snapshot_id == snapshot.id)
        .where(or_(MemoryRow.state.in_(sorted(GONE)), MemoryRow.expires_at <= tx.now))
        .order_by(SnapshotItemRow.memory_id)
    )
    purged: list[str] = []
    expired: list[str] = []
    for row in tx.connection.execute(query):
        if row.digest_key is None:
            purged.append(row.memory_id)
        elif row.then not in GONE and (
            row.state in GONE or lifetime_over(row.state, row.expires_at, row.sensitivity, tx.now)
        ):
            expired.append(row.memory_id)
    equal = digest_now(tx, snapshot.id) == snapshot.digest
    return Rolled(snapshot.id, restored, archived, tuple(purged), tuple(expired), equal)


def _made(tx: Tx, snapshot: Snapshot, since: datetime) -> tuple[int, int]:
    """How many memories of the snapshot, and how many others, got a version from this rollback."""
    item = select(SnapshotItemRow.memory_id).where(
        SnapshotItemRow.snapshot_id == snapshot.id, SnapshotItemRow.memory_id == VersionRow.memory_id
    )
    query = (
        select(func.count())
        .select_from(VersionRow)
        .join(MemoryRow, MemoryRow.id == VersionRow.memory_id)
        .where(MemoryRow.vault_id == snapshot.vault_id, VersionRow.reason == _reason(snapshot))
        .where(VersionRow.sys_from >= since)
    )
    restored = tx.connection.execute(query.where(item.exists())).scalar_one()
    archived = tx.connection.execute(query.where(~item.exists())).scalar_one()
    return int(restored), int(archived)


def _reason(snapshot: Snapshot) -> str:
    return f"rollback to {snapshot.id}"


def _audited(tx: Tx, snapshot: Snapshot, rule: str, report: Rolled) -> None:
    told = {"restored": report.restored, "archived": report.archived, "job": report.job_id}
    vault_id = snapshot.vault_id
    audit.record(tx, "rollback", "vault", vault_id, chain=vault_id, rule=rule, detail={"snapshot": snapshot.id, **told})
