"""Memories: store, list, search, merge. Source: contract §4; memos §2.4, §3.1, §3.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.errors import status_of
from api.idempotency import Idempotent
from api.preconditions import etag
from api.route import Route
from api.routes.documented import Responses, answers
from api.routes.measured import uplifts
from api.routes.memory_answers import memory_body, recall_body
from api.routes.memory_documented import Hits, MemoriesMade, MemoryBody, MemoryList, MemoryMade
from api.routes.memory_fields import PageSize, VaultQuery
from api.routes.memory_wire import AddMany, AddRequest, MergeRequest, SearchRequest
from memory.adding import Added, Wait
from memory.listing import Where
from memory.types import SemanticType, State
from runtime.errors import Conflict, InvalidInput

router = APIRouter(prefix="/api/memories", tags=["memories"], route_class=Route)
MADE: Responses = {
    **answers(MemoryMade, 404, 409, 413, 415, status=201, text="stored"),
    200: {"model": MemoryMade, "description": "the vault already has this memory; nothing was stored"},
    202: {"model": MemoryMade | MemoriesMade, "description": "stored; `job` does the rest of what was waited for"},
    207: {"model": MemoriesMade, "description": "some of the memories were not stored; each item says why"},
}
MADE[201] = {"model": MemoryMade | MemoriesMade, "description": "stored"}


@router.post("", status_code=201, responses=MADE)
async def add_memories(
    body: Annotated[AddRequest, Body()],
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
    wait: Wait | None = None,
) -> Response:
    """Store a memory, or several as `{"memories": […]}`.

    `wait` says when to answer: `committed` (it is found by id and by its words), `indexed` (also by its meaning), or
    `extracted` (also what a model draws from it). What is not done in time is a job: 202. In a batch every item has a
    status of its own, and one that was not stored has no id.
    """
    wanted = wait or body.wait or "committed"

    async def work() -> Response:
        many = isinstance(body, AddMany)
        drafts = [item.draft() for item in body.memories] if isinstance(body, AddMany) else [body.draft()]
        added = await memory.add(actor, drafts, vault=body.vault, wait=wanted)
        job = next((item.job for item in added if item.job is not None), None)
        unseen = any(item.memory is not None and not item.indexed for item in added)
        late = job is not None or (wanted != "committed" and unseen)
        return _many(added, late=late, job=job) if many else _one(added[0], late=late, job=job)

    return await once(actor.user_id, work)


@router.get("", responses=answers(MemoryList, 404))
async def list_memories(
    memory: TheMemory,
    actor: ReadsMemory,
    vault: VaultQuery = None,
    state: Annotated[list[State] | None, Query(description="default: every live one")] = None,
    semantic_type: Annotated[list[SemanticType] | None, Query()] = None,
    tag: Annotated[list[str] | None, Query(max_length=100, description="only with all of these tags")] = None,
    session_id: Annotated[str | None, Query(max_length=200)] = None,
    subject: Annotated[str | None, Query(max_length=300)] = None,
    attribute: Annotated[str | None, Query(max_length=300)] = None,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before")] = None,
) -> Response:
    """The memories of a vault, newest first."""
    where = Where(
        vault, tuple(state or ()), tuple(semantic_type or ()), tuple(tag or ()), session_id, subject, attribute
    )
    page = await memory.list(actor, where, after=cursor, limit=limit)
    measured = await uplifts(memory, actor, [cube.id for cube in page.items])
    items = [memory_body(cube, measured.get(cube.id)) for cube in page.items]
    return json_response({"items": items, "next": page.next})


@router.post("/search", responses=answers(Hits, 404, 413, 415))
async def search_memories(body: SearchRequest, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Find memories. Each hit says its score, the score and rank of every part, and why it was found."""
    recall = await memory.search(actor, body.asked())
    measured = await uplifts(memory, actor, [hit.memory.id for hit in recall.hits])
    return json_response(recall_body(recall, measured))


@router.post("/merge", responses=answers(MemoryBody, 404, 409, 410, 413, 415))
async def merge_memories(body: MergeRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent) -> Response:
    """Fold memories that say the same into one; the others stay readable as `merged`, and a restore undoes it."""

    async def work() -> Response:
        merged = await memory.merge(actor, body.ids, content=body.content, reason=body.reason)
        return json_response(memory_body(merged), headers={"ETag": etag(merged.version)})

    return await once(actor.user_id, work)


def _one(added: Added, *, late: bool, job: str | None) -> Response:
    if added.memory is None:
        raise added.error or _not_admitted(added.reasons)
    status = 202 if late else (201 if added.created else 200)
    body = {**memory_body(added.memory), "created": added.created, "admission": added.outcome, "job": job}
    headers = {"Location": f"/api/memories/{added.memory.id}", "ETag": etag(added.memory.version)}
    return json_response(body, status, headers)


def _many(added: Sequence[Added], *, late: bool, job: str | None) -> Response:
    items = [_item(index, item) for index, item in enumerate(added)]
    status = 207 if any(item["error"] for item in items) else (202 if late else 201)
    return json_response({"items": items, "next": None, "job": job}, status)


def _item(index: int, added: Added) -> dict[str, Any]:
    error = added.error or (_not_admitted(added.reasons) if added.memory is None else None)
    told = None
    if error is not None:
        param = error.param if isinstance(error, InvalidInput) else None
        told = {"code": error.code, "message": error.message, "param": param}
    return {
        "index": index,
        "status": (201 if added.created else 200) if error is None else status_of(error),
        "created": added.created,
        "admission": added.outcome,
        "memory": None if added.memory is None else memory_body(added.memory),
        "error": told,
    }


def _not_admitted(reasons: Sequence[str]) -> Conflict:
    why = "; ".join(reasons) or "admission refused it"
    return Conflict(f"the memory was not stored: {why}", param="content")
