"""Who did what, and who was refused: append-only, and linked by hashes so that a change in the past shows.

There is one chain for each vault, and one for each user about what has no vault; the row of its head is the lock that
keeps it one line when many write. Rows never hold the text of a memory. Source: memos §2.2, §3.10; ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from memory.tables import AuditHead, AuditRow
from memory.tx import Tx

Decision = Literal["allow", "deny"]
GENESIS = "0" * 64
MAX_OBJECT = 200
# Made once: every change of the store writes a line, and building a statement takes longer than the database does.
APPEND: Final = insert(AuditRow)
HEAD: Final = select(AuditHead.n, AuditHead.hash).where(AuditHead.chain == bindparam("of")).with_for_update()
MOVE: Final = update(AuditHead).where(AuditHead.chain == bindparam("of"))


def record(
    tx: Tx,
    action: str,
    object_type: str,
    object_id: str,
    *,
    chain: str,
    decision: Decision = "allow",
    rule: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append one line to the chain, in the transaction of what it tells."""
    n, prev = _lock_head(tx, chain)
    row: dict[str, Any] = {
        "chain": chain,
        "n": n + 1,
        "at": tx.now,
        "actor_id": tx.actor.user_id,
        "context": tx.actor.context,
        "action": action,
        "object_type": object_type,
        "object_id": object_id[:MAX_OBJECT],
        "decision": decision,
        "rule": rule,
        "detail": dict(detail or {}),
        "prev_hash": prev,
    }
    row["hash"] = _hash(row)
    tx.connection.execute(APPEND, row)
    tx.connection.execute(MOVE, {"of": chain, "n": n + 1, "hash": row["hash"]})


def verify(tx: Tx, chain: str) -> int | None:
    """The number of the first line that was tampered with or is missing; None when the chain is whole."""
    prev, n = GENESIS, 0
    rows = tx.connection.execute(select(AuditRow.__table__).where(AuditRow.chain == chain).order_by(AuditRow.n))
    for row in rows:
        if row.n != n + 1 or row.prev_hash != prev or row.hash != _hash(dict(row._mapping)):
            return n + 1
        prev, n = row.hash, row.n
    head = tx.connection.execute(select(AuditHead.n, AuditHead.hash).where(AuditHead.chain == chain)).one_or_none()
    there = (0, GENESIS) if head is None else (head.n, head.hash)
    return None if there == (n, prev) else n + 1


def read(tx: Tx, *, chains: list[str] | None, after: int, limit: int) -> list[Row[Any]]:
    """Lines behind `after`, oldest first; of the given chains and of the actor's own deeds, or of all (None)."""
    query = select(AuditRow.__table__).where(AuditRow.seq > after).order_by(AuditRow.seq).limit(limit)
    if chains is not None:
        query = query.where(AuditRow.chain.in_(chains) | (AuditRow.actor_id == tx.actor.user_id))
    return list(tx.connection.execute(query))


def _lock_head(tx: Tx, chain: str) -> tuple[int, str]:
    head = tx.connection.execute(HEAD, {"of": chain}).one_or_none()
    if head is None:
        make = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
        tx.connection.execute(make(AuditHead).values(chain=chain, n=0, hash=GENESIS).on_conflict_do_nothing())
        head = tx.connection.execute(HEAD, {"of": chain}).one()
    return head.n, head.hash


def _hash(row: Mapping[str, Any]) -> str:
    told = {name: row[name] for name in ("chain", "n", "actor_id", "context", "action", "object_type", "object_id")}
    told |= {name: row[name] for name in ("decision", "rule", "detail", "prev_hash")}
    told["at"] = row["at"].isoformat()
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
