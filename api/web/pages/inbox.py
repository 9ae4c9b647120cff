"""The inbox of a vault: what the store does not decide alone. Memories held back, contradictions, proposed retirements.

Source: design ui (Vaults); memos §2.5.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.memory_answers import memory_body
from api.routes.memory_fields import VaultRef
from api.routes.vault_answers import review_body, vault_body
from api.web.render import twin
from api.web.titles import still_there
from memory import reviews
from memory.reviews import ReviewKind, ReviewState
from memory.service import Memory
from memory.types import Actor

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 50
MOST: Final = 500


@router.get("/ui/vaults/{vault}/inbox")
async def inbox_page(
    request: Request,
    vault: VaultRef,
    memory: TheMemory,
    actor: ReadsMemory,
    kind: Annotated[list[ReviewKind] | None, Query()] = None,
    state: ReviewState = "open",
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^rev_[0-9a-f]{32}$")] = None,
) -> Response:
    """What is to be decided, the newest first; or what was decided."""
    shown = await memory.vaults.get(actor, vault)
    found = await memory.core.read(
        actor,
        lambda tx: reviews.page(
            tx, vault=shown.vault.id, kinds=tuple(kind or ()), states=(state,), after=cursor, limit=PAGE
        ),
    )
    items = [
        {
            **review_body(one),
            "shown": await _told(memory, actor, one.memory_id),
            "shown_other": await _told(memory, actor, one.other_id) if one.other_id else None,
        }
        for one in found
    ]
    view: dict[str, Any] = {
        "vault": vault_body(shown),
        "items": items,
        "next": found[-1].id if len(found) == PAGE else None,
    }
    return twin(
        request,
        "vault_inbox.html",
        view,
        tab="inbox",
        mine=shown.vault.owner_id == actor.user_id,
        can=shown.verbs,
        inbox=await open_count(memory, actor, shown.vault.id),
        state=state,
        kind=kind or [],
        states=get_args(ReviewState),
        kinds=get_args(ReviewKind),
        cursor=cursor,
    )


async def open_count(memory: Memory, actor: Actor, vault_id: str) -> int:
    """How many questions are open in a vault, up to `MOST`."""
    return len(await memory.core.read(actor, lambda tx: reviews.page(tx, vault=vault_id, limit=MOST)))


async def _told(memory: Memory, actor: Actor, memory_id: str) -> dict[str, Any] | None:
    cube = await still_there(memory, actor, memory_id)
    return None if cube is None else memory_body(cube)
