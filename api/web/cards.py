"""The tree of a run as its drawing needs it: a card for each node with short texts, the stops of the slider, the best path.

Whole texts stay on the server until a node is opened, so a tree of thousands of nodes is a small answer. `born` is the
event behind which a node is there; what a node looked like at an event is told by the tree at that event. Source: design ui.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.web.render import excerpt
from runtime.events import Event, NodeBackedUp, TaskOpened

TITLE: Final = 90
NOTE: Final = 120
CRITIQUE: Final = 90
ENDINGS: Final[Mapping[str, str]] = {
    "open": "opened",
    "tool": "the tool has answered",
    "after_tool": "behind its tool",
    "after_list": "behind its subtasks",
    "complete": "its conclusion is completed",
}


def cards_of(tree: Mapping[str, Any], lines: Sequence[Event]) -> list[dict[str, Any]]:
    """A card for each node, parents before children."""
    born = _born(lines)
    if tree["kind"] == "thread":
        return [_task(node, born) for node in tree["nodes"]]
    judged: dict[int, Mapping[str, Any]] = {}
    for said in tree["comparisons"]:
        judged.setdefault(said["child"], said)
    ranked = sorted((node for node in tree["nodes"] if node["status"] == "ok"), key=lambda node: -node["value"])
    ranks = {node["id"]: place for place, node in enumerate(ranked, 1)}
    path = set(path_of(tree))
    return [
        _answer(node, born, ranks.get(node["id"]), judged.get(node["id"]), node["id"] in path) for node in tree["nodes"]
    ]


def stops_of(tree: Mapping[str, Any], lines: Sequence[Event]) -> list[dict[str, Any]]:
    """Where the slider can stand: the steps of a thread with their tokens, the rollouts of a search."""
    if tree["kind"] == "search":
        return [
            {"seq": line.seq, "words": f"node {line.payload.id}"}
            for line in lines
            if isinstance(line.payload, NodeBackedUp)
        ]
    return [{**point, "words": _words(point["step"])} for point in tree["series"]]


def path_of(tree: Mapping[str, Any]) -> list[int]:
    """The ids from the best node up to where it began."""
    parents = {node["id"]: node["parent"] for node in tree["nodes"]}
    path: list[int] = []
    at = tree["best"]
    while at is not None:
        path.append(at)
        at = parents[at]
    return path


def _task(node: Mapping[str, Any], born: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": node["path"],
        "parent": node["parent"],
        "born": born.get(node["path"], 0),
        "label": node["path"],
        "title": excerpt(node["title"] or node["thought"] or "a task", TITLE),
        "note": excerpt(node["conclusion"] or "", NOTE),
        "tool": node["tool"],
        "state": node["state"],
        "live": node["live"],
        "tokens": node["tokens"],
        "recalled": node["recalled"],
    }


def _answer(
    node: Mapping[str, Any], born: Mapping[str, int], rank: int | None, said: Mapping[str, Any] | None, best: bool
) -> dict[str, Any]:
    evolved = node["evolved_prompt"] or node["gen_prompt"]
    return {
        "id": str(node["id"]),
        "parent": None if node["parent"] is None else str(node["parent"]),
        "born": born.get(str(node["id"]), 0),
        "label": f"#{node['id']}",
        "title": excerpt(node["final"] or node["answer"] or node["status"].replace("_", " "), TITLE),
        "note": excerpt(evolved, NOTE),
        "state": node["status"],
        "how": node["how"],
        "value": node["value"],
        "visits": node["visits"],
        "rank": rank,
        "best": best,
        "edge": None
        if said is None
        else {
            "scores": f"{said['s_child']:g} : {said['s_opponent']:g}",
            "against": said["opponent"],
            "critique": excerpt(str(said["data"].get("critique") or ""), CRITIQUE),
        },
    }


def _born(lines: Sequence[Event]) -> dict[str, int]:
    born: dict[str, int] = {}
    for line in lines:
        match line.payload:
            case NodeBackedUp(id=name) | TaskOpened(path=name):
                born.setdefault(name, line.seq)
            case _:
                pass
    return born


def _words(step: str) -> str:
    path, _, what = step.rpartition(".")
    return f"{path}: {ENDINGS.get(what, what)}" if path else f"the {step}"


def last_of(lines: Sequence[Event]) -> int:
    """The number of the last line; 0 before the first."""
    return lines[-1].seq if lines else 0
