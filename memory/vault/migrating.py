"""Memories of one vault copied into another; and two vaults fused into one.

A copy has an id of its own, the old id in its lineage (a source that names it, and a DERIVED_FROM link), the sources and
the sensitivity of the original, and its vectors, because all vaults of a store share their profiles. The right to read at
one end and to write at the other is looked at for every batch. Fusing copies as well, and then makes one of each pair that
says the same, by rule and without a model; what the fused vault hides is the union, and whom it is open to the
intersection, of both. Up to `AT_ONCE` memories are one transaction, more are a job that goes on where it stopped.
Source: memos §3.9, §3.3 (3); ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sqlalchemy import func, select

from memory import access, audit, explain, jobs, merging, profiles, rows, store
from memory.access import Access
from memory.changes import admissible
from memory.core import Core
from memory.jobs import JobRun
from memory.lifecycle import lifetime_over
from memory.tables import AuditRow, BlobRow, MemoryRow
from memory.tx import Tx
from memory.types import LIVE, Actor, Draft, MemCube, Source
from memory.vault import grants
from memory.vault.grants import Scope
from memory.vault.sameness import say_the_same, stored_vector
from memory.vault.settling import settle
from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.ids import new_id

KIND: Final = "vault.migrate"
AT_ONCE: Final = 1000
BATCH: Final = 100
COUNTED: Final = ("copied", "duplicates", "merged")


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied. With `job_id` it is still to be done, and the job's result says the rest.

    `ids` leads from each old id to the new one; `duplicates` were in the target already, `merged` say the same as one that
    was there; `revoked` are grants of the target that do not hold for both vaults.
    """

    source_id: str
    target_id: str
    copied: int = 0
    duplicates: int = 0
    merged: int = 0
    ids: Mapping[str, str] | None = None
    revoked: tuple[str, ...] = ()
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Ends:
    """The decisions at both ends."""

    source: Access
    target: Access


async def migrate(
    core: Core,
    actor: Actor,
    source: str,
    target: str,
    *,
    ids: Sequence[str] | None = None,
    fuse: bool = False,
    at_once: int = AT_ONCE,
) -> Moved:
    """Copy the live memories of `source`, or those of `ids`, into `target`; with `fuse` make one vault of both.

    Raises `InvalidInput` for one vault as both ends, `UnknownName` for an id that is not in the source.
    """
    wanted = None if ids is None else list(dict.fromkeys(ids))
    if wanted is not None and not 1 <= len(wanted) <= at_once:
        raise InvalidInput(f"ids: {len(wanted)} given; expected 1 to {at_once}", param="ids")
    job_id, new_ids = new_id("job"), [new_id("mem") for _ in range(at_once)]

    def work(tx: Tx) -> Moved:
        ends = _decide(tx, source, target)
        revoked = _narrow(tx, ends) if fuse else ()
        source_id, target_id = ends.source.vault.id, ends.target.vault.id
        last, total = _extent(tx, source_id)
        metered = [ends.source] if ends.source.metered else []
        if wanted is None and total > at_once:
            if metered:
                raise Conflict(
                    f"vault {source!r}: has {total} memories, and a grant that counts reads gives {at_once} at once; name "
                    "them in `ids`",
                    param="ids",
                )
            args: dict[str, JsonValue] = {"vault_id": target_id, "source_id": source_id, "last": last, "fuse": fuse}
            jobs.enqueue(tx, job_id, KIND, args, total=total)
            return Moved(source_id, target_id, revoked=revoked, job_id=job_id)
        grants.spend(tx, metered)
        cubes = _page(tx, source_id, last, 0, total) if wanted is None else _picked(tx, ends.source, wanted)
        done = _copy(tx, ends, cubes, new_ids, fuse=fuse)
        _audited(tx, ends, done, None)
        return Moved(source_id, target_id, len(done.ids), done.duplicates, done.merged, done.ids, revoked)

    return await core.write(actor, work)


