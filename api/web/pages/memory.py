"""One memory: what it says, how it came about, where it was recalled, every version of it, and the form to correct it.

Four tabs, each a URL with a twin, so that nothing is read that is not looked at. Source: design ui (Memory).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.graph import graph_body
from api.routes.measured import uplifts
from api.routes.memory_answers import iso, memory_body, version_body
from api.routes.memory_fields import MemoryId
from api.routes.memory_reads import difference_body, provenance_body
from api.routes.usefulness import uses_body
from api.web.render import excerpt, twin
from api.web.titles import still_there, title_of
from api.web.typed import shown_data
from memory import graph
from memory.artifacts import Artifact, artifacts
from memory.lifecycle import allowed_events
from memory.recalls import Recalled, recalled
from memory.service import Memory
from memory.types import Actor, EdgeType, MemCube, SemanticType, Version
from memory.vault.vaults import Shown

router = APIRouter(include_in_schema=False, route_class=Route)
Number = Annotated[int | None, Query(ge=1, le=10**9)]
AROUND: Final = 12
# What a person does to the state of a memory; the rest happens by edits, merges and time.
MOVES: Final = {
    "approve": "Approve",
    "freeze": "Freeze",
    "unfreeze": "Unfreeze",
    "archive": "Archive",
    "quarantine": "Quarantine",
    "restore": "Bring back",
}


@router.get("/ui/memories/{memory_id}")
async def memory_page(request: Request, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """What the memory says, what is near it, and what it was measured to be worth."""
    cube = await still_there(memory, actor, memory_id)
    if cube is None:
        return await history_page(request, memory_id, memory, actor)
    measured = await uplifts(memory, actor, [cube.id])
    near = await graph.around_memory(memory.core, actor, memory_id, hops=1, limit=AROUND)
    files = await artifacts(memory.core, actor, memory_id)
    view: dict[str, Any] = {
        "memory": memory_body(cube, measured.get(cube.id)),
        "graph": graph_body(near),
        "artifacts": [_artifact(one) for one in files],
    }
    others = [edge for edge in view["graph"]["edges"] if edge["memory"] != memory_id]
    return twin(
        request,
        "memory.html",
        view,
        **await _frame(memory, actor, cube, "content"),
        parts=shown_data(cube.semantic_type, view["memory"]["data"]),
        nodes={node["id"]: node for node in view["graph"]["nodes"]},
        mine=next((edge["entities"] for edge in view["graph"]["edges"] if edge["memory"] == memory_id), []),
        others=others,
    )


@router.get("/ui/memories/{memory_id}/edit")
async def edit_page(request: Request, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The form that makes the next version; its preview and both sides of a clash are drawn by memory_edit.js."""
    cube = await memory.get(actor, memory_id)
    view: dict[str, Any] = {"memory": memory_body(cube)}
    words = await _frame(memory, actor, cube, "edit")
    return twin(
        request,
        "memory_edit.html",
        view,
        **words,
        types=get_args(SemanticType),
        data_text=json.dumps(view["memory"]["data"], ensure_ascii=False, indent=2),
    )


@router.get("/ui/memories/{memory_id}/history")
async def history_page(
    request: Request,
    memory_id: MemoryId,
    memory: TheMemory,
    actor: ReadsMemory,
    from_: Annotated[Number, Query(alias="from")] = None,
    to: Number = None,
) -> Response:
    """Every version, and two of them side by side: the last edit unless others are asked for."""
    cube = await still_there(memory, actor, memory_id)
    # Of what is gone its owner may look back on the versions; to others this says that it is not found.
    versions = await memory.history(actor, memory_id)
    last = versions[0].version
    right = to or last
    left = from_ or max(1, right - 1)
    found = await memory.diff(actor, memory_id, left, right)
    by_number = {one.version: one for one in versions}
    view: dict[str, Any] = {
        "id": memory_id,
        "memory": None if cube is None else memory_body(cube),
        "versions": [version_body(one) for one in versions],
        "diff": difference_body(memory_id, found),
    }
    return twin(
        request,
        "memory_history.html",
        view,
        **await _frame(memory, actor, cube, "history", versions[0]),
        left=version_body(by_number[left]),
        right=version_body(by_number[right]),
    )


