"""The inbox of a person: what the store does not decide alone.

Three kinds of items: a memory in `quarantine`, a `conflict` of two memories that could not be fused, and a proposed
`retirement` of one that does not help. One open item stands for each question; deciding it moves the memory and closes
the item in the same transaction. Items whose question has gone are withdrawn. Source: memos §2.5, §3.3 (5, 6); ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import JsonValue
from sqlalchemy import Row, insert, or_, select, update

from memory import access, audit, store
from memory.tables import MemoryRow, ReviewRow, VaultRow
from memory.tx import Tx
from memory.types import MemCube
from runtime.errors import Conflict, InvalidInput, UnknownName

ReviewKind = Literal["quarantine", "conflict", "retirement"]
ReviewState = Literal["open", "accepted", "rejected", "dismissed", "withdrawn"]
Decision = Literal["accept", "reject", "dismiss"]

DECIDED: Final[Mapping[Decision, ReviewState]] = {"accept": "accepted", "reject": "rejected", "dismiss": "dismissed"}
# In which states a memory still raises the question.
ASKING: Final[Mapping[ReviewKind, frozenset[str]]] = {
    "quarantine": frozenset({"quarantined"}),
    "conflict": frozenset({"generated", "activated", "frozen"}),
    "retirement": frozenset({"activated"}),
}
MAX_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Review:
    """One item. For a conflict `memory_id` is the newcomer and `other_id` the one it contradicts."""

    id: str
    vault_id: str
    kind: ReviewKind
    memory_id: str
    other_id: str | None
    reason: str
    evidence: Mapping[str, JsonValue]
    state: ReviewState
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


def ask(
    tx: Tx,
    review_id: str,
    kind: ReviewKind,
    cube: MemCube,
    reason: str,
    *,
    other_id: str | None = None,
    evidence: Mapping[str, JsonValue] | None = None,
) -> Review:
    """Put a question into the inbox of the memory's vault; one that is open already stays as it is and is returned."""
    query = select(ReviewRow.__table__).where(
        ReviewRow.memory_id == cube.id, ReviewRow.kind == kind, ReviewRow.state == "open"
    )
    query = query.where(ReviewRow.other_id.is_(None) if other_id is None else ReviewRow.other_id == other_id)
    there = tx.connection.execute(query).first()
    if there is not None:
        return _review(there)
    row: dict[str, Any] = {
        "id": review_id,
        "vault_id": cube.vault_id,
        "kind": kind,
        "memory_id": cube.id,
        "other_id": other_id,
        "reason": reason,
        "evidence": dict(evidence or {}),
        "state": "open",
        "created_at": tx.now,
        "decided_at": None,
        "decided_by": None,
    }
    tx.connection.execute(insert(ReviewRow).values(row))
    return Review(**row)


