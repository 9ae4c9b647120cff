"""What-if branches of a vault: begun, read, edited, merged or thrown away. Source: contract §4; memos §3.5 (3).

A branch is named in the path. A change of a memory on it names the version that the memory has there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.errors import PreconditionFailed, error_response, path_of
from api.idempotency import Idempotent
from api.preconditions import Seen, etag
from api.route import Route
from api.routes.documented import Responses, answers, problem
from api.routes.memory_answers import memory_body
from api.routes.memory_documented import MemoryBody, MemoryList
from api.routes.memory_fields import MemoryId, PageSize, VaultRef
from api.routes.memory_wire import EditRequest, MemoryDraft
from api.routes.vault_answers import branch_body, clash_body, merged_body
from api.routes.vault_documented import (
    BranchBody,
    BranchDeleted,
    BranchList,
    BranchStale,
    MergedBody,
    MergeProblem,
)
from api.routes.vault_wire import BranchMerge, BranchPath, BranchRequest
from memory.service import Memory
from memory.types import Actor, MemCube
from runtime.errors import Stale, UnknownName

# Below the prefix of api/routes/vaults.py.
router = APIRouter(prefix="/{vault}", route_class=Route)
STALE: Final = problem(412, BranchStale, "it was changed on the branch since you read it; `current` is what it is now")
EDITED: Final[Responses] = {**answers(MemoryBody, 404, 409, 410, 412, 413, 415, 428), **STALE}
DELETED: Final[Responses] = {**answers(BranchDeleted, 404, 409, 410, 412, 428), **STALE}
MERGED: Final[Responses] = {
    **answers(MergedBody, 404, 409, 413, 415),
    **problem(409, MergeProblem, "nothing was merged; `conflicts` says why"),
}


@router.get("/branch", responses=answers(BranchList, 404))
async def list_branches(vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The branches of a vault, oldest first."""
    found = await memory.vaults.branches.all(actor, vault)
    return json_response({"items": [branch_body(branch) for branch in found], "next": None})


@router.post("/branch", status_code=201, responses=answers(BranchBody, 404, 409, 413, 415, status=201))
async def create_branch(
    vault: VaultRef, body: BranchRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Begin a branch from the vault as it is."""

    async def work() -> Response:
        return json_response(branch_body(await memory.vaults.branches.create(actor, vault, body.name)), 201)

    return await once(actor.user_id, work)


@router.delete("/branch/{branch}", responses=answers(BranchBody, 404, 409))
async def drop_branch(
    vault: VaultRef, branch: BranchPath, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Throw a branch away with its edits."""

    async def work() -> Response:
        return json_response(branch_body(await memory.vaults.branches.drop(actor, vault, branch)))

    return await once(actor.user_id, work)


@router.get("/branch/{branch}/memories", responses=answers(MemoryList, 404))
async def list_branch_memories(
    vault: VaultRef,
    branch: BranchPath,
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^mem_[0-9a-f]{32}$")] = None,
) -> Response:
    """The live memories as they are on the branch, newest first."""
    page = await memory.vaults.branches.page(actor, vault, branch, after=cursor, limit=limit)
    return json_response({"items": [memory_body(cube) for cube in page.items], "next": page.next})


@router.post(
    "/branch/{branch}/memories", status_code=201, responses=answers(MemoryBody, 404, 409, 413, 415, status=201)
)
async def add_branch_memory(
    vault: VaultRef, branch: BranchPath, body: MemoryDraft, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Add a memory on the branch; it gets this id on `main` when it is merged."""

    async def work() -> Response:
        return _shown(await memory.vaults.branches.add(actor, vault, branch, body.draft()), 201)

    return await once(actor.user_id, work)


@router.get("/branch/{branch}/memories/{memory_id}", responses=answers(MemoryBody, 404, 410))
async def get_branch_memory(
    vault: VaultRef, branch: BranchPath, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory
) -> Response:
    """A memory as it is on the branch; its `ETag` is its version there."""
    return _shown(await memory.vaults.branches.get(actor, vault, branch, memory_id))


@router.patch("/branch/{branch}/memories/{memory_id}", responses=EDITED)
async def edit_branch_memory(
    vault: VaultRef,
    branch: BranchPath,
    memory_id: MemoryId,
    body: EditRequest,
    seen: Seen,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
) -> Response:
    """Change a memory on the branch; `main` stays as it is."""

    async def work() -> Response:
        async with _with_current(memory, actor, vault, branch, memory_id):
            change = body.change()
            return _shown(await memory.vaults.branches.edit(actor, vault, branch, memory_id, change, expect=seen))

    return await once(actor.user_id, work)


@router.delete("/branch/{branch}/memories/{memory_id}", responses=DELETED)
async def delete_branch_memory(
    vault: VaultRef,
    branch: BranchPath,
    memory_id: MemoryId,
    seen: Seen,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
) -> Response:
    """Delete a memory on the branch; `main` keeps it until the merge."""

    async def work() -> Response:
        async with _with_current(memory, actor, vault, branch, memory_id):
            await memory.vaults.branches.delete(actor, vault, branch, memory_id, expect=seen)
        return json_response({"id": memory_id, "branch": branch, "deleted": True})

    return await once(actor.user_id, work)


@router.post("/merge", responses=MERGED)
async def merge_branch(
    request: Request, vault: VaultRef, body: BranchMerge, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Bring a branch to `main`: all of it, or nothing when `main` has changed the same memories. Then the branch is gone."""

    async def work() -> Response:
        merged = await memory.vaults.branches.merge(actor, vault, body.branch)
        if not merged.clashes:
            return json_response(merged_body(merged))
        count = len(merged.clashes)
        return error_response(
            path_of(request),
            409,
            f"branch {body.branch!r}: {count} of its memories cannot be merged; `conflicts` says why. Edit them on the "
            "branch or on main, or drop the branch",
            code="conflict",
            members={"conflicts": [clash_body(clash) for clash in merged.clashes]},
        )

    return await once(actor.user_id, work)


def _shown(cube: MemCube, status: int = 200) -> Response:
    return json_response(memory_body(cube), status, {"ETag": etag(cube.version)})


@asynccontextmanager
async def _with_current(memory: Memory, actor: Actor, vault: str, branch: str, memory_id: str) -> AsyncIterator[None]:
    """Let a `Stale` carry the memory as it is on the branch."""
    try:
        yield
    except Stale as stale:
        members: dict[str, Any] = {"current": None}
        # It may be gone, or may be written but not read.
        with suppress(UnknownName):
            members["current"] = memory_body(await memory.vaults.branches.get(actor, vault, branch, memory_id))
        raise PreconditionFailed(stale, members) from stale
