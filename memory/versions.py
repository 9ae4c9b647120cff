"""The history of a memory: every text and header that ever was current, each with the time it was, linked by hashes.

A hash covers the link before it and keyed digests of text and header. The key belongs to one memory and is destroyed
with a purge: then the texts are gone, nobody can guess them from the digests, and the chain still verifies.
Source: memos §2.2, §5 (erasure).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import JsonValue
from sqlalchemy import Row, bindparam, insert, or_, select, update

from memory import rows
from memory.tables import MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import ChangeKind, MemCube, Version
from runtime.errors import UnknownName

GENESIS = "0" * 64
TICK = timedelta(microseconds=1)


def first(cube: MemCube, key: bytes, *, actor_id: str, reason: str) -> dict[str, Any]:
    """The row of version 1, to be inserted with the memory."""
    return _row(cube, key, change="create", actor_id=actor_id, reason=reason, sys_from=cube.recorded_at, prev=GENESIS)


def linked(memory_id: str, key: bytes, history: Sequence[Version]) -> list[dict[str, Any]]:
    """The rows of a history that was made elsewhere, numbered from 1 on: as it was told, with digests under this key."""
    made: list[dict[str, Any]] = []
    for version in history:
        prev = made[-1]["hash"] if made else GENESIS
        made.append(_link(replace(version, memory_id=memory_id, prev_hash=prev), key))
    return made


def add(tx: Tx, cube: MemCube, *, change: ChangeKind, reason: str) -> None:
    """Close the version before and append the one that `cube` is; its version number is one higher."""
    add_all(tx, [cube], change=change, reason=reason)


def add_all(tx: Tx, cubes: Sequence[MemCube], *, change: ChangeKind, reason: str) -> None:
    """The same for several memories. At most `rows.IN_ONE_QUERY`."""
    if not cubes:
        return
    ids = [cube.id for cube in cubes]
    keys = select(MemoryRow.id, MemoryRow.digest_key).where(MemoryRow.id.in_(ids))
    key_of = {row.id: row.digest_key for row in tx.connection.execute(keys)}
    open_ = select(VersionRow.memory_id, VersionRow.version, VersionRow.hash, VersionRow.sys_from).where(
        VersionRow.memory_id.in_(ids), VersionRow.sys_to.is_(None)
    )
    last = {row.memory_id: row for row in tx.connection.execute(open_)}
    made = []
    for cube in cubes:
        before = last[cube.id]
        assert before.version == cube.version - 1
        # Two changes within one tick of the clock, or a clock that was set back, must not give an empty interval.
        moment = max(tx.now, before.sys_from + TICK)
        actor_id, key = tx.actor.user_id, key_of[cube.id]
        made.append(_row(cube, key, change=change, actor_id=actor_id, reason=reason, sys_from=moment, prev=before.hash))
    tx.connection.execute(
        update(VersionRow)
        .where(VersionRow.memory_id == bindparam("of_id"), VersionRow.version == bindparam("of_version"))
        .values(sys_to=bindparam("moment"))
        .execution_options(synchronize_session=False),
        [{"of_id": row["memory_id"], "of_version": row["version"] - 1, "moment": row["sys_from"]} for row in made],
    )
    tx.connection.execute(insert(VersionRow), made)


def history(tx: Tx, memory_id: str) -> list[Version]:
    """Every version, the newest first."""
    query = select(VersionRow.__table__).where(VersionRow.memory_id == memory_id).order_by(VersionRow.version.desc())
    return [_version(row) for row in tx.connection.execute(query)]


def at_version(tx: Tx, memory_id: str, version: int) -> Version:
    """One version. Raises `UnknownName`."""
    query = select(VersionRow.__table__).where(VersionRow.memory_id == memory_id, VersionRow.version == version)
    row = tx.connection.execute(query).one_or_none()
    if row is None:
        raise UnknownName(f"memory {memory_id!r}: has no version {version}; its history lists them", param="version")
    return _version(row)


def as_of(tx: Tx, cubes: Sequence[MemCube], moment: datetime) -> dict[str, MemCube]:
    """The memories as the store held them at `moment`; one that it did not know yet, or that was purged, is left out."""
    by_id = {cube.id: cube for cube in cubes}
    found: dict[str, MemCube] = {}
    ids = list(by_id)
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        query = (
            select(VersionRow.__table__)
            .where(VersionRow.memory_id.in_(ids[start : start + rows.IN_ONE_QUERY]), VersionRow.sys_from <= moment)
            .where(or_(VersionRow.sys_to.is_(None), VersionRow.sys_to > moment), VersionRow.redacted.is_(False))
        )
        for row in tx.connection.execute(query):
            found[row.memory_id] = restored(by_id[row.memory_id], _version(row))
    return found


def restored(cube: MemCube, version: Version) -> MemCube:
    """The memory as it was in that version."""
    fields = rows.fields_of(version.header)
    return replace(cube, version=version.version, content=version.content, updated_at=version.sys_from, **fields)


def redact(tx: Tx, memory_id: str) -> int:
    """Take text, header and reason out of every version; returns how many there were."""
    return tx.connection.execute(
        update(VersionRow)
        .where(VersionRow.memory_id == memory_id)
        .values(content="", header={}, reason="", redacted=True)
    ).rowcount


def verify_chain(tx: Tx, memory_id: str) -> bool:
    """Whether every link is there and none was changed; of a purged memory the texts cannot be compared any more."""
    return not broken_chains(tx, [memory_id])


def broken_chains(tx: Tx, memory_ids: Sequence[str]) -> set[str]:
    """The memories of whose history a link is missing or was changed. At most `rows.IN_ONE_QUERY` ids."""
    keys = select(MemoryRow.id, MemoryRow.digest_key).where(MemoryRow.id.in_(memory_ids))
    key_of = {row.id: row.digest_key for row in tx.connection.execute(keys)}
    query = select(VersionRow.__table__).where(VersionRow.memory_id.in_(memory_ids))
    last: dict[str, tuple[int, str]] = {}
    broken: set[str] = set()
    for row in tx.connection.execute(query.order_by(VersionRow.memory_id, VersionRow.version)):
        number, prev = last.get(row.memory_id, (0, GENESIS))
        if (row.version, row.prev_hash) != (number + 1, prev) or not _intact(row, key_of.get(row.memory_id)):
            broken.add(row.memory_id)
        last[row.memory_id] = (row.version, row.hash)
    return broken | (set(memory_ids) - last.keys())


def _intact(row: Row[Any], key: bytes | None) -> bool:
    if row.hash != _hash(dict(row._mapping)):
        return False
    if row.redacted:
        return True
    if key is None:
        return False
    return _digests(key, row.content, row.header, row.reason) == (row.content_digest, row.header_digest)


def _row(
    cube: MemCube, key: bytes, *, change: ChangeKind, actor_id: str, reason: str, sys_from: datetime, prev: str
) -> dict[str, Any]:
    header = rows.header(cube)
    return _link(
        Version(
            cube.id,
            cube.version,
            cube.content,
            header,
            change,
            actor_id,
            reason,
            sys_from,
            None,
            prev,
            "",
            redacted=False,
        ),
        key,
    )


def _link(version: Version, key: bytes) -> dict[str, Any]:
    content_digest, header_digest = _digests(key, version.content, version.header, version.reason)
    row: dict[str, Any] = {
        "memory_id": version.memory_id,
        "version": version.version,
        "content": version.content,
        "header": dict(version.header),
        "change": version.change,
        "actor_id": version.actor_id,
        "reason": version.reason,
        "sys_from": version.sys_from,
        "sys_to": version.sys_to,
        "content_digest": content_digest,
        "header_digest": header_digest,
        "prev_hash": version.prev_hash,
        "redacted": version.redacted,
    }
    row["hash"] = _hash(row)
    return row


def _digests(key: bytes, content: str, header: Mapping[str, JsonValue], reason: str) -> tuple[str, str]:
    told = orjson.dumps({"header": dict(header), "reason": reason}, option=orjson.OPT_SORT_KEYS)
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest(), hmac.new(key, told, hashlib.sha256).hexdigest()


def _hash(row: Mapping[str, Any]) -> str:
    told = [row[name] for name in ("memory_id", "version", "change", "actor_id", "content_digest", "header_digest")]
    told += [row["sys_from"].isoformat(), row["prev_hash"]]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def _version(row: Row[Any]) -> Version:
    return Version(
        row.memory_id,
        row.version,
        row.content,
        row.header,
        row.change,
        row.actor_id,
        row.reason,
        row.sys_from,
        row.sys_to,
        row.prev_hash,
        row.hash,
        row.redacted,
    )
