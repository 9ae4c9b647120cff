"""Vaults: made, changed, shared, seen together, copied, erased. `router` holds what lies below a vault as well.

Source: contract §4; memos §2.4, §3.9, §3.10.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.errors import PreconditionFailed
from api.idempotency import Idempotent
from api.preconditions import IfNoneMatch, Seen, etag, is_known
from api.route import Route
from api.routes import reviews, vault_branches, vault_ranking, vault_snapshots
from api.routes.documented import Responses, answers, problem
from api.routes.memory_answers import memory_body
from api.routes.memory_documented import MemoryList
from api.routes.memory_fields import PageSize, VaultRef
from api.routes.vault_answers import erased_body, grant_body, moved_body, vault_body
from api.routes.vault_documented import (
    GrantBody,
    GrantList,
    MigratedBody,
    Revoked,
    VaultBody,
    VaultErased,
    VaultList,
    VaultStale,
)
from api.routes.vault_wire import (
    ComposeRequest,
    FuseRequest,
    GrantId,
    GrantRequest,
    MigrateRequest,
    VaultEdit,
    VaultRequest,
)
from memory.service import Memory
from memory.types import Actor
from memory.vault.migrating import Moved
from memory.vault.vaults import Shown
from runtime.errors import Stale, UnknownName

router = APIRouter(prefix="/api/vaults", tags=["vaults"], route_class=Route)
STALE: Final = problem(412, VaultStale, "it was changed since you read it; `current` is what it is now")
CHANGED: Final[Responses] = {**answers(VaultBody, 404, 409, 412, 413, 415, 428), **STALE}
ERASED: Final[Responses] = {
    **answers(VaultErased, 404, 409, 412, 428, 429),
    **STALE,
    202: {"model": VaultErased, "description": "out of sight or locked; `job` erases the memories"},
}
MIGRATED: Final[Responses] = {
    **answers(MigratedBody, 404, 409, 413, 415, 429),
    202: {"model": MigratedBody, "description": "`job` copies the memories"},
}


@router.get("", responses=answers(VaultList))
async def list_vaults(
    memory: TheMemory,
    actor: ReadsMemory,
    limit: PageSize = 50,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^vlt_[0-9a-f]{32}$")] = None,
) -> Response:
    """Your vaults and those that were granted to you, oldest first."""
    found = await memory.vaults.list(actor, after=cursor, limit=limit)
    following = found[-1].vault.id if len(found) == limit else None
    return json_response({"items": [vault_body(shown) for shown in found], "next": following})


@router.post("", status_code=201, responses=answers(VaultBody, 409, 413, 415, status=201, text="made"))
async def create_vault(body: VaultRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent) -> Response:
    """Make a vault. A name is given once by each user."""

    async def work() -> Response:
        shown = await memory.vaults.create(actor, body.name, **body.given())
        return _shown(shown, 201, {"Location": f"/api/vaults/{shown.vault.id}"})

    return await once(actor.user_id, work)


@router.post("/compose", responses=answers(MemoryList, 404, 413, 415))
async def compose_vaults(body: ComposeRequest, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Several vaults seen as one. Where two say something about the same attribute of the same subject, the nearer wins."""
    page = await memory.vaults.compose(actor, body.vaults, after=body.cursor, limit=body.limit)
    return json_response({"items": [memory_body(cube) for cube in page.items], "next": page.next})


@router.get("/{vault}", responses={**answers(VaultBody, 404), 304: {"description": "you have this version"}})
async def get_vault(
    vault: VaultRef, memory: TheMemory, actor: ReadsMemory, if_none_match: IfNoneMatch = None
) -> Response:
    """A vault; its `ETag` is its version."""
    shown = await memory.vaults.get(actor, vault)
    if is_known(if_none_match, shown.vault.version):
        return Response(status_code=304, headers={"ETag": etag(shown.vault.version)})
    return _shown(shown)


