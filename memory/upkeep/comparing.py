"""What stands beside a memory in SQL and must say the same: its vectors, full text, nodes, history. Compared and mended.

Functions inside a transaction, over a page of memories at a time. Source: memos §3.13; contract §6 (1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, func, select, update

from memory import audit, incidence, rows, store, versions
from memory.codecs import blob
from memory.indices import lexical
from memory.spaces import Space
from memory.tables import AuditHead, BlobRow, EntityRow, IncidenceRow, MemoryRow, OutboxRow, VersionRow
from memory.tx import Tx
from memory.types import INDEXED, MemCube
from runtime.errors import StorageError

Kind = Literal["vector", "blob", "text", "graph", "version", "audit"]
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: of what, where, in words. A broken chain cannot be mended."""

    kind: Kind
    memory_id: str
    detail: str
    mendable: bool = True


def page(tx: Tx, after: int) -> list[MemCube]:
    """The next memories in the order of `seq`, purged ones too."""
    query = rows.SELECT.where(MemoryRow.seq > after).order_by(MemoryRow.seq).limit(PAGE)
    return [rows.cube(row, tx.now) for row in tx.connection.execute(query)]


def waiting(tx: Tx, cubes: Sequence[MemCube]) -> set[str]:
    """Those that the relay has not carried yet."""
    query = select(OutboxRow.memory_id).where(OutboxRow.memory_id.in_([cube.id for cube in cubes]))
    return set(tx.connection.execute(query).scalars())


def compare(tx: Tx, cubes: Sequence[MemCube], spaces: Sequence[Space]) -> list[Drift]:
    """Everything in SQL that does not agree with these memories."""
    return [*_blobs(tx, cubes, spaces), *_texts(tx, cubes), *_nodes(tx, cubes), *_histories(tx, cubes)]


def mend(tx: Tx, cubes: Sequence[MemCube], drift: Sequence[Drift]) -> list[str]:
    """Write full text and nodes again, and take damaged vectors away; the ids that the relay is to carry again."""
    by_id = {cube.id: cube for cube in cubes}
    texts = [by_id[each.memory_id] for each in drift if each.kind == "text"]
    lexical.put_many(tx.connection, [store.text_row(cube) for cube in texts if cube.content])
    lexical.drop(tx.connection, [cube.seq for cube in texts if not cube.content])
    nodes = [by_id[each.memory_id] for each in drift if each.kind == "graph"]
    incidence.remove(tx, [cube.seq for cube in nodes])
    incidence.add(tx, [cube for cube in nodes if cube.content])
    blobs = [by_id[id_] for id_ in dict.fromkeys(each.memory_id for each in drift if each.kind == "blob")]
    for cube in blobs:
        tx.connection.execute(delete(BlobRow).where(BlobRow.memory_seq == cube.seq))
    # Whoever walks the graph follows the outbox (memory/indices/hypergraph.py), so a mended node is told there too.
    again = {cube.id: cube for cube in (*blobs, *nodes) if cube.content}
    store.enqueue(tx, list(again.values()))
    _mark(tx, list(again.values()))
    return list(again)


def send(tx: Tx, ids: Sequence[str]) -> None:
    """Have the relay carry these memories again."""
    cubes = list(store.many(tx, ids).values())
    store.enqueue(tx, cubes)
    _mark(tx, cubes)


def strays(tx: Tx, *, repair: bool) -> list[Drift]:
    """Full-text rows without a memory, and entities whose number of memories is wrong."""
    found = [
        Drift("text", str(seq), f"full text of row {seq}, which is no memory")
        for seq in sorted(
            set(lexical.seqs(tx.connection)) - set(tx.connection.execute(select(MemoryRow.seq)).scalars())
        )
    ]
    if repair and found:
        lexical.drop(tx.connection, [int(each.memory_id) for each in found])
    counted = (
        select(EntityRow.id, EntityRow.name, EntityRow.degree, func.count(IncidenceRow.memory_seq).label("real"))
        .outerjoin(IncidenceRow, IncidenceRow.entity_id == EntityRow.id)
        .group_by(EntityRow.id, EntityRow.name, EntityRow.degree)
        .having(EntityRow.degree != func.count(IncidenceRow.memory_seq))
    )
    for row in tx.connection.execute(counted).all():
        found.append(Drift("graph", "", f"entity {row.name!r} says {row.degree} memories, {row.real} name it"))
        if repair:
            tx.connection.execute(update(EntityRow).where(EntityRow.id == row.id).values(degree=row.real))
    return found


