"""Where a memory comes from, what it is linked to, and what changed between two of its versions.

Functions inside a transaction; the access decision was made before. Source: contract §4; ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import or_, select

from memory import versions
from memory.tables import EdgeRow, SourceRow
from memory.tx import Tx
from memory.types import Edge, MemCube, Source


@dataclass(frozen=True, slots=True)
class SourceOf:
    """A source, and the version of the memory that it was given for."""

    version: int
    source: Source


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that the store knows about how a memory came to be."""

    provenance_id: str
    origin: str
    created_by: str
    recorded_at: datetime
    sources: tuple[SourceOf, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What one version has and another has not: a unified diff of the text, and old and new value of header fields."""

    from_version: int
    to_version: int
    content: str
    fields: Mapping[str, tuple[JsonValue, JsonValue]]


def provenance(tx: Tx, cube: MemCube) -> Provenance:
    """Sources of every version, and the links in both directions."""
    found = tx.connection.execute(
        select(SourceRow.__table__).where(SourceRow.memory_id == cube.id).order_by(SourceRow.version, SourceRow.id)
    )
    sources = tuple(
        SourceOf(
            row.version,
            Source(
                row.kind,
                row.uri,
                row.message_id,
                row.role,
                row.span_start,
                row.span_end,
                row.quote,
                row.occurred_at,
                row.model,
            ),
        )
        for row in found
    )
    return Provenance(cube.provenance_id, cube.origin, cube.created_by, cube.recorded_at, sources, edges(tx, cube.id))


def edges(tx: Tx, memory_id: str) -> tuple[Edge, ...]:
    """The links of a memory in both directions, oldest first."""
    query = (
        select(EdgeRow.__table__)
        .where(or_(EdgeRow.src_id == memory_id, EdgeRow.dst_id == memory_id))
        .order_by(EdgeRow.at, EdgeRow.src_id, EdgeRow.dst_id)
    )
    return tuple(Edge(row.src_id, row.dst_id, row.type, row.weight, row.at) for row in tx.connection.execute(query))


def difference(tx: Tx, memory_id: str, from_version: int, to_version: int) -> Difference:
    """Compare two versions. Raises `UnknownName` for one that there is not."""
    before = versions.at_version(tx, memory_id, from_version)
    after = versions.at_version(tx, memory_id, to_version)
    lines = difflib.unified_diff(
        before.content.splitlines(),
        after.content.splitlines(),
        f"version {from_version}",
        f"version {to_version}",
        lineterm="",
    )
    names = sorted(before.header.keys() | after.header.keys())
    changed = {
        name: (before.header.get(name), after.header.get(name))
        for name in names
        if before.header.get(name) != after.header.get(name)
    }
    return Difference(from_version, to_version, "\n".join(lines), changed)
