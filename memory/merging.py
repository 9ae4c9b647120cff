"""Two memories that say the same become one: the richer text stays, sources and names are united.

The other one is `merged`, not gone: a link leads from it to the one that stays, and a restore undoes it.
Source: memos §3.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from memory import explain, store
from memory.tables import EdgeRow
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
    """Fold `other` into `keep` and return its new version. Raises `Conflict` for a pinned or frozen one, `Stale`."""
    if keep.vault_id != other.vault_id:
        raise InvalidInput(
            f"memories {keep.id!r} and {other.id!r} are in different vaults; migrate one of them first", param="ids"
        )
    if other.pinned or other.state == "frozen" or keep.state == "frozen":
        raise Conflict(f"memory {other.id!r} or {keep.id!r} is pinned or frozen; it is not merged", param="ids")
    reason = reason or f"merged with {other.id}"
    new: dict[str, Any] = {
        "tags": tuple(dict.fromkeys((*keep.tags, *other.tags))),
        "entities": tuple(dict.fromkeys((*keep.entities, *other.entities))),
        "sensitivity": tuple(dict.fromkeys((*keep.sensitivity, *other.sensitivity))),
        "confidence": max(keep.confidence, other.confidence),
    }
    if content is not None:
        new["content"] = content
    sources = [found.source for found in explain.provenance(tx, other).sources]
    # First the other one leaves: while it is live its text may be the one that the merged memory gets.
    store.move(tx, other, "fuse", reason=f"merged into {keep.id}")
    merged = store.change(tx, keep, kind="merge", reason=reason, vectors=vectors, sources=sources, **new)
    _inherit_edges(tx, other, merged)
    store.link(tx, other.id, keep.id, "MERGED_TO")
    return replace(merged, uses=keep.uses + other.uses)


def _inherit_edges(tx: Tx, other: MemCube, keep: MemCube) -> None:
    query = select(EdgeRow.__table__).where((EdgeRow.src_id == other.id) | (EdgeRow.dst_id == other.id))
    for row in tx.connection.execute(query).all():
        src, dst = (keep.id if end == other.id else end for end in (row.src_id, row.dst_id))
        if src != dst:
            store.link(tx, src, dst, row.type, row.weight)
