"""Purge: everything that a memory ever said leaves the store, and a receipt tells what was removed and when.

What stays is a stub: the id, the times, the links, and a history of digests without texts whose key is destroyed.
Vectors leave the indexes through the outbox, files of artefacts are unlinked after the commit (memory/service.py), and
the pages of the database are overwritten by `scrub`. Source: memos §5 (erasure), §3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from memory import incidence, versions
from memory.indices import lexical
from memory.measuring import measures
from memory.tables import (
    ArtifactRow,
    BlobRow,
    BranchRow,
    EdgeRow,
    MemoryRow,
    MemoryUse,
    OutboxRow,
    ReviewRow,
    SourceRow,
)
from memory.tx import Tx
from memory.types import MemCube
from runtime.tables import Idempotency, RunEvent


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a purge removed. `files` are still to be unlinked; `runs` read the memory, and their logs may quote it."""

    memory_id: str
    at: datetime
    removed: dict[str, int]
    stale: tuple[str, ...]
    files: tuple[str, ...]
    runs: tuple[str, ...]
    pending: tuple[str, ...]


def erase(tx: Tx, cube: MemCube, *, scrub: bool = True) -> Receipt:
    """Remove the memory's content for good. The vectors in the indexes go when the outbox is applied (`pending`).

    Whoever erases many scrubs the full text once at the end instead (`lexical.scrub`).
    """
    connection, mine = tx.connection, cube.id
    stale = tuple(
        connection.execute(
            select(EdgeRow.src_id).where(EdgeRow.dst_id == mine, EdgeRow.type.in_(("DERIVED_FROM", "PARENT")))
        ).scalars()
    )
    artifacts = connection.execute(
        select(ArtifactRow.id, ArtifactRow.location).where(ArtifactRow.memory_id == mine)
    ).all()
    removed = {
        "versions": versions.redact(tx, mine),
        "sources": connection.execute(delete(SourceRow).where(SourceRow.memory_id == mine)).rowcount,
        "vectors": connection.execute(delete(BlobRow).where(BlobRow.memory_seq == cube.seq)).rowcount,
        "entities": incidence.remove(tx, [cube.seq]),
        "uses": connection.execute(delete(MemoryUse).where(MemoryUse.memory_id == mine)).rowcount,
        "measures": measures.forget(tx, mine),
        "branch_edits": connection.execute(delete(BranchRow).where(BranchRow.memory_id == mine)).rowcount,
        "reviews": connection.execute(
            delete(ReviewRow).where((ReviewRow.memory_id == mine) | (ReviewRow.other_id == mine))
        ).rowcount,
        "stored_answers": connection.execute(
            delete(Idempotency).where(Idempotency.body.contains(mine, autoescape=True))
        ).rowcount,
        "artifacts": len(artifacts),
    }
    lexical.drop(connection, [cube.seq])
    if scrub:
        lexical.scrub(connection)
    if artifacts:
        connection.execute(update(ArtifactRow).where(ArtifactRow.memory_id == mine).values(state="evicted"))
    connection.execute(
        update(MemoryRow)
        .where(MemoryRow.seq == cube.seq)
        .values(
            state="deleted",
            content="",
            content_hash=None,
            simhash=None,
            digest_key=None,
            data={},
            subject=None,
            attribute=None,
            title=None,
            speaker=None,
            entities=[],
            tags=[],
            sensitivity=[],
            watermark=None,
            session_id=None,
            position=None,
            deleted_at=cube.deleted_at or tx.now,
            purge_after=None,
            vector_state="pending",
            embedded_version=None,
        )
    )
    connection.execute(insert(OutboxRow).values(memory_id=mine, op="purge", version=cube.version, attempts=0))
    return Receipt(
        mine, tx.now, removed, stale, tuple(row.location for row in artifacts), _readers(tx, mine), ("index",)
    )


def is_purged(tx: Tx, memory_id: str) -> bool:
    """Whether the key of the memory's digests is destroyed."""
    found = tx.connection.execute(select(MemoryRow.digest_key).where(MemoryRow.id == memory_id)).one_or_none()
    return found is not None and found.digest_key is None


def _readers(tx: Tx, memory_id: str) -> tuple[str, ...]:
    query = (
        select(RunEvent.run_id)
        .distinct()
        .where(RunEvent.type == "memory.read", RunEvent.data.contains(memory_id, autoescape=True))
    )
    return tuple(tx.connection.execute(query).scalars())
