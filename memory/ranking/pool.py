"""The candidates of one search, read from SQL: rows that the indexes named, what stands around the best of them, and
their vectors. Source: memos §3.2 (3); design storage §4b, §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import Row

from memory import rows, versions
from memory.codecs.blob import FORMAT
from memory.indices.base import Vector
from memory.ranking import statements
from memory.ranking.candidates import Candidate
from memory.ranking.scope import Scope
from memory.ranking.smoothing import Floats
from memory.ranking.statements import Key, listed
from memory.ranking.words import occurrences
from memory.tx import Tx
from memory.types import MemCube
from runtime import textsafe

EMPTY: Final = "[]"


def by_seq(tx: Tx, scope: Scope, seqs: Sequence[int]) -> list[Candidate]:
    """The memories with these short keys that the scope leaves, in the order of the keys."""
    found = {each.seq: each for each in _read(tx, scope, "seq", seqs)}
    return [found[seq] for seq in seqs if seq in found]


def by_id(tx: Tx, scope: Scope, ids: Sequence[str]) -> list[Candidate]:
    """The same, by id."""
    found = {each.id: each for each in _read(tx, scope, "id", ids)}
    return [found[memory_id] for memory_id in ids if memory_id in found]


def around(tx: Tx, scope: Scope, seeds: Sequence[Candidate]) -> list[Candidate]:
    """What stands at most `AROUND` places from these candidates in their sessions, they themselves included."""
    seqs = list(dict.fromkeys(each.seq for each in seeds if each.place is not None))
    if not seqs:
        return []
    statement = statements.around(tx.dialect, scope.shape)
    found = tx.connection.execute(statement, scope.parameters(tx.dialect, keys=listed(tx.dialect, seqs))).all()
    if scope.query.as_of is not None:
        return by_seq(tx, scope, list(dict.fromkeys(row.seq for row in found)))
    return list({each.seq: each for each in _candidates(found, scope)}.values())


def edited_since(tx: Tx, scope: Scope, terms: Sequence[str], limit: int) -> list[str]:
    """Ids of memories whose text was another one at `as_of`, and that text has some of the terms; most terms first.

    The full text knows current texts only, so this reads old ones, a bounded number of them.
    """
    if scope.query.as_of is None or not terms:
        return []
    statement = statements.old_texts(tx.dialect, scope.shape)
    found = tx.connection.execute(statement, scope.parameters(tx.dialect)).all()
    matched = (occurrences([row.content for row in found], terms).counts > 0).sum(axis=1)
    order = np.argsort(-matched, kind="stable")[:limit]
    return [found[int(place)].memory_id for place in order if matched[place]]


def cosines(tx: Tx, profile_id: str, candidates: Sequence[Candidate], vector: Vector) -> Floats:
    """The similarity of each candidate to the unit vector; NaN for one that has no vector of this profile yet."""
    place = {each.seq: row for row, each in enumerate(candidates)}
    made = np.full(len(candidates), np.nan, np.float32)
    size = len(vector) * FORMAT.itemsize
    given = {"profile": profile_id, "keys": listed(tx.dialect, list(place))}
    found = tx.connection.execute(statements.vectors(tx.dialect), given).all()
    whole = [(place[seq], data) for seq, data in found if len(data) == size]
    if whole:
        joined = np.frombuffer(b"".join([data for _, data in whole]), FORMAT).reshape(len(whole), -1)
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


def _read(tx: Tx, scope: Scope, key: Key, keys: Sequence[Any]) -> Iterable[Candidate]:
    if not keys:
        return []
    given = scope.parameters(tx.dialect, keys=listed(tx.dialect, keys))
    if scope.query.as_of is None:
        statement = statements.candidates(tx.dialect, key, scope.shape)
        return _candidates(tx.connection.execute(statement, given).all(), scope)
    read = tx.connection.execute(statements.whole(tx.dialect, key, scope.shape), given).all()
    cubes = {row.id: rows.cube(row, tx.now) for row in read}
    return map(_of_cube, as_they_were(tx, scope, cubes))


def _candidates(found: Iterable[Row[*tuple[Any, ...]]], scope: Scope) -> Iterable[Candidate]:
    tagged = set(scope.query.tags)
    for row in found:
        # Unpacked, because asking a row for a column by name costs more than reading it.
        seq, memory_id, vault_id, content, title, subject, attribute, speaker, *more = tuple(row)
        session, position, priority, happened, valid_from, entities, tags, sensitivity = more
        if sensitivity != EMPTY and not scope.may_read(vault_id, textsafe.loads(sensitivity)):
            continue
        if tagged and tagged.isdisjoint(textsafe.loads(tags)):
            continue
        names = [name for name in (title, subject, attribute) if name]
        names += [_text(listed) for listed in (entities, tags) if listed != EMPTY]
        place = None if session is None or position is None else (vault_id, session, position)
        linked = entities != EMPTY
        named = "\n".join(names) if names else ""
        happened = happened or valid_from
        yield Candidate(memory_id, seq, content, named, speaker, place, happened, priority, linked, vault_id)


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
