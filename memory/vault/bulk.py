"""Many memories changed together: what memory/store.py writes for one change, in a few statements for hundreds.

For what changes a whole vault. Everything that follows from a change follows here too: version, nodes, full text, vectors,
files, outbox entry. Source: memos §3.5 (2); ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from memory import incidence, rows, store, text, versions
from memory.indices import lexical
from memory.tables import ArtifactRow, BlobRow, MemoryRow
from memory.tx import Tx
from memory.types import LIVE, ChangeKind, MemCube
from runtime.errors import Conflict, Gone

GONE: Final = frozenset({"deleted", "expired"})
# What is written for each, whatever has changed.
ALWAYS: Final = ("version", "updated_at", "vector_state", "content_hash", "simhash")


def change_all(
    tx: Tx, changes: Sequence[tuple[MemCube, Mapping[str, Any]]], *, kind: ChangeKind, reason: str
) -> list[MemCube]:
    """Make the next version of each memory with its new fields, and return them in order.

    Memories of one call may exchange their texts. At most `rows.IN_ONE_QUERY` of one vault, whose rows the caller holds
    (memory/merging.py: `hold`). Raises as `store.change` does.
    """
    if not changes:
        return []
    for cube, _ in changes:
        if not cube.content:
            raise Gone(f"memory {cube.id!r} was purged; nothing of it is left")
        if cube.state == "frozen" and kind != "state":
            raise Conflict(f"memory {cube.id!r} is frozen; unfreeze it before you change it", param="state")
    after = [
        replace(cube, version=cube.version + 1, updated_at=tx.now, vector_state="pending", **new)
        for cube, new in changes
    ]
    changed = {
        cube.id: {name for name in new if getattr(then, name) != getattr(cube, name)}
        for (cube, new), then in zip(changes, after, strict=True)
    }

    def with_any(names: frozenset[str]) -> list[MemCube]:
        return [cube for cube in after if changed[cube.id] & names]

    _write(tx, [cube for cube, _ in changes], after, sorted(set().union(*changed.values())))
    versions.add_all(tx, after, change=kind, reason=reason)
    linked = with_any(frozenset({"entities"}))
    incidence.remove(tx, [cube.seq for cube in linked])
    incidence.add(tx, linked)
    lexical.put_many(tx.connection, [store.text_row(cube) for cube in with_any(store.LEXICAL)])
    said = with_any(frozenset({"content"}))
    if said:
        tx.connection.execute(delete(BlobRow).where(BlobRow.memory_seq.in_([cube.seq for cube in said])))
    gone = [cube for cube in with_any(frozenset({"state"})) if cube.state in GONE]
    stale = [cube.id for cube in (*said, *gone)]
    if stale:
        tx.connection.execute(
            update(ArtifactRow)
            .where(ArtifactRow.memory_id.in_(stale), ArtifactRow.state != "evicted")
            .values(state="stale")
        )
    store.enqueue(tx, after)
    return after


def _write(tx: Tx, before: Sequence[MemCube], after: Sequence[MemCube], names: Sequence[str]) -> None:
    """The rows of the memories. What one lets go of another may take, so all let go first."""
    seqs = [cube.seq for cube in before]
    found = select(MemoryRow.seq, MemoryRow.version, MemoryRow.placed).where(MemoryRow.seq.in_(seqs)).with_for_update()
    there = {row.seq: row for row in tx.connection.execute(found)}
    for cube in before:
        if there[cube.seq].version != cube.version:
            raise store.stale(store.get(tx, cube.id), cube.version)
    hashes = _hashes(tx, after, {seq for seq, row in there.items() if row.placed})
    tx.connection.execute(update(MemoryRow).where(MemoryRow.seq.in_(seqs)).values(content_hash=None))
    columns = dict.fromkeys((*names, *ALWAYS))
    statement = (
        update(MemoryRow)
        .where(MemoryRow.seq == bindparam("of_seq"), MemoryRow.version == bindparam("of_version"))
        .values({name: bindparam(f"to_{name}") for name in columns})
        .execution_options(synchronize_session=False)
    )
    values = []
    for old, new in zip(before, after, strict=True):
        given = {name: _stored(new, name) for name in columns if name not in ("content_hash", "simhash")}
        given |= {"content_hash": hashes[new.seq], "simhash": text.simhash(new.content)}
        row = {f"to_{name}": value for name, value in given.items()}
        values.append({**row, "of_seq": old.seq, "of_version": old.version})
    tx.connection.execute(statement, values)


def _hashes(tx: Tx, after: Sequence[MemCube], placed: set[int]) -> dict[int, str | None]:
    """The content hash of each. Raises `Conflict` when another live memory, or two of these, have the same."""
    seqs = [cube.seq for cube in after]
    hashes = {cube.seq: store.words_hash(cube, cube.seq in placed) if cube.state in LIVE else None for cube in after}
    wanted: dict[str, str] = {}
    for cube in after:
        hashed = hashes[cube.seq]
        if hashed is not None and wanted.setdefault(hashed, cube.id) != cube.id:
            raise _says_the_same(cube.id, wanted[hashed])
    other = select(MemoryRow.id, MemoryRow.content_hash).where(
        MemoryRow.vault_id == after[0].vault_id,
        MemoryRow.content_hash.in_(list(wanted)),
        MemoryRow.seq.not_in(seqs),
    )
    taken = tx.connection.execute(other).first()
    if taken is not None:
        raise _says_the_same(wanted[taken.content_hash], taken.id)
    return hashes


def _says_the_same(memory_id: str, other_id: str) -> Conflict:
    return Conflict(
        f"memory {memory_id!r}: {other_id!r} of the same vault already says this; edit or merge that one",
        param="content",
    )


def _stored(cube: MemCube, name: str) -> Any:
    value = getattr(cube, name)
    if name in rows.LISTS:
        return list(value)
    return dict(value) if name == "data" else value
