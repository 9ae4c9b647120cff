"""The tree of a run from the lines of its log: nodes for the screen, the whole document, and how its memory grew.

The log is the fact; what a run keeps in hand is built from it by the same steps. So the tree can be read while the run is
going on, and what was pruned is as readable as what is live. Source: tim §2; contract §4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from pydantic import JsonValue

from runtime.events import (
    Event,
    SpanPruned,
    SpanRecalled,
    StepCompleted,
    TaskClosed,
    TaskOpened,
    ToolCalled,
    ToolResult,
)
from runtime.llm.estimate import estimate_tokens
from runtime.threads import ThreadTree
from runtime.types import JsonObject
from runtime.working_memory import Cut

ANSWER: Final = "answer"
SHORTENED: Final = "shortened"


def figures(tree: ThreadTree) -> JsonObject:
    """The working memory at one moment, in tokens: one point of the series."""
    memory = tree.memory
    return {
        "live": memory.live_tokens,
        "peak": memory.peak_tokens,
        "pruned": memory.pruned,
        "reencoded": memory.reencoded,
        "recalled": memory.recalled,
    }


def cut_event(tree: ThreadTree, cut: Cut) -> SpanPruned:
    """What the log says of a list that was cut: `path` is its owner."""
    first = tree.memory.archived[cut.ids[0]].owner
    detail: JsonObject = {"why": cut.why, "ids": [*cut.ids], "tail": cut.tail}
    return SpanPruned(tokens=cut.tokens, path=first.rpartition(".")[0], detail={**detail, **figures(tree)})


def detail_of(tree: ThreadTree, kept: Mapping[str, JsonValue], tool_seconds: float) -> JsonObject:
    """The account of a run in its answer: the whole document, the figures of the sheet, tokens of the working memory.

    `kept`: tool results as they are kept, by path, where they differ from what the model was shown.
    """
    document = tree.document(live=False)
    for path, result in kept.items():
        task = _task_at(document, path)
        if task is not None and isinstance(called := task.get("tooluse"), dict):
            called["tool_result"] = result
    told = {**asdict(tree.metrics()), "tool_seconds": round(tool_seconds, 3)}
    return {"document": document, "metrics": told, "working_memory": figures(tree)}


def _task_at(document: JsonObject, path: str) -> JsonObject | None:
    tasks = document["reasoning"]
    task: JsonValue = None
    for part in path.split("."):
        if not isinstance(tasks, list) or len(tasks) < int(part):
            return None
        task = tasks[int(part) - 1]
        tasks = task.get("subtasks") if isinstance(task, dict) else None
    return task if isinstance(task, dict) else None


def tree_of(events: Iterable[Event]) -> JsonObject:
    """The tree as `GET /api/runs/{id}/tree` answers it."""
    nodes: dict[str, dict[str, Any]] = {}
    series: list[JsonValue] = []
    answer: JsonValue = None
    for event in events:
        payload = event.payload
        match payload:
            case TaskOpened():
                nodes[payload.path] = _opened(payload)
            case ToolCalled() if payload.call_id in nodes:
                nodes[payload.call_id] |= {
                    "tool": payload.name,
                    "parameters": json.loads(payload.arguments),
                    "state": "tool_wait",
                }
            case ToolResult() if payload.call_id in nodes:
                node = nodes[payload.call_id]
                tokens = node["tokens"] + estimate_tokens(payload.result)
                node |= {"result": json.loads(payload.result), "answered": True, "state": "open", "tokens": tokens}
            case TaskClosed() if payload.path in nodes:
                node = nodes[payload.path]
                tokens = node["tokens"] + int(str(payload.detail.get("tokens", 0)))
                concluded = json.loads(payload.conclusion) if payload.detail.get("as_json") else payload.conclusion
                node |= {"conclusion": payload.conclusion, "concluded": concluded, "state": "closed", "tokens": tokens}
            case SpanPruned() if payload.detail.get("why") != SHORTENED:
                for node in _below(nodes, payload.path):
                    node |= {"live": False, "pruned_at": node["pruned_at"] or event.seq}
            case SpanRecalled():
                for node in _below(nodes, payload.path):
                    node["recalled"] += 1
            case StepCompleted() if isinstance(payload.detail, dict) and "live" in payload.detail:
                point = {name: value for name, value in payload.detail.items() if name != ANSWER}
                series.append({"step": payload.name, "seq": event.seq, "at": event.at.isoformat(), **point})
                answer = payload.detail.get(ANSWER, answer)
            case _:
                pass
    ordered = [nodes[path] for path in sorted(nodes, key=_place)]
    for node in ordered:
        parent = nodes.get(str(node["parent"]))
        if parent is not None and parent["state"] != "closed":
            parent["state"] = "in_subtasks"
    return {
        "kind": "thread",
        "nodes": [{name: node[name] for name in _SHOWN} for node in ordered],
        "series": series,
        "document": _document(ordered, answer),
    }


_SHOWN = (
    "path",
    "parent",
    "depth",
    "kind",
    "title",
    "thought",
    "tool",
    "conclusion",
    "state",
    "live",
    "tokens",
    "pruned_at",
    "recalled",
)


def _opened(payload: TaskOpened) -> dict[str, Any]:
    path = payload.path
    return {
        "path": path,
        "parent": path.rpartition(".")[0] or None,
        "depth": path.count(".") + 1,
        "kind": payload.detail.get("kind"),
        "title": payload.title,
        "thought": payload.detail.get("thought"),
        "tool": None,
        "conclusion": None,
        "state": "open",
        "live": True,
        "tokens": int(str(payload.detail.get("tokens", 0))),
        "pruned_at": None,
        "recalled": 0,
        "answered": False,
    }


def _below(nodes: dict[str, dict[str, Any]], owner: str | None) -> list[dict[str, Any]]:
    return [node for path, node in nodes.items() if owner is not None and path.startswith(f"{owner}.")]


def _place(path: str) -> tuple[int, ...]:
    return tuple(int(part) for part in path.split("."))


def _document(nodes: list[dict[str, Any]], answer: JsonValue) -> JsonObject:
    """The whole document, fields in their fixed order, as far as it has grown."""
    made: dict[str, JsonObject] = {}
    top: list[JsonValue] = []
    for node in nodes:
        task: JsonObject = {name: node[name] for name in ("title", "thought") if node[name]}
        if node["tool"] is not None:
            called = {"tool_name": node["tool"], "parameters": node["parameters"]}
            task["tooluse"] = {**called, **({"tool_result": node["result"]} if node["answered"] else {})}
        made[node["path"]] = task
        parent = made.get(str(node["parent"]))
        siblings = top if parent is None else parent.setdefault("subtasks", [])
        assert isinstance(siblings, list)
        siblings.append(task)
    for node in nodes:
        if node["conclusion"] is not None:
            made[node["path"]]["conclusion"] = node["concluded"]
    return {"reasoning": top, **({} if answer is None else {"answer": answer})}
