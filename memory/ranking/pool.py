"""The candidates of one search, read from SQL: rows that the indexes named, what stands around the best of them, and
their vectors. Source: memos §3.2 (3); design storage §4b, §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Row, select, type_coerce
from sqlalchemy.orm import aliased
from sqlalchemy.types import Text

from memory import rows, versions
from memory.codecs.blob import FORMAT
from memory.indices.base import Vector
from memory.ranking.candidates import Candidate
from memory.ranking.scope import Scope
from memory.ranking.smoothing import Floats
from memory.ranking.words import occurrences
from memory.tables import BlobRow, MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import MemCube
from runtime import textsafe

EMPTY: Final = "[]"
PLAIN: Final = (
    "seq",
    "id",
    "vault_id",
    "content",
    "title",
    "subject",
    "attribute",
    "speaker",
    "session_id",
    "position",
    "priority",
    "occurred_at",
    "valid_from",
)
LISTS: Final = ("entities", "tags", "sensitivity")
AROUND: Final = 2
OLD_TEXTS: Final = 2000


def by_seq(tx: Tx, scope: Scope, seqs: Sequence[int]) -> list[Candidate]:
    """The memories with these short keys that the scope leaves, in the order of the keys."""
    found = {each.seq: each for each in _read(tx, scope, MemoryRow.seq, seqs)}
    return [found[seq] for seq in seqs if seq in found]


def by_id(tx: Tx, scope: Scope, ids: Sequence[str]) -> list[Candidate]:
    """The same, by id."""
    found = {each.id: each for each in _read(tx, scope, MemoryRow.id, ids)}
    return [found[memory_id] for memory_id in ids if memory_id in found]


def around(tx: Tx, scope: Scope, seqs: Sequence[int]) -> list[Candidate]:
    """What stands at most `AROUND` places from these memories in their sessions, they themselves included."""
    if not seqs:
        return []
    seed = aliased(MemoryRow)
    beside = (
        seed.seq.in_(seqs)
        & (MemoryRow.vault_id == seed.vault_id)
        & (MemoryRow.session_id == seed.session_id)
        & MemoryRow.position.between(seed.position - AROUND, seed.position + AROUND)
    )
    if scope.query.as_of is not None:
        wanted = tx.connection.execute(select(MemoryRow.seq).join(seed, beside).where(*scope.clauses())).scalars()
        return by_seq(tx, scope, list(dict.fromkeys(wanted)))
    found = tx.connection.execute(select(*_columns()).join(seed, beside).where(*scope.clauses()))
    return list({each.seq: each for each in _candidates(found, scope)}.values())


def edited_since(tx: Tx, scope: Scope, terms: Sequence[str], limit: int) -> list[str]:
    """Ids of memories whose text was another one at `as_of`, and that text has some of the terms; most terms first.

    The full text knows current texts only, so this reads old ones: at most `OLD_TEXTS`, those replaced last.
    """
    moment = scope.query.as_of
    if moment is None or not terms:
        return []
    query = (
        select(VersionRow.memory_id, VersionRow.content)
        .join(MemoryRow, MemoryRow.id == VersionRow.memory_id)
        .where(*scope.clauses(), VersionRow.sys_from <= moment, VersionRow.sys_to > moment)
        .where(VersionRow.redacted.is_(False), VersionRow.content != MemoryRow.content)
        .order_by(VersionRow.sys_to.desc(), VersionRow.memory_id)
        .limit(OLD_TEXTS)
    )
    found = tx.connection.execute(query).all()
    matched = (occurrences([row.content for row in found], terms).counts > 0).sum(axis=1)
    order = np.argsort(-matched, kind="stable")[:limit]
    return [found[int(place)].memory_id for place in order if matched[place]]


def cosines(tx: Tx, profile_id: str, candidates: Sequence[Candidate], vector: Vector) -> Floats:
    """The similarity of each candidate to the unit vector; NaN for one that has no vector of this profile yet."""
    place = {each.seq: row for row, each in enumerate(candidates)}
    made = np.full(len(candidates), np.nan, np.float32)
    size = len(vector) * FORMAT.itemsize
    for part in _parts(list(place)):
        query = select(BlobRow.memory_seq, BlobRow.data).where(BlobRow.profile_id == profile_id)
        found = tx.connection.execute(query.where(BlobRow.memory_seq.in_(part))).all()
        whole = [(place[seq], data) for seq, data in found if len(data) == size]
        if whole:
            joined = np.frombuffer(b"".join(data for _, data in whole), FORMAT).reshape(len(whole), -1)
            made[[row for row, _ in whole]] = joined.astype(np.float32) @ vector
    return made


def as_they_were(tx: Tx, scope: Scope, cubes: Mapping[Any, MemCube]) -> list[MemCube]:
    """The memories that the scope shows, in the version that it looks at."""
    moment = scope.query.as_of
    if moment is None:
        return [cube for cube in cubes.values() if scope.sees(cube)]
    then = versions.as_of(tx, list(cubes.values()), moment)
    known = [cube for cube in cubes.values() if cube.id in then]
    return [then[cube.id] for cube in known if scope.sees(cube, then[cube.id])]


def _read(tx: Tx, scope: Scope, column: Any, keys: Sequence[Any]) -> Iterable[Candidate]:
    for part in _parts(keys):
        if scope.query.as_of is None:
            yield from _candidates(
                tx.connection.execute(select(*_columns()).where(column.in_(part), *scope.clauses())), scope
            )
        else:
            read = tx.connection.execute(rows.SELECT.where(column.in_(part), *scope.clauses()))
            cubes = {row.id: rows.cube(row, tx.now) for row in read}
            yield from map(_of_cube, as_they_were(tx, scope, cubes))


def _parts(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (keys[start : start + rows.IN_ONE_QUERY] for start in range(0, len(keys), rows.IN_ONE_QUERY))


def _columns() -> Sequence[ColumnElement[Any]]:
    table = MemoryRow.__table__.columns
    # Lists stay text: most are empty, and to look for words in one it need not be parsed.
    return [table[name] for name in PLAIN] + [type_coerce(table[name], Text).label(name) for name in LISTS]


def _candidates(found: Iterable[Row[Any]], scope: Scope) -> Iterable[Candidate]:
    for row in found:
        if row.sensitivity != EMPTY and not scope.may_read(row.vault_id, textsafe.loads(row.sensitivity)):
            continue
        if scope.query.tags and not set(scope.query.tags).intersection(textsafe.loads(row.tags)):
            continue
        named = [row.title, row.subject, row.attribute]
        named += [_text(listed) for listed in (row.entities, row.tags) if listed != EMPTY]
        placed = row.session_id is not None and row.position is not None
        yield Candidate(
            row.id,
            row.seq,
            row.content,
            "\n".join(name for name in named if name),
            row.speaker,
            (row.vault_id, row.session_id, row.position) if placed else None,
            row.occurred_at or row.valid_from,
            row.priority,
            row.entities != EMPTY,
            row.vault_id,
        )


def _text(listed: str) -> str:
    return " ".join(textsafe.loads(listed)) if listed.startswith(textsafe.SLOW) or "\\" in listed else listed


def _of_cube(cube: MemCube) -> Candidate:
    named = (cube.title, cube.subject, cube.attribute, *cube.entities, *cube.tags)
    place = None
    if cube.session_id is not None and cube.position is not None:
        place = (cube.vault_id, cube.session_id, cube.position)
    return Candidate(
        cube.id,
        cube.seq,
        cube.content,
        "\n".join(name for name in named if name),
        cube.speaker,
        place,
        cube.occurred_at or cube.valid_from,
        cube.priority,
        bool(cube.entities),
        cube.vault_id,
    )
