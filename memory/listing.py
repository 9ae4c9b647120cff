"""Lists of the memories of a vault, in pages. Source: contract §4 (lists)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select

from memory import rows
from memory.access import Access
from memory.lifecycle import lifetime_over
from memory.tables import MemoryRow
from memory.tx import Tx
from memory.types import LIVE, MemCube, SemanticType, State
from runtime.errors import InvalidInput

MAX_PAGE = 500


@dataclass(frozen=True, slots=True)
class Where:
    """Which memories of which vault. Without `states`: the live ones; `deleted` ones only when they are asked for."""

    vault: str | None = None
    states: tuple[State, ...] = ()
    semantic_types: tuple[SemanticType, ...] = ()
    tags: tuple[str, ...] = ()
    session_id: str | None = None
    subject: str | None = None
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some memories, the newest first, and the cursor of the next page; None at the end."""

    items: tuple[MemCube, ...]
    next: str | None


def page(tx: Tx, allowed: Access, where: Where, *, after: str | None, limit: int) -> Page:
    """One page of an allowed vault. Raises `InvalidInput` for a cursor of another list."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
    query = rows.SELECT.where(MemoryRow.vault_id == allowed.vault.id, MemoryRow.state.in_(where.states or LIVE))
    if after is not None:
        seq = tx.connection.execute(
            select(MemoryRow.seq).where(MemoryRow.id == after, MemoryRow.vault_id == allowed.vault.id)
        ).scalar_one_or_none()
        if seq is None:
            raise InvalidInput(
                f"after {after!r}: is no cursor of this list; take `next` of the page before", param="after"
            )
        query = query.where(MemoryRow.seq < seq)
    if where.semantic_types:
        query = query.where(MemoryRow.semantic_type.in_(where.semantic_types))
    for name in ("session_id", "subject", "attribute"):
        wanted = getattr(where, name)
        if wanted is not None:
            query = query.where(getattr(MemoryRow, name) == wanted)
    if not {"expired", "deleted"} & set(where.states):
        # The sweep may be late; a lifetime is over when it is over. Frozen ones are looked at below.
        query = query.where(
            or_(MemoryRow.expires_at.is_(None), MemoryRow.expires_at > tx.now, MemoryRow.state == "frozen")
        )
    found: list[MemCube] = []
    rest = tx.connection.execute(query.order_by(MemoryRow.seq.desc()))
    for row in rest:
        cube = rows.cube(row, tx.now)
        if not allowed.sees(cube.sensitivity) or not set(where.tags) <= set(cube.tags):
            continue
        if cube.state == "frozen" and lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now):
            continue
        if len(found) == limit:
            rest.close()
            return Page(tuple(found), found[-1].id)
        found.append(cube)
    return Page(tuple(found), None)
