"""The queries over LangGraph's items (langgraph_items.py), in the transaction and under the decision of the caller.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from memory import rows
from memory.access import Access
from memory.langgraph_filter import fits
from memory.langgraph_items import (
    MARK,
    Item,
    Namespace,
    Ref,
    attribute_of,
    item_of,
    namespace_of,
    ref_of,
    subject_of,
    told_of,
)
from memory.lifecycle import lifetime_over
from memory.tables import MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import SEARCHABLE, MemCube, State

PAGE: Final = 200
LARGEST_PAGE: Final = 5000
# A namespace with more below it than this is scanned, with fewer each is looked up.
LOOKED_UP: Final = 200


def is_there(cube: MemCube, now: datetime) -> bool:
    """Whether a graph may see it: not held back, and its time is not up."""
    return cube.state in SEARCHABLE and not lifetime_over(cube.state, cube.expires_at, cube.sensitivity, now)


def find(
    tx: Tx, allowed: Access, refs: Collection[Ref], states: Collection[State] = SEARCHABLE
) -> dict[Ref, list[MemCube]]:
    """The memories of these names, the newest first: in the end one each, two while two processes put it at once."""
    found: dict[Ref, list[MemCube]] = {}
    for namespace, keys in _grouped(refs).items():
        for start in range(0, len(keys), PAGE):
            query = rows.SELECT.where(
                _marked(allowed),
                MemoryRow.state.in_(sorted(states)),
                MemoryRow.subject == subject_of(namespace),
                MemoryRow.attribute.in_([attribute_of(key) for key in keys[start : start + PAGE]]),
            )
            for row in tx.connection.execute(_ordered(query)):
                cube = rows.cube(row, tx.now)
                if allowed.sees(cube.sensitivity):
                    found.setdefault(ref_of(cube.subject, cube.attribute), []).append(cube)
    return found


def newest(
    tx: Tx,
    allowed: Access,
    prefix: Namespace,
    wanted: Mapping[str, Any] | None,
    *,
    without: Collection[Ref] = (),
    limit: int,
) -> list[MemCube]:
    """Up to `limit` memories at and below a namespace whose value fits the filter, the last changed first, each name
    once. Raises `BadFilter`."""
    seen = {(subject_of(ref.namespace), attribute_of(ref.key)) for ref in without}
    found: list[int] = []
    said = (MemoryRow.content, MemoryRow.data) if wanted else ()
    query = _ordered(
        select(
            MemoryRow.seq,
            MemoryRow.subject,
            MemoryRow.attribute,
            MemoryRow.state,
            MemoryRow.sensitivity,
            MemoryRow.expires_at,
            *said,
        ).where(_marked(allowed), MemoryRow.state.in_(sorted(SEARCHABLE)), _below(tx, allowed, prefix))
    )
    start, size = 0, limit if not wanted else PAGE
    while len(found) < limit:
        page = tx.connection.execute(query.offset(start).limit(size)).all()
        for row in page:
            name = (row.subject, row.attribute)
            over = lifetime_over(row.state, row.expires_at, row.sensitivity, tx.now)
            if over or name in seen or not allowed.sees(row.sensitivity):
                continue
            seen.add(name)
            if not wanted or fits(told_of(row.content, row.data).value, wanted):
                found.append(row.seq)
        if len(page) < size:
            break
        # Little is read in the usual case, and few pages of a large namespace.
        start, size = start + size, min(LARGEST_PAGE, size * 8)
    cubes = rows.cubes_by_seq(tx, found[:limit])
    return [cubes[seq] for seq in found[:limit] if seq in cubes]


def items_of(tx: Tx, cubes: Sequence[MemCube]) -> list[Item]:
    """The memories as items. Putting off the end of one that was read is a version, but no change of the item."""
    mortal = [cube.id for cube in cubes if cube.expires_at is not None]
    changed: dict[str, datetime] = {}
    for start in range(0, len(mortal), rows.IN_ONE_QUERY):
        query = (
            select(VersionRow.memory_id, func.max(VersionRow.sys_from).label("at"))
            .where(VersionRow.memory_id.in_(mortal[start : start + rows.IN_ONE_QUERY]), VersionRow.change != "state")
            .group_by(VersionRow.memory_id)
        )
        changed |= {row.memory_id: row.at for row in tx.connection.execute(query)}
    return [item_of(cube, changed.get(cube.id, cube.updated_at)) for cube in cubes]


def namespaces(tx: Tx, allowed: Access, prefix: Namespace = ()) -> set[Namespace]:
    """Every namespace at or below `prefix` that holds an item which the actor may see."""
    columns = (MemoryRow.subject, MemoryRow.sensitivity) if allowed.masked else (MemoryRow.subject,)
    query = select(*columns).where(
        _marked(allowed),
        MemoryRow.state.in_(SEARCHABLE),
        # A frozen one is never over but for a sensitive text, and that is for the sweep to say here.
        or_(MemoryRow.expires_at.is_(None), MemoryRow.expires_at > tx.now, MemoryRow.state == "frozen"),
        _below(tx, allowed, prefix),
    )
    if not allowed.masked:
        query = query.distinct()
    found = tx.connection.execute(query)
    return {namespace_of(row.subject) for row in found if not allowed.masked or allowed.sees(row.sensitivity)}


def _ordered(query: Select[Any]) -> Select[Any]:
    return query.order_by(MemoryRow.updated_at.desc(), MemoryRow.seq.desc())


def _marked(allowed: Access) -> ColumnElement[bool]:
    return and_(
        MemoryRow.vault_id == allowed.vault.id,
        MemoryRow.watermark == MARK,
        MemoryRow.subject.is_not(None),
        MemoryRow.attribute.is_not(None),
    )


def _below(tx: Tx, allowed: Access, prefix: Namespace) -> ColumnElement[bool]:
    path = subject_of(prefix)
    if not path:
        return and_(True)
    # Not LIKE: SQLite's knows no difference between upper and lower case.
    below = or_(MemoryRow.subject == path, func.substr(MemoryRow.subject, 1, len(path) + 1) == f"{path}.")
    # The subjects alone stand in an index; with them, so do the rows.
    subjects = select(MemoryRow.subject).where(MemoryRow.vault_id == allowed.vault.id, below).distinct()
    few = tx.connection.execute(subjects.limit(LOOKED_UP + 1)).scalars().all()
    return MemoryRow.subject.in_(few) if len(few) <= LOOKED_UP else below


def _grouped(refs: Collection[Ref]) -> dict[Namespace, list[str]]:
    grouped: dict[Namespace, list[str]] = {}
    for ref in dict.fromkeys(refs):
        grouped.setdefault(ref.namespace, []).append(ref.key)
    return grouped
