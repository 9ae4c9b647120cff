"""Snapshots of a vault, and going back to one. Source: contract §4; memos §3.5."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import Responses, answers
from api.routes.memory_fields import PageSize, VaultRef
from api.routes.vault_answers import difference_body, item_body, rolled_body, snapshot_body
from api.routes.vault_documented import RolledBack, SnapshotBody, SnapshotDiff, SnapshotList, SnapshotShown
from api.routes.vault_wire import RollbackRequest, SnapshotId, SnapshotRequest

# Below the prefix of api/routes/vaults.py.
router = APIRouter(prefix="/{vault}", route_class=Route)
ROLLED: Final[Responses] = {
    **answers(RolledBack, 404, 409, 413, 415, 429),
    202: {"model": RolledBack, "description": "the vault is locked; `job` takes it back"},
}
ItemCursor = Annotated[
    str, Query(max_length=100, pattern=r"^(mem_[0-9a-f]{32})?$", description="`next` of the page before")
]


@router.get("/snapshots", responses=answers(SnapshotList, 404))
async def list_snapshots(
    vault: VaultRef,
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^snp_[0-9a-f]{32}$")] = None,
) -> Response:
    """The snapshots of a vault, newest first."""
    found = await memory.vaults.snapshots.page(actor, vault, after=cursor, limit=limit)
    following = found[-1].id if len(found) == limit else None
    return json_response({"items": [snapshot_body(snapshot) for snapshot in found], "next": following})


@router.post("/snapshots", status_code=201, responses=answers(SnapshotBody, 404, 409, 413, 415, status=201))
async def take_snapshot(
    vault: VaultRef, body: SnapshotRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Keep which version and state every memory of the vault has."""

    async def work() -> Response:
        snapshot = await memory.vaults.snapshots.take(actor, vault, body.label)
        location = f"/api/vaults/{snapshot.vault_id}/snapshots/{snapshot.id}"
        return json_response(snapshot_body(snapshot), 201, {"Location": location})

    return await once(actor.user_id, work)


@router.get("/snapshots/{snapshot_id}", responses=answers(SnapshotShown, 404))
async def get_snapshot(
    vault: VaultRef,
    snapshot_id: SnapshotId,
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 50,
    cursor: ItemCursor = "",
) -> Response:
    """A snapshot, with its memories by id."""
    snapshot, items = await memory.vaults.snapshots.show(actor, vault, snapshot_id, after=cursor, limit=limit)
    following = items[-1].memory_id if len(items) == limit else None
    shown = [item_body(item) for item in items]
    return json_response({**snapshot_body(snapshot), "items": shown, "next": following})


@router.delete("/snapshots/{snapshot_id}", responses=answers(SnapshotBody, 404, 409))
async def forget_snapshot(
    vault: VaultRef, snapshot_id: SnapshotId, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Take a snapshot away. Memories and their histories stay."""

    async def work() -> Response:
        return json_response(snapshot_body(await memory.vaults.snapshots.forget(actor, vault, snapshot_id)))

    return await once(actor.user_id, work)


@router.get("/snapshots/{snapshot_id}/diff", responses=answers(SnapshotDiff, 404))
async def diff_snapshot(
    vault: VaultRef,
    snapshot_id: SnapshotId,
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 50,
    cursor: ItemCursor = "",
) -> Response:
    """The memories that are not as they were, and those that came later."""
    found = await memory.vaults.snapshots.diff(actor, vault, snapshot_id, after=cursor, limit=limit)
    following = found[-1].memory_id if len(found) == limit else None
    return json_response({"items": [difference_body(each) for each in found], "next": following})


@router.post("/rollback", responses=ROLLED)
async def roll_back(
    vault: VaultRef, body: RollbackRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Take the vault back to a snapshot: what differs gets a new version, what came later is archived."""

    async def work() -> Response:
        report = await memory.vaults.rollback(actor, vault, body.snapshot)
        if report.job_id is None:
            return json_response(rolled_body(report))
        return json_response(rolled_body(report), 202, {"Location": f"/api/jobs/{report.job_id}"})

    return await once(actor.user_id, work)
