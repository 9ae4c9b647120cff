"""The inbox of a vault: what a person decides. Source: contract §4; memos §2.5, §3.3."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import answers
from api.routes.memory_fields import PageSize, VaultRef, not_found
from api.routes.vault_answers import review_body
from api.routes.vault_documented import ReviewBody, ReviewList
from api.routes.vault_wire import ReviewId, ReviewRequest
from memory import access, reviews
from memory.access import Access
from memory.reviews import Review, ReviewKind, ReviewState
from memory.tables import ReviewRow
from memory.tx import Tx
from memory.vault import grants

# Below the prefix of api/routes/vaults.py.
router = APIRouter(prefix="/{vault}/reviews", tags=["reviews"], route_class=Route)


@router.get("", responses=answers(ReviewList, 404))
async def list_reviews(
    vault: VaultRef,
    memory: TheMemory,
    actor: ReadsMemory,
    kind: Annotated[list[ReviewKind] | None, Query(description="default: every kind")] = None,
    state: Annotated[list[ReviewState] | None, Query(description="default: open")] = None,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^rev_[0-9a-f]{32}$")] = None,
) -> Response:
    """What is to be decided in a vault, newest first."""

    def work(tx: Tx) -> tuple[list[Review], Access]:
        allowed = access.vault(tx, vault, "read")
        states = tuple(state or ("open",))
        found = reviews.page(
            tx, vault=allowed.vault.id, kinds=tuple(kind or ()), states=states, after=cursor, limit=limit
        )
        return found, allowed

    found, allowed = await memory.core.read(actor, work)
    await grants.count_reads(memory.core, actor, [allowed])
    following = found[-1].id if len(found) == limit else None
    return json_response({"items": [review_body(review) for review in found], "next": following})


@router.post("/{review_id}", responses=answers(ReviewBody, 404, 409, 410, 413, 415))
async def decide_review(
    vault: VaultRef,
    review_id: ReviewId,
    body: ReviewRequest,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
) -> Response:
    """Decide an open item; its memory moves in the same transaction.

    Of a conflict `accept` keeps the newcomer and `reject` the other; `dismiss` keeps both.
    """

    def decide(tx: Tx) -> Review:
        home = access.vault(tx, vault, "read").vault
        mine = select(ReviewRow.id).where(ReviewRow.id == review_id, ReviewRow.vault_id == home.id)
        if tx.connection.execute(mine).first() is None:
            raise not_found("review", review_id)
        return reviews.decide(tx, review_id, body.decision, reason=body.reason)

    async def work() -> Response:
        return json_response(review_body(await memory.core.write(actor, decide)))

    return await once(actor.user_id, work)
