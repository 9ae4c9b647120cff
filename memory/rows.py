"""Rows of the tables as the frozen values of memory/types.py, in both directions. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, select

from memory.lifecycle import heat
from memory.tables import MemoryRow, MemoryUse
from memory.tx import Tx
from memory.types import MemCube, Vault

IN_ONE_QUERY = 500
TIMES = frozenset({"valid_from", "valid_to", "occurred_at", "superseded_at", "expires_at", "deleted_at", "purge_after"})
LISTS = frozenset({"entities", "tags", "sensitivity"})
# What a version keeps of a memory beside its text; `recorded_at` never changes, the rest may.
HEADER = (
    "state",
    "semantic_type",
    "kind",
    "data",
    "subject",
    "attribute",
    "title",
    "speaker",
    "entities",
    "tags",
    "sensitivity",
    "origin",
    "confidence",
    "priority",
    "pinned",
    "watermark",
    "valid_from",
    "valid_to",
    "occurred_at",
    "superseded_at",
    "expires_at",
    "session_id",
    "position",
    "deleted_at",
    "purge_after",
)
COLUMNS = [
    column
    for column in MemoryRow.__table__.columns
    if column.name not in {"content_hash", "digest_key", "simhash", "placed"}
]
SELECT = select(*COLUMNS, MemoryUse.uses, MemoryUse.last_used_at).outerjoin(
    MemoryUse, MemoryUse.memory_id == MemoryRow.id
)


def cubes(tx: Tx, ids: Sequence[str]) -> dict[str, MemCube]:
    """The memories of these ids as they are, in no order; an unknown one is left out."""
    found: dict[str, MemCube] = {}
    for start in range(0, len(ids), IN_ONE_QUERY):
        part = ids[start : start + IN_ONE_QUERY]
        for row in tx.connection.execute(SELECT.where(MemoryRow.id.in_(part))):
            found[row.id] = cube(row, tx.now)
    return found


def cubes_by_seq(tx: Tx, seqs: Sequence[int]) -> dict[int, MemCube]:
    """Like `cubes`, by the short key."""
    found: dict[int, MemCube] = {}
    for start in range(0, len(seqs), IN_ONE_QUERY):
        part = seqs[start : start + IN_ONE_QUERY]
        for row in tx.connection.execute(SELECT.where(MemoryRow.seq.in_(part))):
            found[row.seq] = cube(row, tx.now)
    return found


def cube(row: Row[*tuple[Any, ...]], now: datetime) -> MemCube:
    """A row of `SELECT` as a memory."""
    values = dict(row._mapping)
    uses = values.pop("uses") or 0
    last = values.pop("last_used_at")
    for name in LISTS:
        values[name] = tuple(values[name])
    return MemCube(**values, uses=uses, last_used_at=last, heat=heat(uses, last, now))


def header(cube: MemCube) -> dict[str, JsonValue]:
    """What a version row keeps of it, as JSON."""
    out: dict[str, JsonValue] = {}
    for name in HEADER:
        value = getattr(cube, name)
        if name in TIMES:
            value = None if value is None else value.isoformat()
        elif name in LISTS:
            value = list(value)
        elif name == "data":
            value = dict(value)
        out[name] = value
    return out


def fields_of(header: Mapping[str, JsonValue]) -> dict[str, Any]:
    """The values of `header` as a memory carries them."""
    fields: dict[str, Any] = dict(header)
    for name in TIMES & fields.keys():
        fields[name] = None if fields[name] is None else datetime.fromisoformat(fields[name])
    for name in LISTS & fields.keys():
        fields[name] = tuple(fields[name])
    return fields


def vault(row: Row[Any]) -> Vault:
    """A row of `vaults`."""
    return Vault(
        row.id,
        row.owner_id,
        row.name,
        row.kind,
        row.default_ttl_s,
        tuple(row.default_sensitivity),
        row.explore,
        row.version,
        row.created_at,
        row.archived_at,
    )
