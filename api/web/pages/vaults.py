"""Vaults: which there are, and one of them: its counts and worth, what deserves a look, its past, who may use it, files.

Each tab is a URL with a twin, so that nothing is read that is not looked at. The inbox stands in inbox.py.
Source: design ui (Vaults).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.memory_answers import memory_body
from api.routes.memory_fields import VaultQuery, VaultRef
from api.routes.usefulness import vault_uses_body
from api.routes.vault_answers import branch_body, difference_body, grant_body, snapshot_body, vault_body
from api.routes.vault_ranking import ranking_body
from api.routes.vault_wire import BranchPath, SnapshotId
from api.web.pages.inbox import open_count
from api.web.render import twin
from api.web.titles import still_there, title_of
from memory.facets import facets
from memory.listing import Where
from memory.service import Memory
from memory.types import Actor, State, VaultKind, Verb
from memory.vault.contrast import contrast
from memory.vault.findings import Pair, findings
from memory.vault.vaults import Shown
from runtime.errors import UnknownName

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 50
# What of a memory can be edited on a branch and is worth being shown.
COMPARED: Final = ("content", "title", "data", "tags", "entities", "subject", "attribute", "confidence", "state")
ItemCursor = Annotated[str, Query(max_length=100, pattern=r"^(mem_[0-9a-f]{32})?$")]


@router.get("/ui/vaults")
async def vaults_page(
    request: Request,
    memory: TheMemory,
    actor: ReadsMemory,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^vlt_[0-9a-f]{32}$")] = None,
) -> Response:
    """The caller's vaults and those that were granted, with what waits in each inbox."""
    found = await memory.vaults.list(actor, after=cursor, limit=PAGE)
    items = [
        {**vault_body(shown), "inbox": await open_count(memory, actor, shown.vault.id), "mine": _mine(shown, actor)}
        for shown in found
    ]
    view: dict[str, Any] = {"items": items, "next": found[-1].vault.id if len(found) == PAGE else None}
    return twin(request, "vaults.html", view, cursor=cursor, kinds=get_args(VaultKind))


@router.get("/ui/vaults/compare")
async def compare_page(
    request: Request, memory: TheMemory, actor: ReadsMemory, a: VaultQuery = None, b: VaultQuery = None
) -> Response:
    """What two vaults have in common, and what only one of them has."""
    vaults = [shown.vault for shown in await memory.vaults.list(actor, limit=500)]
    view: dict[str, Any] = {"a": None, "b": None, "contrast": None}
    if a is not None and b is not None:
        first, second = [(await memory.vaults.get(actor, ref)) for ref in (a, b)]
        found = await contrast(memory.core, actor, first.vault.id, second.vault.id)
        view = {
            "a": vault_body(first),
            "b": vault_body(second),
            "contrast": {
                "both": found.both,
                "only_a": [memory_body(cube) for cube in found.only_first],
                "only_b": [memory_body(cube) for cube in found.only_second],
                "differ": [{"a": memory_body(one), "b": memory_body(two)} for one, two in found.differ],
                "count_a": found.count_first,
                "count_b": found.count_second,
                "count_differ": found.count_differ,
            },
        }
    return twin(request, "vaults_compare.html", view, vaults=vaults)


