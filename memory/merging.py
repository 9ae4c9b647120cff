"""Two memories that say the same become one: the richer text stays, sources and names are united.

The other one is `merged`, not gone: a link leads from it to the one that stays, and a restore brings it back.
Source: memos §3.3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import or_, select

from memory import explain, store
from memory.tables import EdgeRow, MemoryRow
from memory.tx import Tx
from memory.types import MemCube
from runtime.errors import Conflict, InvalidInput


def richer(a: MemCube, b: MemCube) -> tuple[MemCube, MemCube]:
    """The one to keep, and the other: a pinned one, then the longer text, then the older memory."""
    first, second = sorted((a, b), key=lambda cube: (not cube.pinned, -len(cube.content), cube.seq))
    return first, second


def merge(
    tx: Tx,
    keep: MemCube,
    other: MemCube,
    *,
    vectors: store.Vectors | None = None,
    content: str | None = None,
    reason: str = "",
) -> MemCube:
    """Fold `other` into `keep` and return its new version.

    Raises `Conflict` when one of them is frozen, or `other` is pinned or not in use, and `Stale`. A pinned `keep` is the
    decision of whoever calls.
    """
    if keep.vault_id != other.vault_id:
        raise InvalidInput(
            f"memories {keep.id!r} and {other.id!r} are in different vaults; migrate one of them first", param="ids"
        )
    for cube in (keep, other):
        if cube.state == "frozen" or (cube is other and cube.pinned):
            raise Conflict(f"memory {cube.id!r} is pinned or frozen; it is not merged", param="ids")
    hold(tx, [keep.id, other.id])
    new: dict[str, Any] = {
        "tags": tuple(dict.fromkeys((*keep.tags, *other.tags))),
        "entities": tuple(dict.fromkeys((*keep.entities, *other.entities))),
        "sensitivity": tuple(dict.fromkeys((*keep.sensitivity, *other.sensitivity))),
        "confidence": max(keep.confidence, other.confidence),
    }
    if content is not None:
        new["content"] = content
    known = {found.source for found in explain.provenance(tx, keep).sources}
    sources = dict.fromkeys(found.source for found in explain.provenance(tx, other).sources)
    # First the other one leaves: while it is live its text may be the one that the merged memory gets.
    store.move(tx, other, "fuse", reason=f"merged into {keep.id}")
    merged = store.change(
        tx,
        keep,
        kind="merge",
        reason=reason or f"merged with {other.id}",
        vectors=vectors,
        sources=[source for source in sources if source not in known],
        **new,
    )
    hand_on(tx, {other.id}, keep.id)
    store.link(tx, other.id, keep.id, "MERGED_TO")
    return merged


def hold(tx: Tx, ids: Collection[str]) -> None:
    """Take the rows of the memories in the order of their ids, so that two who change the same ones do not deadlock."""
    tx.connection.execute(
        select(MemoryRow.seq).where(MemoryRow.id.in_(ids)).order_by(MemoryRow.id).with_for_update()
    ).all()


def hand_on(tx: Tx, ids: Collection[str], heir_id: str) -> None:
    """Give the heir the links of these memories to others. Into what they were merged before does not concern it."""
    gone = {*ids, heir_id}
    query = select(EdgeRow.__table__).where(or_(EdgeRow.src_id.in_(ids), EdgeRow.dst_id.in_(ids)))
    for row in tx.connection.execute(query.order_by(EdgeRow.at, EdgeRow.src_id, EdgeRow.dst_id)).all():
        src, dst = (heir_id if end in gone else end for end in (row.src_id, row.dst_id))
        if src != dst and not (row.type == "MERGED_TO" and row.src_id in gone):
            store.link(tx, src, dst, row.type, row.weight)