async def finish(run: JobRun) -> Mapping[str, JsonValue]:
    """The job: the memories that the source had when it was asked for, in the order in which they were made."""
    args = run.job.args
    source_id, target_id, last = str(args["source_id"]), str(args["vault_id"]), int(cast(int, args["last"]))
    done, total = run.job.done, run.job.total or 0
    while done < total:
        new_ids = [new_id("mem") for _ in range(BATCH)]

        def batch(tx: Tx, place: int = done, ids: Sequence[str] = tuple(new_ids)) -> None:
            ends = _decide(tx, source_id, target_id)
            copied = _copy(tx, ends, _page(tx, source_id, last, place, BATCH), ids, fuse=bool(args["fuse"]))
            _audited(tx, ends, copied, run.job.id)

        done = min(done + BATCH, total)
        await run.commit(batch, done=done)
    return await run.core.read(run.job.actor, lambda tx: _told(tx, target_id, run.job))


@dataclass(slots=True)
class _Copied:
    ids: dict[str, str]
    duplicates: int = 0
    merged: int = 0


def _counts(done: _Copied) -> dict[str, int]:
    return {"copied": len(done.ids), "duplicates": done.duplicates, "merged": done.merged}


def _decide(tx: Tx, source: str, target: str) -> _Ends:
    ends = _Ends(access.vault(tx, source, "read"), access.vault(tx, target, "write"))
    access.need_open(ends.target)
    if ends.source.vault.id == ends.target.vault.id:
        raise InvalidInput(f"vault {target!r}: is both ends; expected another vault to copy into", param="to")
    return ends


def _extent(tx: Tx, vault_id: str) -> tuple[int, int]:
    """The last sequence number of the vault, and how many rows it has, whatever their state: rows never go away."""
    query = select(func.max(MemoryRow.seq), func.count()).where(MemoryRow.vault_id == vault_id)
    last, count = tx.connection.execute(query).one()
    return last or 0, count


def _page(tx: Tx, vault_id: str, last: int, place: int, limit: int) -> list[MemCube]:
    query = rows.SELECT.where(MemoryRow.vault_id == vault_id, MemoryRow.seq <= last)
    found = tx.connection.execute(query.order_by(MemoryRow.seq).offset(place).limit(limit))
    return [rows.cube(row, tx.now) for row in found]


def _picked(tx: Tx, source: Access, ids: Sequence[str]) -> list[MemCube]:
    found = rows.cubes(tx, ids)
    for memory_id in ids:
        cube = found.get(memory_id)
        if cube is None or cube.vault_id != source.vault.id or not source.sees(cube.sensitivity):
            raise UnknownName(
                f"memory {memory_id!r}: not found; check the id, and that this key may read it", param="ids"
            )
    return sorted(found.values(), key=lambda cube: cube.seq)


def _copy(tx: Tx, ends: _Ends, cubes: Sequence[MemCube], ids: Sequence[str], *, fuse: bool) -> _Copied:
    usable = [cube for cube in cubes if _is_copied(tx, ends.source, cube)]
    drafts = _drafts(tx, usable, ends)
    vectors = _vectors(tx, usable)
    reason = f"copied from vault {ends.source.vault.id}"
    new = [
        store.NewMemory(new_id, ends.target.vault.id, drafts[cube.id], cube.provenance_id, vectors[cube.seq], reason)
        for cube, new_id in zip(usable, ids, strict=False)
    ]
    inserted = store.insert_all(tx, new)
    done = _Copied({})
    for cube, item in zip(usable, inserted, strict=True):
        if item.duplicate:
            done.duplicates += 1
            if fuse:
                _unite(tx, item.cube.id, drafts[cube.id])
            continue
        done.ids[cube.id] = item.cube.id
        store.link(tx, item.cube.id, cube.id, "DERIVED_FROM")
        settle(tx, item.cube)
    if fuse:
        fresh = store.many(tx, list(done.ids.values()))
        merged = _merge_same(tx, ends, [fresh[id_] for id_ in done.ids.values()])
        done.merged = len(merged)
        done.ids = {old: merged.get(new_id, new_id) for old, new_id in done.ids.items()}
    return done


def _is_copied(tx: Tx, source: Access, cube: MemCube) -> bool:
    over = lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now)
    return cube.state in LIVE and not over and source.sees(cube.sensitivity)


