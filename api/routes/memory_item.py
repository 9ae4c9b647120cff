"""One memory: read, edit, delete, erase, restore, move, link, transform, judge. Source: contract §4; memos §2.5, §3.4.

A change names the version that it saw (`If-Match`). Whoever was overtaken gets both versions and what differs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.both_versions import both_versions
from api.errors import PreconditionFailed, PreconditionRequired
from api.idempotency import Idempotent
from api.preconditions import IfNoneMatch, MaybeSeen, Seen, etag, is_known
from api.route import Route
from api.routes.documented import Responses, answers, problem
from api.routes.measured import uplifts
from api.routes.memory_answers import iso, memory_body, receipt_body
from api.routes.memory_documented import DeletedBody, LinkBody, MemoryBody, ReceiptBody, StaleProblem
from api.routes.memory_fields import MemoryId
from api.routes.memory_reads import difference_body
from api.routes.memory_wire import (
    EditRequest,
    LinkRequest,
    RestoreRequest,
    StateRequest,
    SupersedeRequest,
    TransformRequest,
)
from memory.service import Memory
from memory.types import Actor, MemCube, Version
from runtime.errors import Conflict, Gone, Stale

router = APIRouter(prefix="/api/memories", tags=["memories"], route_class=Route)
STALE: Responses = problem(412, StaleProblem, "it was changed since you read it")
CHANGED: Responses = {**answers(MemoryBody, 404, 409, 410, 412, 413, 415, 428), **STALE}
DELETED: Responses = {
    **answers(None, 404, 409, 410, 412, 428),
    **STALE,
    200: {"model": DeletedBody | ReceiptBody, "description": "deleted, or erased with a receipt"},
}
UNTAGGED: Responses = {**answers(MemoryBody, 404, 409, 410, 412, 413, 415), **STALE}


@router.get("/{memory_id}", responses={**answers(MemoryBody, 404, 410), 304: {"description": "you have this version"}})
async def get_memory(
    memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory, if_none_match: IfNoneMatch = None
) -> Response:
    """A memory as it is; its `ETag` is its version. One that was deleted or has expired is a 410 without content."""
    cube = await memory.get(actor, memory_id)
    if is_known(if_none_match, cube.version):
        return Response(status_code=304, headers={"ETag": etag(cube.version)})
    return await _shown(memory, actor, cube)


@router.patch("/{memory_id}", responses=CHANGED)
async def edit_memory(
    memory_id: MemoryId, body: EditRequest, seen: Seen, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Change what is given and leave the rest; the old version stays in the history."""

    async def work() -> Response:
        async with _both_versions(memory, actor, memory_id):
            return await _shown(memory, actor, await memory.edit(actor, memory_id, body.change(), expect=seen))

    return await once(actor.user_id, work)


@router.delete("/{memory_id}", responses=DELETED)
async def delete_memory(
    memory_id: MemoryId,
    seen: MaybeSeen,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
    purge: Annotated[bool, Query(description="erase it for good, with its history; needs no `If-Match`")] = False,
) -> Response:
    """Delete a memory: it is out of sight at once and erased later, or now with `purge=true`, which gives a receipt."""
    if seen is None and not purge:
        raise PreconditionRequired(
            "If-Match is missing: send the ETag of the version that you saw, so that no edit is lost", param="If-Match"
        )

    async def work() -> Response:
        if purge:
            if seen is not None:
                await _refuse_overtaken(memory, actor, memory_id, seen)
            return json_response(receipt_body(await memory.purge(actor, memory_id)))
        assert seen is not None
        async with _both_versions(memory, actor, memory_id):
            cube = await memory.delete(actor, memory_id, expect=seen)
        return json_response(_deleted(cube), headers={"ETag": etag(cube.version)})

    return await once(actor.user_id, work)