@router.patch("/{vault}", responses=CHANGED)
async def edit_vault(
    vault: VaultRef, body: VaultEdit, seen: Seen, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Change what is given and leave the rest. Only the owner may."""

    async def work() -> Response:
        async with _with_current(memory, actor, vault):
            return _shown(await memory.vaults.edit(actor, vault, body.changes(), expect=seen))

    return await once(actor.user_id, work)


@router.delete("/{vault}", responses=ERASED)
async def delete_vault(
    vault: VaultRef,
    seen: Seen,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
    only_contents: Annotated[bool, Query(description="erase what is in it, and keep the vault and its grants")] = False,
) -> Response:
    """Erase a vault and everything in it, for good. `default` can only be emptied. Only the owner may."""

    async def work() -> Response:
        async with _with_current(memory, actor, vault):
            erase = memory.vaults.empty if only_contents else memory.vaults.delete
            told = await erase(actor, vault, expect=seen)
        return json_response(erased_body(told), *_accepted(told.job_id))

    return await once(actor.user_id, work)


@router.get("/{vault}/grants", responses=answers(GrantList, 404))
async def list_grants(vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The grants of a vault, oldest first; for whoever may share but does not own it, those they have or gave."""
    found = await memory.vaults.grants.list(actor, vault)
    return json_response({"items": [grant_body(given) for given in found], "next": None})


@router.post("/{vault}/grants", status_code=201, responses=answers(GrantBody, 404, 409, 413, 415, status=201))
async def give_grant(
    vault: VaultRef, body: GrantRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Let a user do something in the vault. Nobody gives more than they have."""

    async def work() -> Response:
        return json_response(grant_body(await memory.vaults.grants.give(actor, vault, body.terms())), 201)

    return await once(actor.user_id, work)


@router.delete("/{vault}/grants/{grant_id}", responses=answers(Revoked, 404, 409))
async def revoke_grant(
    vault: VaultRef, grant_id: GrantId, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """End a grant, and with it what was given on its strength."""

    async def work() -> Response:
        return json_response({"revoked": list(await memory.vaults.grants.revoke(actor, vault, grant_id))})

    return await once(actor.user_id, work)


@router.post("/{vault}/migrate", responses=MIGRATED)
async def migrate_vault(
    vault: VaultRef, body: MigrateRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Copy memories into another vault, with new ids that lead back to the old ones."""

    async def work() -> Response:
        return _moved(await memory.vaults.migrate(actor, vault, body.to, ids=body.ids))

    return await once(actor.user_id, work)


@router.post("/{vault}/fuse", responses=MIGRATED)
async def fuse_vaults(
    vault: VaultRef, body: FuseRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Make one vault of two: copy, and merge what says the same. What either hides stays hidden, and the grants of the
    target that do not hold for both vaults end. Only the owner of the target may."""

    async def work() -> Response:
        return _moved(await memory.vaults.fuse(actor, vault, body.to))

    return await once(actor.user_id, work)


def _shown(shown: Shown, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_response(vault_body(shown), status, {"ETag": etag(shown.vault.version), **(headers or {})})


def _moved(moved: Moved) -> Response:
    return json_response(moved_body(moved), *_accepted(moved.job_id))


def _accepted(job_id: str | None) -> tuple[int, dict[str, str]]:
    return (200, {}) if job_id is None else (202, {"Location": f"/api/jobs/{job_id}"})


@asynccontextmanager
async def _with_current(memory: Memory, actor: Actor, vault: str) -> AsyncIterator[None]:
    """Let a `Stale` carry the vault as it is."""
    try:
        yield
    except Stale as stale:
        members: dict[str, Any] = {"current": None}
        # It may have been deleted meanwhile.
        with suppress(UnknownName):
            members["current"] = vault_body(await memory.vaults.get(actor, vault))
        raise PreconditionFailed(stale, members) from stale


for _part in (vault_snapshots.router, vault_branches.router, vault_ranking.router, reviews.router):
    router.include_router(_part)