@router.get("/ui/memories/{memory_id}/sources")
async def sources_page(request: Request, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Where it comes from, down to the quoted words, and what it is linked to."""
    cube = await memory.get(actor, memory_id)
    found = await memory.provenance(actor, memory_id)
    told = provenance_body(memory_id, found)
    view: dict[str, Any] = {
        "memory": memory_body(cube),
        **{name: value for name, value in told.items() if name != "id"},
    }
    names = {other: await title_of(memory, actor, other) for other in _others(memory_id, told["links"])}
    return twin(
        request,
        "memory_sources.html",
        view,
        **await _frame(memory, actor, cube, "sources"),
        names=names,
        edge_types=get_args(EdgeType),
    )


@router.get("/ui/memories/{memory_id}/delete")
async def delete_page(request: Request, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """What goes along when the memory is deleted, or erased for good."""
    cube = await memory.get(actor, memory_id)
    found = provenance_body(memory_id, await memory.provenance(actor, memory_id))
    derived = [
        each["from"]
        for each in found["links"]
        if each["to"] == memory_id and each["type"] in ("DERIVED_FROM", "PARENT")
    ]
    runs = dict.fromkeys(one.run_id for one in await recalled(memory.core, actor, memory_id))
    view: dict[str, Any] = {
        "memory": memory_body(cube),
        "goes": {
            "versions": len(await memory.history(actor, memory_id)),
            "sources": len(found["sources"]),
            "links": len(found["links"]),
            "entities": len(cube.entities),
            "artifacts": len(await artifacts(memory.core, actor, memory_id)),
        },
        "derived": derived,
        "runs": list(runs),
    }
    words = await _frame(memory, actor, cube, "delete")
    names = {other: await title_of(memory, actor, other) for other in derived}
    return twin(request, "memory_delete.html", view, **words, names=names)


@router.get("/ui/memories/{memory_id}/recalls")
async def recalls_page(request: Request, memory_id: MemoryId, memory: TheMemory, actor: ReadsMemory) -> Response:
    """Which runs found it, at which place, whether they were shown it, and what that was measured to change."""
    cube = await memory.get(actor, memory_id)
    view: dict[str, Any] = {
        "memory": memory_body(cube),
        "recalls": [_recall(one) for one in await recalled(memory.core, actor, memory_id)],
        "uses": uses_body(await memory.usefulness.uses(actor, memory_id)),
    }
    runs: dict[str, list[dict[str, Any]]] = {}
    for one in view["recalls"]:
        runs.setdefault(one["run"], []).append(one)
    ends = [abs(each[name] or 0) for each in view["uses"]["estimates"] for name in ("effect", "low", "high")]
    return twin(
        request,
        "memory_recalls.html",
        view,
        **await _frame(memory, actor, cube, "recalls"),
        span=max(ends, default=1) or 1,
        runs=[_in_run(reads) for reads in runs.values()],
    )


async def _frame(
    memory: Memory, actor: Actor, cube: MemCube | None, tab: str, last: Version | None = None
) -> dict[str, Any]:
    """What the head of every tab needs: name, vault, and what may be done."""
    if cube is None:
        state = str(last.header.get("state", "deleted")) if last else "deleted"
        back = last is not None and not last.redacted
        return {
            "id": last.memory_id if last else "",
            "version": last.version if last else 0,
            "tab": tab,
            "name": "A memory that is gone",
            "vault": None,
            "moves": [("restore", MOVES["restore"])] if back else [],
            "state": state,
            "may": frozenset({"write"}) if back else frozenset(),
            "gone": True,
        }
    shown: Shown = await memory.vaults.get(actor, cube.vault_id)
    events = allowed_events(cube.state, superseded=cube.superseded_at is not None)
    return {
        "id": cube.id,
        "version": cube.version,
        "tab": tab,
        "name": excerpt(cube.title or (cube.subject if cube.semantic_type == "concept" else "") or cube.content, 72)
        or cube.id,
        "vault": shown.vault,
        "moves": [(event, label) for event, label in MOVES.items() if event in events],
        "state": cube.state,
        "may": shown.verbs,
        "gone": False,
    }


def _others(memory_id: str, links: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(each["to"] if each["from"] == memory_id else each["from"] for each in links))


def _recall(one: Recalled) -> dict[str, Any]:
    told = {**asdict(one), "run": one.run_id, "at": iso(one.at), "outcomes": dict(one.outcomes)}
    del told["run_id"]
    return told


def _in_run(reads: list[dict[str, Any]]) -> dict[str, Any]:
    """What a run has to say about the memory, over its units."""
    sides = {side: [one for one in reads if one["shown"] == side] for side in ("shown", "held_out")}
    return {
        **reads[0],
        "ranks": sorted({one["rank"] for one in reads}),
        "score": max(one["score"] for one in reads),
        "units": {side: len(each) for side, each in sides.items()},
        "outcome": {side: each[0]["outcomes"] if each else {} for side, each in sides.items()},
    }


def _artifact(one: Artifact) -> dict[str, Any]:
    return {**asdict(one), "created_at": iso(one.created_at)}