@router.post("/{memory_id}/restore", responses=CHANGED)
async def restore_memory(
    memory_id: MemoryId, body: RestoreRequest, seen: Seen, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Make an old version the next one."""

    async def work() -> Response:
        async with _both_versions(memory, actor, memory_id):
            cube = await memory.restore(actor, memory_id, body.version, expect=seen)
        return await _shown(memory, actor, cube)

    return await once(actor.user_id, work)


@router.post("/{memory_id}/state", responses=UNTAGGED)
async def move_memory(
    memory_id: MemoryId, body: StateRequest, seen: MaybeSeen, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Archive, freeze, bring back; a move that the state does not allow is a 409 that names those it does."""

    async def work() -> Response:
        async with _both_versions(memory, actor, memory_id):
            cube = await memory.move(actor, memory_id, body.event, expect=seen, reason=body.reason)
        return await _shown(memory, actor, cube)

    return await once(actor.user_id, work)


@router.post("/{memory_id}/supersede", responses=UNTAGGED)
async def supersede_memory(
    memory_id: MemoryId,
    body: SupersedeRequest,
    seen: MaybeSeen,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
) -> Response:
    """Let another memory of the vault take the place of this one, which is archived and stays readable."""

    async def work() -> Response:
        async with _both_versions(memory, actor, memory_id):
            cube = await memory.supersede(actor, memory_id, body.by, expect=seen, reason=body.reason)
        return await _shown(memory, actor, cube)

    return await once(actor.user_id, work)


@router.post("/{memory_id}/link", status_code=201, responses=answers(LinkBody, 404, 409, 413, 415, status=201))
async def link_memory(
    memory_id: MemoryId, body: LinkRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Link this memory to another; the same link again changes its weight."""

    async def work() -> Response:
        await memory.link(actor, memory_id, body.to, body.type, body.weight)
        link = {"from": memory_id, "to": body.to, "type": body.type, "weight": body.weight}
        return json_response(link, 201)

    return await once(actor.user_id, work)


@router.post("/{memory_id}/transform", responses=answers(MemoryBody, 404, 409, 410, 413, 415))
async def transform_memory(
    memory_id: MemoryId, body: TransformRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Keep the memory in another form. A text can stay a text; the other forms need a model server that can hold them."""

    async def work() -> Response:
        cube = await memory.get(actor, memory_id, verb="write")
        if body.to != cube.kind:
            raise Conflict(
                f"memory {memory_id!r} is {cube.kind!r} and cannot become {body.to!r}: the model server of this service "
                "does not let the store put KV blocks or adapters into it; use the memory as text",
                param="to",
            )
        return await _shown(memory, actor, cube)

    return await once(actor.user_id, work)


async def _shown(memory: Memory, actor: Actor, cube: MemCube) -> Response:
    measured = await uplifts(memory, actor, [cube.id])
    return json_response(memory_body(cube, measured.get(cube.id)), headers={"ETag": etag(cube.version)})


@asynccontextmanager
async def _both_versions(memory: Memory, actor: Actor, memory_id: str) -> AsyncIterator[None]:
    """Let a `Stale` carry what the caller needs to edit again."""
    try:
        yield
    except Stale as stale:
        raise PreconditionFailed(stale, await _members(memory, actor, memory_id, stale)) from stale


async def _members(memory: Memory, actor: Actor, memory_id: str, stale: Stale) -> dict[str, Any]:
    seen, current = await both_versions(memory, actor, memory_id, stale)
    diff = None
    if seen is not None and current is not None:
        diff = difference_body(memory_id, await memory.diff(actor, memory_id, seen.version, current.version))
    return {"seen": _version(seen), "current": _version(current), "diff": diff}


def _version(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "version": version.version,
        "content": None if version.redacted else version.content,
        "header": dict(version.header),
    }


async def _refuse_overtaken(memory: Memory, actor: Actor, memory_id: str, seen: int) -> None:
    try:
        cube = await memory.get(actor, memory_id, verb="delete")
    except Gone:
        return
    if cube.version != seen:
        stale = Stale(
            f"memory {memory_id!r} is at version {cube.version}, you expected {seen}; read it again",
            expected=seen,
            current=cube.version,
        )
        raise PreconditionFailed(stale, await _members(memory, actor, memory_id, stale))


def _deleted(cube: MemCube) -> dict[str, Any]:
    return {
        "id": cube.id,
        "version": cube.version,
        "state": cube.state,
        "deleted_at": iso(cube.deleted_at),
        "purge_after": iso(cube.purge_after),
    }
