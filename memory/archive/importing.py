"""Writes what was let in: a batch of records is one transaction, with everything that follows from it.

A record becomes a new memory, or is there already (memory/archive/matching.py), and then the mode says what happens:
`skip` leaves what is there, `merge` gives it the names and sources of the other, `fail` refuses the import. What was
deleted comes back. The words that are there are never changed by an import. Source: memos §3.11; ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite

from memory import access, audit, reviews, rows, store
from memory.access import Access
from memory.admitting.admission import Verdict
from memory.archive.archive_lines import EdgeLine
from memory.archive.incoming import Record
from memory.archive.matching import Plan, resolve
from memory.conflict import supersedes
from memory.store import NewMemory, Vectors
from memory.tables import EdgeRow, MemoryUse, SourceRow, VaultRow
from memory.tx import Tx
from memory.types import LIVE, MemCube
from runtime.errors import Conflict

Fate = Literal["resumed", "present", "deleted", "erased", "expired", "dropped", "new"]
NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Ready:
    """A record, its vectors (`reused`: the archive's), and the verdict of admission, which a trusted file does not need."""

    record: Record
    vectors: Vectors = field(default_factory=dict)
    verdict: Verdict | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records became what; together they are all that were read."""

    created: int = 0
    quarantined: int = 0
    resumed: int = 0
    present: int = 0
    merged: int = 0
    restored: int = 0
    dropped: int = 0
    expired: int = 0
    erased: int = 0
    edges: int = 0
    artifacts: int = 0
    vectors_reused: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Counts)))


class Written(NamedTuple):
    """What a batch did, and which memory each of its records is now, by the id it had or was given."""

    counts: Counts
    ids: Mapping[str, str]


def write(tx: Tx, plan: Plan, batch: Sequence[Ready], ours: Collection[str]) -> Written:
    """Store a batch; `ours`: what the batches before gave. Raises `Conflict` in the mode `fail` for what is there."""
    allowed = access.vault(tx, plan.home.id, "write")
    # Two imports into one vault take turns, or both would find a memory missing.
    tx.connection.execute(select(VaultRow.id).where(VaultRow.id == plan.home.id).with_for_update(key_share=True))
    decisions = resolve(tx, plan, [ready.record for ready in batch])
    fresh = [
        (ready, id_)
        for ready, (how, id_) in zip(batch, decisions, strict=True)
        if how == "new" and _enters(plan, ready)
    ]
    made = store.insert_all(tx, [_new(plan, ready, id_) for ready, id_ in fresh])
    inserted = {id_: item for (_, id_), item in zip(fresh, made, strict=True)}
    counts: Counter[str] = Counter()
    ids: dict[str, str] = {}
    there: list[tuple[Record, str]] = []
    for ready, (how, id_) in zip(batch, decisions, strict=True):
        item = inserted.get(id_) if how == "new" else None
        if item is not None and not item.duplicate:
            counts.update(_created(tx, ready, item.cube))
        else:
            fate, id_ = _turned_away(ready, item) if how == "new" else (how, id_)
            if fate == "present":
                there.append((ready.record, id_))
            counts[_kept(tx, plan, allowed, ready, fate, id_)] += 1
        if id_:
            ids[ready.record.old_id or ready.record.id] = id_
    own = {id_ for how, id_ in decisions if how in ("new", "resumed")}
    refuse_present(plan, [record for record, id_ in there if id_ not in own and id_ not in ours])
    cubes = [item.cube for item in made if not item.duplicate]
    _use(tx, [ready for ready, _ in fresh], made)
    _close_slots(tx, plan, cubes, ours)
    detail = {"digest": plan.incoming.digest, "format": plan.incoming.format, "count": counts["created"]}
    audit.record(tx, "import", "vault", plan.home.id, chain=plan.home.id, rule=allowed.rule, detail=detail)
    return Written(Counts(**counts), ids)


def link(tx: Tx, plan: Plan, edges: Sequence[EdgeLine], ids: Mapping[str, str]) -> int:
    """Write the links whose two ends are there; how many are new."""
    if edges:
        access.vault(tx, plan.home.id, "write")
    made: dict[tuple[str, str, str], dict[str, Any]] = {}
    for edge in edges:
        src, dst = ids.get(edge.src), ids.get(edge.dst)
        if src is not None and dst is not None and src != dst:
            at = edge.at if plan.incoming.trusted else tx.now
            made[src, dst, edge.type] = {
                "src_id": src,
                "dst_id": dst,
                "type": edge.type,
                "weight": edge.weight,
                "at": at,
            }
    make = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    new, count = list(made.values()), 0
    for start in range(0, len(new), rows.IN_ONE_QUERY):
        statement = make(EdgeRow).values(new[start : start + rows.IN_ONE_QUERY]).on_conflict_do_nothing()
        count += len(tx.connection.execute(statement.returning(EdgeRow.src_id)).all())
    return count


def refuse_present(plan: Plan, there: Sequence[Record]) -> None:
    """In the mode `fail` what is there already stops the import. Raises `Conflict` that names some of it."""
    if plan.mode == "fail" and there:
        places = ", ".join(record.place for record in there[:NAMED]) + ", …" * (len(there) > NAMED)
        raise Conflict(
            f"vault {plan.home.name!r}: has {len(there)} of these memories already ({places}); nothing of this batch was "
            "imported, use mode skip or merge",
            param="mode",
        )


def _enters(plan: Plan, ready: Ready) -> bool:
    if ready.verdict is None:
        return plan.incoming.trusted
    return ready.verdict.outcome in ("admit", "quarantine")


def _new(plan: Plan, ready: Ready, id_: str) -> NewMemory:
    record, draft = ready.record, ready.record.draft
    if ready.verdict is not None and ready.verdict.outcome == "quarantine":
        draft = replace(draft, state="quarantined")
    provenance = f"prv_{id_.removeprefix('mem_')}"
    return NewMemory(
        id_, plan.home.id, draft, provenance, ready.vectors, f"imported: {plan.incoming.format}", record.past
    )


def _created(tx: Tx, ready: Ready, cube: MemCube) -> dict[str, int]:
    told = {"created": 1, "vectors_reused": int(ready.reused), "quarantined": int(cube.state == "quarantined")}
    if cube.state != "quarantined":
        return told
    why = "; ".join(ready.verdict.reasons) if ready.verdict else "it was in quarantine where it came from"
    reviews.ask(tx, f"rev_{cube.id.removeprefix('mem_')}", "quarantine", cube, why)
    return told


def _turned_away(ready: Ready, item: store.Inserted | None) -> tuple[Fate, str]:
    """A record that was new and is not stored: its words came in with another one, or admission did not let it in."""
    if item is not None:
        return "present", item.cube.id
    of = ready.verdict.of if ready.verdict and ready.verdict.outcome == "duplicate" else None
    return ("present", of) if of is not None else ("dropped", "")


def _kept(tx: Tx, plan: Plan, allowed: Access, ready: Ready, fate: Fate, id_: str) -> str:
    """What a record counts as that does not become a new memory."""
    if fate not in ("deleted", "present"):
        return fate
    there = store.get(tx, id_)
    # What is hidden from the actor is not touched, and nothing tells that it is there but not to be seen.
    if not allowed.sees(there.sensitivity):
        return "present"
    if fate == "deleted":
        return _restore(tx, there)
    merged = plan.mode == "merge" and _merge(tx, there, ready.record)
    return "merged" if merged else "present"


def _restore(tx: Tx, there: MemCube) -> str:
    """What was deleted comes back as it was, unless its words have come back in another memory."""
    try:
        store.move(tx, there, "restore", reason="imported again")
    except Conflict:
        return "present"
    return "restored"


def _merge(tx: Tx, there: MemCube, record: Record) -> bool:
    """Give the memory that is there the names and sources of the record. False when it has them, or is not to be changed."""
    draft = record.draft
    query = select(SourceRow.uri).where(SourceRow.memory_id == there.id)
    known = set(tx.connection.execute(query).scalars())
    if there.pinned or there.state not in LIVE - {"frozen"} or all(source.uri in known for source in draft.sources):
        return False
    new: dict[str, Any] = {
        name: tuple(dict.fromkeys((*getattr(there, name), *getattr(draft, name)))) for name in sorted(rows.LISTS)
    }
    new["confidence"] = max(there.confidence, draft.confidence)
    store.change(tx, there, kind="merge", reason=f"merged with an import, {record.place}", sources=draft.sources, **new)
    return True


def _use(tx: Tx, ready: Sequence[Ready], made: Sequence[store.Inserted]) -> None:
    """How often the memories of an archive were used."""
    used = [
        {"memory_id": item.cube.id, "uses": each.record.uses, "last_used_at": each.record.last_used_at}
        for each, item in zip(ready, made, strict=True)
        if not item.duplicate and each.record.uses and each.record.last_used_at is not None
    ]
    if used:
        tx.connection.execute(insert(MemoryUse), used)


def _close_slots(tx: Tx, plan: Plan, made: Sequence[MemCube], ours: Collection[str]) -> None:
    """Of an attribute there is one current statement: the newer one closes the older, whichever of them came in. Within an
    archive that was done where it comes from."""
    own = {cube.id for cube in made} if plan.incoming.archive is not None else frozenset[str]()
    for new in (cube for cube in made if cube.subject and cube.attribute):
        cube = store.get(tx, new.id)
        for other in store.same_slot(tx, cube):
            if other.id in own or (plan.incoming.archive is not None and other.id in ours):
                continue
            if supersedes(other, cube):
                store.supersede(tx, other, cube)
            elif supersedes(cube, other):
                store.supersede(tx, cube, other)
                break