def audits(tx: Tx) -> list[Drift]:
    """Chains of the audit with a missing or changed line."""
    found = []
    for chain in tx.connection.execute(select(AuditHead.chain).order_by(AuditHead.chain)).scalars().all():
        line = audit.verify(tx, chain)
        if line is not None:
            found.append(
                Drift("audit", "", f"audit of {chain!r}: line {line} is missing or was changed", mendable=False)
            )
    return found


def _blobs(tx: Tx, cubes: Sequence[MemCube], spaces: Sequence[Space]) -> list[Drift]:
    there = tx.connection.execute(
        select(BlobRow.memory_seq, BlobRow.profile_id, BlobRow.data, BlobRow.crc32).where(
            BlobRow.memory_seq.in_([cube.seq for cube in cubes])
        )
    )
    stored = {(row.memory_seq, row.profile_id): row for row in there}
    kept = {seq for seq, _ in stored}
    found = []
    for cube in cubes:
        if not cube.content:
            if cube.seq in kept:
                found.append(Drift("blob", cube.id, "a purged memory has a stored vector"))
            continue
        for space in spaces if cube.state in INDEXED else ():
            row = stored.get((cube.seq, space.id))
            if row is None:
                found.append(Drift("blob", cube.id, f"no stored vector of {space.slug}"))
                continue
            try:
                blob.decode(row.data, row.crc32, space.encoder.profile.dim)
            except StorageError as error:
                found.append(Drift("blob", cube.id, f"{space.slug}: {error.message}"))
    return found


def _texts(tx: Tx, cubes: Sequence[MemCube]) -> list[Drift]:
    by_seq = {cube.seq: cube for cube in cubes}
    wrong = lexical.differing(tx.connection, [store.text_row(cube) for cube in cubes if cube.content])
    found = [Drift("text", by_seq[seq].id, "full text is missing or of another text") for seq in wrong]
    gone = [cube.seq for cube in cubes if not cube.content]
    extra = sorted(set(gone).intersection(lexical.present(tx.connection, gone)))
    return found + [Drift("text", by_seq[seq].id, "a purged memory is in the full text") for seq in extra]


def _nodes(tx: Tx, cubes: Sequence[MemCube]) -> list[Drift]:
    query = (
        select(IncidenceRow.memory_seq, EntityRow.key)
        .join(EntityRow, EntityRow.id == IncidenceRow.entity_id)
        .where(IncidenceRow.memory_seq.in_([cube.seq for cube in cubes]))
    )
    there: dict[int, set[str]] = {}
    for row in tx.connection.execute(query):
        there.setdefault(row.memory_seq, set()).add(row.key)
    return [
        Drift("graph", cube.id, "its nodes in the hypergraph are not its entities")
        for cube in cubes
        if there.get(cube.seq, set()) != {incidence.entity_key(name) for name in cube.entities}
    ]


def _histories(tx: Tx, cubes: Sequence[MemCube]) -> list[Drift]:
    query = select(VersionRow.memory_id, VersionRow.version, VersionRow.content, VersionRow.header)
    query = query.where(VersionRow.memory_id.in_([cube.id for cube in cubes]), VersionRow.sys_to.is_(None))
    last = {row.memory_id: row for row in tx.connection.execute(query)}
    broken = versions.broken_chains(tx, [cube.id for cube in cubes])
    found = [
        Drift("version", id_, "its history is missing a link or was changed", mendable=False) for id_ in sorted(broken)
    ]
    for cube in cubes:
        row = last.get(cube.id)
        if cube.id in broken or not cube.content:
            continue
        if row is None or (row.version, row.content, row.header) != (cube.version, cube.content, rows.header(cube)):
            found.append(Drift("version", cube.id, "it is not what its last version says", mendable=False))
    return found


def _mark(tx: Tx, cubes: Sequence[MemCube]) -> None:
    ids = [cube.id for cube in cubes]
    tx.connection.execute(update(MemoryRow).where(MemoryRow.id.in_(ids)).values(vector_state="pending"))
