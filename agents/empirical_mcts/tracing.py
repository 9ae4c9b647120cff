"""The search in the log of its run: events of the tree become events of the run, and back.

An event of the tree goes into the log with the next step of the run, in the transaction of that step; so a run that is
picked up again does not say it twice, and what belongs to a rollout that was broken off is void with its step. The log is
the tree: replayed, it gives the same nodes and the same numbers. Source: empirical_mcts §2; contract §4; ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from pydantic import JsonValue

from agents.base import Context, Step
from runtime.events import (
    AnyPayload,
    Event,
    MemoryRead,
    NodeBackedUp,
    NodeCreated,
    NodeScored,
    NodeSelected,
    ReasoningDelta,
)
from runtime.types import JsonObject
from search.base import Expansion
from search.events import BackedUp, Comparison, Created, Scored, Selected, TreeEvent
from search.final import choose
from search.profile import Profile
from search.tree import Node, Tree, replay

NODE: Final = "node."
SHOWN_CHARS: Final = 60


class Trace:
    """Does the steps of a run, and with each of them tells what the search did since the one before."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._waiting: list[AnyPayload] = []

    def note(self, event: TreeEvent, tree: Tree) -> None:
        """Take an event that was applied to the tree."""
        payload = payload_of(event, tree)
        if payload is not None:
            self._waiting += [payload, ReasoningDelta(text=f"[{words_of(event)}]\n")]

    async def step(self, key: str, work: Callable[[Step], Awaitable[JsonValue]]) -> JsonValue:
        """See `Context.step`. In a step that was finished before, what waits was told then."""
        waiting, self._waiting = self._waiting, []

        async def do(step: Step) -> JsonValue:
            for payload in waiting:
                await step.emit(payload)
            return await work(step)

        return await self._ctx.step(key, do)


def unit_of(node: int) -> str:
    """The step in which a node is made, which is also its unit."""
    return f"{NODE}{node}"


def payload_of(event: TreeEvent, tree: Tree) -> AnyPayload | None:
    """The event as the log keeps it; None for the end of the search, which the end of the run tells."""
    match event:
        case Selected():
            detail: JsonObject = {"iteration": event.iteration, "how": _how(event.how), "score": event.score}
            return NodeSelected(id=str(event.id), detail=detail)
        case Created():
            parent = None if event.parent is None else str(event.parent)
            return NodeCreated(id=str(event.id), parent=parent, depth=event.depth, detail=_created(event))
        case Scored():
            said = event.comparison
            return NodeScored(
                id=str(event.id),
                q_local=event.q_local,
                detail={
                    "iteration": event.iteration,
                    "opponent": event.opponent,
                    "comparison": None if said is None else asdict(said),
                    "status": event.status,
                    "update": event.update,
                },
            )
        case BackedUp():
            node = tree.node(event.id)
            best = choose(tree).best
            return NodeBackedUp(
                id=str(event.id),
                value=node.value,
                visits=node.visits,
                detail={"iteration": event.iteration, "q_global": node.q_global, "best": best},
            )
        case _:
            return None


def event_of(payload: AnyPayload) -> TreeEvent | None:
    """The event of the tree that the log tells; None for any other line."""
    told: Mapping[str, Any] = getattr(payload, "detail", None) or {}
    match payload:
        case NodeSelected() if "iteration" in told:
            return Selected(told["iteration"], int(payload.id), _expansion(told["how"]), told["score"])
        case NodeCreated():
            return Created(
                told["iteration"],
                int(payload.id),
                None if payload.parent is None else int(payload.parent),
                payload.depth,
                told["answer"],
                told["final"],
                told["objective"],
                told["status"],
                _expansion(told["how"]),
                told["data"],
            )
        case NodeScored():
            said = told["comparison"]
            comparison = None if said is None else Comparison(**said)
            q_local = 0.5 if payload.q_local is None else payload.q_local
            return Scored(
                told["iteration"],
                int(payload.id),
                told["opponent"],
                comparison,
                q_local,
                told["status"],
                told["update"],
            )
        case NodeBackedUp():
            return BackedUp(told["iteration"], int(payload.id))
        case _:
            return None


def words_of(event: TreeEvent) -> str:
    """The event for somebody who reads along."""
    match event:
        case Selected(how=Expansion(kind="fresh")):
            return f"rollout {event.iteration}: a new start"
        case Selected(how=Expansion(kind="merge", other=other)):
            return f"rollout {event.iteration}: nodes {event.id} and {other} are chosen, to be merged"
        case Selected():
            return f"rollout {event.iteration}: node {event.id} is chosen"
        case Created():
            says = "" if event.final is None else f": {event.final[:SHOWN_CHARS]}"
            return f"node {event.id} is created{says}" if event.status == "ok" else f"node {event.id}: {event.status}"
        case Scored(comparison=Comparison() as said):
            return f"node {event.id} scores {said.s_child:g}, node {event.opponent} {said.s_opponent:g}"
        case Scored():
            return f"node {event.id} could not be judged"
        case BackedUp():
            return f"rollout {event.iteration} is complete" if event.iteration else "the first answer is there"
        case _:
            return f"the search ends: {event.reason}"


def tree_of(profile: Profile, events: Iterable[Event]) -> JsonObject:
    """The search tree of a run as the API shows it, from the lines of its log in order. A rollout under way is left out."""
    log = list(events)
    told = [event for each in log if (event := event_of(each.payload)) is not None]
    tree = replay(profile, told)
    shown: dict[str, list[str]] = {}
    for each in log:
        if isinstance(each.payload, MemoryRead) and each.payload.shown == "shown":
            shown.setdefault(each.payload.unit, []).append(each.payload.id)
    return {
        "kind": "search",
        "nodes": [_wire(node, shown.get(unit_of(node.id), [])) for node in tree.nodes],
        "comparisons": [asdict(said) for said in tree.comparisons],
        "best": choose(tree).best if tree.nodes else None,
    }


def _wire(node: Node, memories: list[str]) -> JsonObject:
    return {
        "id": node.id,
        "parent": node.parent,
        "depth": node.depth,
        "children": [*node.children],
        "how": node.how.kind,
        "answer": node.answer,
        "final": node.final,
        "objective": node.objective,
        "gen_prompt": node.data.get("gen_prompt", ""),
        "evolved_prompt": node.data.get("evolved_prompt"),
        "model": node.data.get("model"),
        "q_local": node.q_local,
        "q_global": node.q_global,
        "value": node.value,
        "visits": node.visits,
        "status": node.status,
        "memories": [*memories],
    }


def _created(event: Created) -> JsonObject:
    return {
        "iteration": event.iteration,
        "answer": event.answer,
        "final": event.final,
        "objective": event.objective,
        "status": event.status,
        "how": _how(event.how),
        "data": event.data,
    }


def _how(how: Expansion) -> JsonObject:
    return {"kind": how.kind, "parent": how.parent, "other": how.other, "lessons": [*how.lessons]}


def _expansion(told: Mapping[str, Any]) -> Expansion:
    return Expansion(told["kind"], told["parent"], told["other"], tuple(told["lessons"]))