def page(
    tx: Tx,
    *,
    vault: str | None = None,
    kinds: Sequence[ReviewKind] = (),
    states: Sequence[ReviewState] = ("open",),
    after: str | None = None,
    limit: int = 50,
) -> list[Review]:
    """Items of a vault that the actor may read (of all vaults they own without one), the newest first, older than `after`.

    Items about a memory that is masked for the actor are left out. Raises as `access.vault` does.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
    query = select(ReviewRow.__table__, MemoryRow.sensitivity).join(MemoryRow, MemoryRow.id == ReviewRow.memory_id)
    allowed = None if vault is None else access.vault(tx, vault, "read")
    if allowed is None:
        query = query.join(VaultRow, VaultRow.id == ReviewRow.vault_id).where(VaultRow.owner_id == tx.actor.user_id)
    else:
        query = query.where(ReviewRow.vault_id == allowed.vault.id)
    if kinds:
        query = query.where(ReviewRow.kind.in_(kinds))
    if states:
        query = query.where(ReviewRow.state.in_(states))
    if after is not None:
        query = query.where(ReviewRow.id < after)
    found = tx.connection.execute(query.order_by(ReviewRow.id.desc()).limit(limit))
    return [_review(row) for row in found if allowed is None or allowed.sees(row.sensitivity)]


def get(tx: Tx, review_id: str) -> Review:
    """An item, if the actor may read its memory. Raises `UnknownName`."""
    row = tx.connection.execute(select(ReviewRow.__table__).where(ReviewRow.id == review_id)).one_or_none()
    if row is None:
        raise UnknownName(f"review {review_id!r}: not found; check the id")
    access.memory(tx, row.memory_id, "read")
    return _review(row)


def decide(tx: Tx, review_id: str, decision: Decision, *, reason: str = "") -> Review:
    """Decide an open item. Raises `Conflict` when it is decided, or when its memory does not allow the move any more.

    - quarantine: accept → in use, reject → deleted.
    - conflict: accept → the newcomer takes the place of the other one, reject → the other way round, dismiss → both stay.
    - retirement: accept → archived, reject or dismiss → it stays.
    """
    review = get(tx, review_id)
    cube, allowed = access.memory(tx, review.memory_id, "write")
    if decision not in DECIDED:
        raise InvalidInput(f"decision {decision!r}: expected one of {', '.join(DECIDED)}", param="decision")
    if review.kind == "quarantine" and decision == "dismiss":
        raise InvalidInput("decision 'dismiss': a memory in quarantine is accepted or rejected", param="decision")
    closed = tx.connection.execute(
        update(ReviewRow)
        .where(ReviewRow.id == review_id, ReviewRow.state == "open")
        .values(state=DECIDED[decision], decided_at=tx.now, decided_by=tx.actor.user_id)
    )
    if closed.rowcount != 1:
        raise Conflict(f"review {review_id!r} was {review.state} before; nothing is left to decide", param="state")
    _apply(tx, review, cube, decision, reason or review.reason)
    audit.record(
        tx,
        "review",
        "memory",
        cube.id,
        chain=cube.vault_id,
        rule=allowed.rule,
        detail={"review": review_id, "kind": review.kind, "decision": decision},
    )
    return get(tx, review_id)


def withdraw(tx: Tx, memory_id: str) -> int:
    """Close the open items about a memory, because their question has gone; how many there were."""
    return tx.connection.execute(
        update(ReviewRow)
        .where(or_(ReviewRow.memory_id == memory_id, ReviewRow.other_id == memory_id), ReviewRow.state == "open")
        .values(state="withdrawn", decided_at=tx.now, decided_by=tx.actor.user_id)
    ).rowcount


def withdraw_answered(tx: Tx) -> int:
    """Close every open item whose memory is in a state that does not ask any more."""
    count = 0
    for kind, states in ASKING.items():
        settled = select(MemoryRow.id).where(MemoryRow.id == ReviewRow.memory_id, MemoryRow.state.not_in(states))
        count += tx.connection.execute(
            update(ReviewRow)
            .where(ReviewRow.kind == kind, ReviewRow.state == "open", settled.exists())
            .values(state="withdrawn", decided_at=tx.now, decided_by=tx.actor.user_id)
        ).rowcount
    return count


def unasked(tx: Tx, limit: int) -> list[str]:
    """Memories in quarantine that no open item asks about."""
    asked = select(ReviewRow.id).where(
        ReviewRow.memory_id == MemoryRow.id, ReviewRow.kind == "quarantine", ReviewRow.state == "open"
    )
    query = select(MemoryRow.id).where(MemoryRow.state == "quarantined", ~asked.exists()).order_by(MemoryRow.seq)
    return list(tx.connection.execute(query.limit(limit)).scalars())


def _apply(tx: Tx, review: Review, cube: MemCube, decision: Decision, reason: str) -> None:
    if review.kind == "quarantine":
        store.move(tx, cube, "approve" if decision == "accept" else "reject", reason=reason)
    elif review.kind == "retirement" and decision == "accept":
        store.move(tx, cube, "archive", reason=reason)
    elif review.kind == "conflict" and decision != "dismiss" and review.other_id is not None:
        other, _ = access.memory(tx, review.other_id, "write")
        old, new = (other, cube) if decision == "accept" else (cube, other)
        store.supersede(tx, old, new, reason=reason)


def _review(row: Row[Any]) -> Review:
    return Review(**{item.name: getattr(row, item.name) for item in fields(Review)})