@router.get("/ui/vaults/{vault}")
async def vault_page(request: Request, vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """How many memories of each kind and state there are, and what they were measured to be worth."""
    shown = await memory.vaults.get(actor, vault)
    counted = await facets(memory.core, actor, Where(shown.vault.id))
    uses = vault_uses_body(await memory.usefulness.vault(actor, shown.vault.id))
    cells: dict[str, dict[str, int]] = {}
    for (semantic_type, state), count in counted.cells.items():
        cells.setdefault(semantic_type, {})[state] = count
    view: dict[str, Any] = {
        "vault": vault_body(shown),
        "counts": cells,
        "usefulness": uses,
        "ranking": ranking_body(await memory.teaching.learned(actor, shown.vault.id)),
    }
    states = [state for state in get_args(State) if any(state in row for row in cells.values())]
    ends = [abs(one["mean"]) + 2 * one["sd"] for one in uses["helped"] + uses["hurt"]]
    lifts = [abs(one[name] or 0) for one in uses["lift"] for name in ("effect", "low", "high")]
    return twin(
        request,
        "vault.html",
        view,
        **await _frame(memory, actor, shown, "overview"),
        states=states,
        sums={state: sum(row.get(state, 0) for row in cells.values()) for state in states},
        rows=sorted(cells.items(), key=lambda item: -sum(item[1].values())),
        span=max(ends, default=1) or 1,
        lift_span=max(lifts, default=1) or 1,
        kinds=get_args(VaultKind),
    )


@router.get("/ui/vaults/{vault}/findings")
async def findings_page(request: Request, vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Near duplicates, suspected echoes, contradictions, and what was never recalled."""
    shown = await memory.vaults.get(actor, vault)
    found = await findings(memory.core, actor, shown.vault.id)
    view: dict[str, Any] = {
        "vault": vault_body(shown),
        "duplicates": [_pair(one) for one in found.duplicates],
        "echoes": [_pair(one) for one in found.echoes],
        "contradictions": [_pair(one) for one in found.contradictions],
        "never_recalled": [memory_body(cube) for cube in found.never_recalled],
        "never_count": found.never_count,
    }
    return twin(
        request,
        "vault_findings.html",
        view,
        **await _frame(memory, actor, shown, "findings"),
        idle_days=found.idle_days,
    )


@router.get("/ui/vaults/{vault}/past")
async def past_page(request: Request, vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Snapshots to go back to, and branches on which something is tried."""
    shown = await memory.vaults.get(actor, vault)
    snapshots = await memory.vaults.snapshots.page(actor, shown.vault.id, limit=PAGE)
    branches = await memory.vaults.branches.all(actor, shown.vault.id)
    view: dict[str, Any] = {
        "vault": vault_body(shown),
        "snapshots": [snapshot_body(one) for one in snapshots],
        "branches": [branch_body(one) for one in branches],
    }
    return twin(request, "vault_past.html", view, **await _frame(memory, actor, shown, "past"))


@router.get("/ui/vaults/{vault}/snapshots/{snapshot_id}")
async def snapshot_page(
    request: Request,
    vault: VaultRef,
    snapshot_id: SnapshotId,
    memory: TheMemory,
    actor: ReadsMemory,
    cursor: ItemCursor = "",
) -> Response:
    """What is not as it was in a snapshot, and so what a rollback would change."""
    shown = await memory.vaults.get(actor, vault)
    snapshot, _ = await memory.vaults.snapshots.show(actor, shown.vault.id, snapshot_id, limit=1)
    found = await memory.vaults.snapshots.diff(actor, shown.vault.id, snapshot_id, after=cursor, limit=PAGE)
    view: dict[str, Any] = {
        "vault": vault_body(shown),
        "snapshot": snapshot_body(snapshot),
        "items": [difference_body(each) for each in found],
        "next": found[-1].memory_id if len(found) == PAGE else None,
    }
    names = {each.memory_id: await title_of(memory, actor, each.memory_id) for each in found}
    frame = await _frame(memory, actor, shown, "past")
    return twin(request, "vault_snapshot.html", view, **frame, names=names, cursor=cursor)


@router.get("/ui/vaults/{vault}/branches/{branch}")
async def branch_page(
    request: Request,
    vault: VaultRef,
    branch: BranchPath,
    memory: TheMemory,
    actor: ReadsMemory,
    cursor: ItemCursor = "",
) -> Response:
    """The memories as they are on a branch; those that are other there stand beside what `main` says."""
    shown = await memory.vaults.get(actor, vault)
    branches = await memory.vaults.branches.all(actor, shown.vault.id)
    here = next((one for one in branches if one.name == branch), None)
    if here is None:
        raise UnknownName(f"branch {branch!r}: not found; the tab Snapshots and branches lists those there are")
    page = await memory.vaults.branches.page(actor, shown.vault.id, branch, after=cursor or None, limit=PAGE)
    items = []
    for cube in page.items:
        now, there = await still_there(memory, actor, cube.id), memory_body(cube)
        main = None if now is None else memory_body(now)
        differs = [] if main is None else [name for name in COMPARED if main[name] != there[name]]
        items.append({"memory": there, "main": main, "other": main is None or bool(differs), "differs": differs})
    view: dict[str, Any] = {"vault": vault_body(shown), "branch": branch_body(here), "items": items, "next": page.next}
    frame = await _frame(memory, actor, shown, "past")
    return twin(request, "vault_branch.html", view, **frame, cursor=cursor)


@router.get("/ui/vaults/{vault}/sharing")
async def sharing_page(request: Request, vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Who else may do what."""
    shown = await memory.vaults.get(actor, vault)
    given = await memory.vaults.grants.list(actor, shown.vault.id) if "share" in shown.verbs else []
    view: dict[str, Any] = {"vault": vault_body(shown), "grants": [grant_body(one) for one in given]}
    words = await _frame(memory, actor, shown, "sharing")
    return twin(request, "vault_sharing.html", view, **words, verbs=get_args(Verb))


@router.get("/ui/vaults/{vault}/files")
async def files_page(request: Request, vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The vault as a file, files into the vault, and memories into another vault."""
    shown = await memory.vaults.get(actor, vault)
    others = [one for one in await memory.vaults.list(actor, limit=500) if one.vault.id != shown.vault.id]
    targets = [vault_body(one) for one in others if "write" in one.verbs]
    view: dict[str, Any] = {"vault": vault_body(shown), "targets": targets}
    return twin(request, "vault_files.html", view, **await _frame(memory, actor, shown, "files"))


async def _frame(memory: Memory, actor: Actor, shown: Shown, tab: str) -> dict[str, Any]:
    """What the head of every tab needs."""
    return {
        "tab": tab,
        "mine": _mine(shown, actor),
        "inbox": await open_count(memory, actor, shown.vault.id),
        "can": shown.verbs,
    }


def _mine(shown: Shown, actor: Actor) -> bool:
    return shown.vault.owner_id == actor.user_id


def _pair(pair: Pair) -> dict[str, Any]:
    return {"newer": memory_body(pair.newer), "older": memory_body(pair.older)}
