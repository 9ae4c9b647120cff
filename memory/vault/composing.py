"""Several vaults seen as one, read-only and in an order: the nearer vault wins.

Where two vaults say something about the same attribute of the same subject, only what the nearer one says is in the view;
everything else of both is. Nothing is copied, so the view is what the vaults are at that moment, for whoever asks.
Source: memos §3.9; ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import select

from memory import access, rows
from memory.access import Access
from memory.conflict import SLOTS
from memory.core import Core
from memory.lifecycle import lifetime_over
from memory.listing import MAX_PAGE, Page
from memory.tables import MemoryRow
from memory.text import normalise
from memory.tx import Tx
from memory.types import SEARCHABLE, Actor, MemCube
from memory.vault import grants
from runtime.errors import InvalidInput

MAX_VAULTS: Final = 64
Slot = tuple[str, str, str]


async def compose(
    core: Core, actor: Actor, vaults: Sequence[str], *, after: str | None = None, limit: int = 50
) -> Page:
    """A page of the view over the vaults, the nearest first and in each the newest first.

    Raises `InvalidInput` for a cursor of another view, and what `access.vault` raises for any of the vaults.
    """
    if not 1 <= len(vaults) <= MAX_VAULTS:
        raise InvalidInput(f"vaults: {len(vaults)} given; expected 1 to {MAX_VAULTS}", param="vaults")
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")

    def work(tx: Tx) -> tuple[Page, list[Access]]:
        allowed = list({item.vault.id: item for item in access.vaults(tx, vaults, "read")}.values())
        found: list[MemCube] = []
        for cube in _view(tx, allowed, after):
            if len(found) == limit:
                return Page(tuple(found), found[-1].id), allowed
            found.append(cube)
        return Page(tuple(found), None), allowed

    found, allowed = await core.read(actor, work)
    await grants.count_reads(core, actor, allowed)
    return found


def _view(tx: Tx, allowed: Sequence[Access], after: str | None) -> Iterator[MemCube]:
    begin, below = _place(tx, allowed, after)
    taken: set[Slot] = set()
    for number, item in enumerate(allowed):
        if number >= begin:
            query = rows.SELECT.where(*_shown(item)).order_by(MemoryRow.seq.desc())
            if number == begin and below is not None:
                query = query.where(MemoryRow.seq < below)
            for row in tx.connection.execute(query):
                cube = rows.cube(row, tx.now)
                if _counts(tx, item, cube) and _slot(cube) not in taken:
                    yield cube
        if number + 1 < len(allowed):
            taken |= _slots(tx, item)


def _place(tx: Tx, allowed: Sequence[Access], after: str | None) -> tuple[int, int | None]:
    """The vault in which the page begins, and below which sequence number."""
    if after is None:
        return 0, None
    row = tx.connection.execute(select(MemoryRow.vault_id, MemoryRow.seq).where(MemoryRow.id == after)).one_or_none()
    numbers = {item.vault.id: number for number, item in enumerate(allowed)}
    if row is None or row.vault_id not in numbers:
        raise InvalidInput(f"after {after!r}: is no cursor of this view; take `next` of the page before", param="after")
    return numbers[row.vault_id], int(row.seq)


def _slots(tx: Tx, item: Access) -> set[Slot]:
    query = rows.SELECT.where(
        *_shown(item),
        MemoryRow.semantic_type.in_(sorted(SLOTS)),
        MemoryRow.subject.is_not(None),
        MemoryRow.attribute.is_not(None),
    )
    cubes = (rows.cube(row, tx.now) for row in tx.connection.execute(query))
    return {slot for cube in cubes if _counts(tx, item, cube) and (slot := _slot(cube)) is not None}


def _shown(item: Access) -> tuple[Any, ...]:
    return MemoryRow.vault_id == item.vault.id, MemoryRow.state.in_(sorted(SEARCHABLE))


def _counts(tx: Tx, item: Access, cube: MemCube) -> bool:
    over = lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now)
    return not over and item.sees(cube.sensitivity)


def _slot(cube: MemCube) -> Slot | None:
    if cube.semantic_type not in SLOTS or not cube.subject or not cube.attribute:
        return None
    return cube.semantic_type, normalise(cube.subject), normalise(cube.attribute)
