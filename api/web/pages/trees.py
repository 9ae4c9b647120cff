"""Tree of a run: what a search or a thread has grown, drawn, as a list, and node by node.

The page is one address. `at` shows the tree as it was behind that event, `node` opens a node beside it, `part` asks for a
piece alone: the cards that the drawing is made of, or the opened node. Source: contract §4; design ui.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agents.service import Service
from api.answers import json_response
from api.auth import Reader, TheService
from api.route import Route
from api.routes.runs import tree_of
from api.routes.wire import PlainText, RunId
from api.web.cards import cards_of, last_of, path_of, stops_of
from api.web.grown import grown, large
from api.web.render import excerpt, page, twin, wants_json
from api.web.rows import question_of
from runtime.errors import UnknownName
from runtime.events import Event, LlmCall, MemoryRead, ToolCalled, ToolResult
from runtime.runs import TERMINAL, RunRecord
from runtime.types import JsonObject

router = APIRouter(include_in_schema=False, route_class=Route)
LISTED: Final = 100
TITLE: Final = 120
At = Annotated[int | None, Query(ge=0, le=2**62)]
Node = Annotated[PlainText | None, Query(max_length=200)]


@router.get("/ui/runs/{run_id}/tree")
async def tree_page(
    request: Request,
    run_id: RunId,
    service: TheService,
    caller: Reader,
    at: At = None,
    node: Node = None,
    part: Literal["cards", "node", "whole"] | None = None,
    begin: Annotated[int, Query(alias="from", ge=0, le=10**6)] = 0,
) -> Response:
    """The tree; its JSON twin is the tree of the API with the run it belongs to."""
    run = await service.get(run_id, owner=caller.user_id)
    if part is None and not begin and large(run) and not wants_json(request):
        return page(request, "tree.html", **await _shell(service, run, at, node))
    lines, shown, tree = await grown(service, run, at)
    if part == "cards":
        return json_response(_drawn(run, tree, lines, at))
    view = {"run": {"id": run.id, "agent": run.agent, "status": run.status}, "at": at, "tree": tree}
    opened = None if node is None else await _opened(service, run, tree, shown, node)
    if part == "node":
        return page(request, "tree_node.html", run=view["run"], at=at, opened=opened)
    if wants_json(request):
        return twin(request, "tree.html", view)
    rows = _listed(tree)
    return twin(
        request,
        "tree.html",
        view,
        question=excerpt(question_of(run.spec.input), TITLE),
        opened=opened,
        rows=rows[begin : begin + LISTED],
        begin=begin,
        following=begin + LISTED if len(rows) > begin + LISTED else None,
        # The steps of a search are its answers, which the list has.
        stops=stops_of(tree, shown) if tree["kind"] == "thread" else [],
        last=last_of(lines),
        live=run.status not in TERMINAL,
        best=path_of(tree)[::-1] if tree["kind"] == "search" else [],
    )


async def _shell(service: Service, run: RunRecord, at: int | None, node: str | None) -> dict[str, Any]:
    """The page without its tree, for one that takes a while to be read: the drawing fetches it, then the list."""
    # Before its first line a tree is of its kind already.
    bare = await tree_of(service, run, lines=())
    return {
        "run": {"id": run.id, "agent": run.agent, "status": run.status},
        "at": at,
        "tree": {"kind": bare["kind"], "nodes": []},
        "question": excerpt(question_of(run.spec.input), TITLE),
        "opened": None,
        "wanted": node or "",
        "waiting": True,
        "live": run.status not in TERMINAL,
    }


def _drawn(run: RunRecord, tree: JsonObject, lines: Sequence[Event], at: int | None) -> JsonObject:
    """What the drawing is made of. The stops are those of the whole run, and only told with the whole tree."""
    output = run.output if isinstance(run.output, Mapping) and at is None else {}
    return {
        "kind": tree["kind"],
        "status": run.status,
        "last": last_of(lines),
        "root": {
            "title": excerpt(question_of(run.spec.input), TITLE),
            "note": excerpt(str(output.get("text") or ""), TITLE),
        },
        "nodes": [*cards_of(tree, lines)],
        "stops": [*stops_of(tree, lines)] if at is None else None,
    }


def _listed(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes as rows of a table, each below its parent."""
    key = "path" if tree["kind"] == "thread" else "id"
    below: dict[Any, list[dict[str, Any]]] = {}
    for node in tree["nodes"]:
        below.setdefault(node["parent"], []).append(node)
    rows: list[dict[str, Any]] = []
    waiting = [(node, 0) for node in reversed(below.get(None, []))]
    while waiting:
        node, level = waiting.pop()
        rows.append({**node, "name": node[key], "level": min(level, 12)})
        waiting += [(child, level + 1) for child in reversed(below.get(node[key], []))]
    return rows


async def _opened(
    service: Service, run: RunRecord, tree: Mapping[str, Any], lines: Sequence[Event], name: str
) -> dict[str, Any]:
    """A node with everything that is known of it. Raises `UnknownName` when the tree has no such node."""
    key = "path" if tree["kind"] == "thread" else "id"
    node = next((each for each in tree["nodes"] if str(each[key]) == name), None)
    if node is None:
        raise UnknownName(f"node {name!r}: no such node in the tree of run {run.id!r}", param="node")
    calls = await service.store.events(run.id, limit=10_000, types=("llm.call",))
    mine = _steps_of(tree["kind"], name)
    # A search draws for a node in a step of its own, whose unit is the node.
    unit = f"node.{name}" if tree["kind"] == "search" else None
    memories = {
        line.payload.id: line.payload
        for line in lines
        if isinstance(line.payload, MemoryRead) and (line.payload.unit == unit or mine.fullmatch(line.step or ""))
    }
    return {
        "kind": tree["kind"],
        "name": name,
        "node": node,
        "asked": [
            {"step": line.step, "seq": line.seq, "purpose": line.payload.purpose, "usage": line.payload.usage}
            for line in calls
            if isinstance(line.payload, LlmCall) and mine.fullmatch(line.step or "")
        ],
        "parameters": _said(lines, ToolCalled, name, "arguments"),
        "result": _said(lines, ToolResult, name, "result"),
        "comparisons": [
            said for said in tree.get("comparisons", []) if name in (str(said["child"]), str(said["opponent"]))
        ],
        "memories": [*memories.values()],
    }


def _steps_of(kind: str, name: str) -> re.Pattern[str]:
    """The names of the steps of a run that were about a node."""
    path = re.escape(name)
    return re.compile(
        rf"{path}\.[a-z_]+(\.repair\d+)?" if kind == "thread" else rf"(node|learn)\.{path}|judge\.{path}\.\d+"
    )


def _said(lines: Sequence[Event], kind: type[ToolCalled] | type[ToolResult], path: str, field: str) -> str:
    found = (line.payload for line in lines if isinstance(line.payload, kind) and line.payload.call_id == path)
    return next((str(getattr(payload, field)) for payload in found), "")
