"""The audit: who did what in the caller's vaults, who was refused there, and what the caller did. Source: memos §3.10."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import JsonValue
from sqlalchemy import Row, select
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.answers import json_response
from api.route import Route
from api.routes.documented import Documented, answers
from api.routes.memory_answers import iso
from api.routes.memory_fields import PageSize
from memory import audit
from memory.tables import VaultRow
from memory.tx import Tx

router = APIRouter(prefix="/api/audit", tags=["audit"], route_class=Route)


class AuditLine(Documented):
    """One deed. `chain` and `hash` are there for the caller's own vaults; lines of a chain are linked by their hashes."""

    seq: int
    at: datetime
    actor: str
    context: str | None
    action: str
    object_type: str
    object_id: str
    decision: Literal["allow", "deny"]
    rule: str | None
    detail: dict[str, JsonValue]
    chain: str | None
    n: int | None
    hash: str | None
    prev_hash: str | None


class AuditLines(Documented):
    items: list[AuditLine]
    next: int | None


@router.get("", responses=answers(AuditLines))
async def list_audit(
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 100,
    cursor: Annotated[int, Query(ge=0, le=2**62, description="`next` of the page before")] = 0,
) -> Response:
    """The lines behind `cursor`, oldest first: of the caller's vaults and of the caller; of everybody for an admin."""

    def work(tx: Tx) -> tuple[list[Row[Any]], set[str]]:
        mine = tx.connection.execute(select(VaultRow.id).where(VaultRow.owner_id == actor.user_id)).scalars()
        chains = [*mine, actor.user_id]
        lines = audit.read(tx, chains=None if actor.admin else chains, after=cursor, limit=limit)
        return lines, set(chains) - {actor.user_id}

    lines, vaults = await memory.core.read(actor, work)
    following = lines[-1].seq if len(lines) == limit else None
    shown = [_line(row, whole=actor.admin or row.chain in vaults) for row in lines]
    return json_response({"items": shown, "next": following})


def _line(row: Row[Any], *, whole: bool) -> dict[str, Any]:
    # The rule and the chain of a refusal would tell whether what was asked for exists.
    return {
        "seq": row.seq,
        "at": iso(row.at),
        "actor": row.actor_id,
        "context": row.context,
        "action": row.action,
        "object_type": row.object_type,
        "object_id": row.object_id,
        "decision": row.decision,
        "rule": row.rule if whole else None,
        "detail": row.detail if whole or row.decision == "allow" else {},
        "chain": row.chain if whole else None,
        "n": row.n if whole else None,
        "hash": row.hash if whole else None,
        "prev_hash": row.prev_hash if whole else None,
    }