def _drafts(tx: Tx, cubes: Sequence[MemCube], ends: _Ends) -> dict[str, Draft]:
    """The copies as they are stored, by old id; a place that the store gave and not the writer is given anew."""
    query = select(MemoryRow.seq).where(MemoryRow.seq.in_([cube.seq for cube in cubes]), MemoryRow.placed.is_(True))
    placed = set(tx.connection.execute(query).scalars())
    names = [item.name for item in fields(Draft) if item.name not in ("sources", "position")]
    drafts = {}
    for cube in cubes:
        sources = [item.source for item in explain.provenance(tx, cube).sources]
        sources.append(Source("document", uri=f"mneme:{cube.id}@{cube.version}", occurred_at=tx.now))
        draft = Draft(
            **{name: getattr(cube, name) for name in names},
            position=cube.position if cube.seq in placed else None,
            sources=tuple(sources),
        )
        drafts[cube.id] = admissible(draft, ends.target.vault, tx.now)
    return drafts


def _vectors(tx: Tx, cubes: Sequence[MemCube]) -> dict[int, store.Vectors]:
    """The stored vectors of each, by its sequence number; what is damaged or missing the relay makes."""
    dims = {profile.id: profile.space.dim for profile in profiles.written(tx.connection)}
    found: dict[int, dict[str, NDArray[np.float32]]] = {cube.seq: {} for cube in cubes}
    query = select(BlobRow.__table__).where(BlobRow.memory_seq.in_(list(found)), BlobRow.profile_id.in_(dims))
    for row in tx.connection.execute(query):
        vector = stored_vector(row, dims[row.profile_id])
        if vector is not None:
            found[row.memory_seq][row.profile_id] = vector
    return dict(found)


def _unite(tx: Tx, memory_id: str, draft: Draft) -> None:
    """The memory that was there keeps its words and takes the rest. A frozen or pinned one is never altered."""
    cube = store.get(tx, memory_id)
    united: dict[str, Any] = {
        name: tuple(dict.fromkeys((*getattr(cube, name), *getattr(draft, name))))
        for name in ("tags", "entities", "sensitivity")
    }
    if cube.state == "frozen" or cube.pinned or all(getattr(cube, name) == value for name, value in united.items()):
        return
    reason = "the same was in a vault that was fused into this one"
    store.change(tx, cube, kind="merge", reason=reason, sources=draft.sources, **united)


def _merge_same(tx: Tx, ends: _Ends, fresh: Sequence[MemCube]) -> dict[str, str]:
    """Merge each new memory with the nearest one that was there and says the same; which one went into which."""
    merged: dict[str, str] = {}
    for mine, there in say_the_same(tx, fresh, ends.target.vault.id, ends.source.vault.id):
        if mine in merged or there in merged:
            continue
        keep, other = merging.richer(store.get(tx, mine), store.get(tx, there))
        if keep.pinned or other.pinned or {keep.state, other.state} != {"activated"}:
            continue
        merging.merge(tx, keep, other)
        merged[other.id] = keep.id
    return merged


def _narrow(tx: Tx, ends: _Ends) -> tuple[str, ...]:
    """Leave the target open only to those who may see both; the grants that had to go."""
    access.need_owner(ends.target, "share", "fuse another vault into it")
    ours = grants.scopes(tx, ends.target.vault.id)
    theirs = [*grants.scopes(tx, ends.source.vault.id), Scope(ends.source.vault.owner_id, None)]
    owner_id = ends.target.vault.owner_id
    both = [scope for scope in grants.intersection(ours, theirs) if scope.grantee_id != owner_id]
    if set(both) == set(ours):
        return ()
    gone = grants.remove_all(tx, ends.target.vault.id)
    grants.write(tx, ends.target.vault.id, [(new_id("grt"), scope) for scope in both])
    return gone


def _audited(tx: Tx, ends: _Ends, done: _Copied, job_id: str | None) -> None:
    told = {"from": ends.source.vault.id, "to": ends.target.vault.id, "job": job_id, **_counts(done)}
    # Always in this order, or two that copy in opposite directions would wait for each other.
    for end in sorted((ends.source, ends.target), key=lambda end: end.vault.id):
        audit.record(tx, "migrate", "vault", end.vault.id, chain=end.vault.id, rule=end.rule, detail=told)


def _told(tx: Tx, target_id: str, job: jobs.Job) -> dict[str, JsonValue]:
    """The counts of all batches of the job, also of those before a restart."""
    query = select(AuditRow.detail).where(
        AuditRow.chain == target_id, AuditRow.action == "migrate", AuditRow.at >= job.created_at
    )
    batches = [detail for detail in tx.connection.execute(query).scalars() if detail["job"] == job.id]
    return {name: sum(int(batch[name]) for batch in batches) for name in COUNTED}
