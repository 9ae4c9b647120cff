"""Runs with large trees, written into the log of a home before a service opens it: what an agent would have told."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio

from agents import registry
from runtime.db import open_database
from runtime.events import (
    AnyPayload,
    NodeBackedUp,
    NodeCreated,
    NodeScored,
    RunFinished,
    RunStarted,
    SpanPruned,
    StepCompleted,
    TaskClosed,
    TaskOpened,
)
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.migrate import upgrade
from runtime.runs import RunSpec, RunStore
from runtime.settings import Settings
from runtime.types import JsonObject

LINES = 2000


def write_run(settings: Settings, agent: str, told: Iterator[tuple[str, list[AnyPayload]]]) -> str:
    """Put a finished run of the user of this machine into the database; `told`: the events of its steps. Gives its id."""

    async def write() -> str:
        db = open_database(settings)
        try:
            store, owner = RunStore(db, SYSTEM), (await KeyStore(db, SYSTEM).local()).user_id
            version = registry.get(agent).spec.version
            started = RunStarted(agent=agent, agent_version=version, model="scripted/echo", executor="exe_test", seed=1)
            spec = RunSpec(agent, f"a large tree of {agent}", seed=1)
            claim = await store.create_started(
                spec, owner=owner, agent_version=version, model="scripted/echo", executor="exe_test", started=started
            )
            run = claim.record.id
            items = [(payload, step) for step, payloads in told for payload in payloads]
            for begin in range(0, len(items), LINES):
                await store.append(run, claim.epoch, items[begin : begin + LINES])
            output: JsonObject = {"text": "done", "finish_reason": "stop"}
            await store.finish(run, claim.epoch, RunFinished(status="succeeded", output=output))
            return run
        finally:
            await db.aclose()

    upgrade(settings)
    return anyio.run(write)


def threads(count: int) -> Iterator[tuple[str, list[AnyPayload]]]:
    """A thread of that many tasks: fifty at the top, each with a list of its own, whose lists are pruned."""
    live, pruned, made = 100, 0, 0
    for top in range(1, 51):
        below = count // 50 - 1
        paths = [
            f"{top}",
            *(f"{top}.{1 + n // 9}" if n % 9 == 0 else f"{top}.{1 + n // 9}.{n % 9}" for n in range(below)),
        ]
        for path in paths:
            made += 1
            live += 20
            detail: JsonObject = {"thought": f"what task {made} is about", "tokens": 12, "live": live}
            point: JsonObject = {"live": live, "peak": live, "pruned": pruned, "reencoded": 0, "recalled": 0}
            yield (
                f"{path}.open",
                [
                    TaskOpened(path=path, title=f"Task {made}", detail=detail),
                    TaskClosed(path=path, conclusion=f"task {made} came to {made * 7}", detail={"tokens": 8}),
                    StepCompleted(name=f"{path}.open", detail=point),
                ],
            )
        gone = 20 * below
        live, pruned = live - gone, pruned + gone
        yield f"{top}.after_list", [SpanPruned(tokens=gone, path=str(top), detail={"why": "closed"})]


def searches(count: int) -> Iterator[tuple[str, list[AnyPayload]]]:
    """A search of that many answers, each below one that was there before."""
    rng = random.Random(3)
    depths = {0: 0}
    yield "node.0", [_created(0, None, 0, 0), NodeBackedUp(id="0", value=0.5, visits=1, detail={"iteration": 0})]
    for number in range(1, count):
        parent = rng.choice([n for n in range(max(0, number - 400), number) if depths[n] < 11] or [0])
        depths[number] = depths[parent] + 1
        scores = (rng.randint(1, 10), rng.randint(1, 10))
        comparison: JsonObject = {
            "child": number,
            "opponent": parent,
            "s_child": float(scores[0]),
            "s_opponent": float(scores[1]),
            "swapped": False,
            "iteration": number,
            "data": {"critique": f"answer {number} says more than answer {parent}"},
        }
        scored: JsonObject = {
            "iteration": number,
            "opponent": parent,
            "comparison": comparison,
            "status": "ok",
            "update": {"evolved_prompt": f"Prompt {number}."},
        }
        yield (
            f"judge.{number}.{parent}",
            [
                _created(number, parent, depths[number], number),
                NodeScored(id=str(number), q_local=1 / (1 + 2.718 ** (scores[1] - scores[0])), detail=scored),
                NodeBackedUp(id=str(number), value=0.5, visits=1, detail={"iteration": number}),
            ],
        )


def _created(number: int, parent: int | None, depth: int, iteration: int) -> NodeCreated:
    how: JsonObject = {
        "kind": "child" if parent is not None else "fresh",
        "parent": parent,
        "other": None,
        "lessons": [],
    }
    detail: JsonObject = {
        "iteration": iteration,
        "answer": f"Answer {number}: \\boxed{{{number}}}",
        "final": str(number),
        "objective": None,
        "status": "ok",
        "how": how,
        "data": {"gen_prompt": f"Prompt of {number}.", "model": "scripted", "finish_reason": "stop"},
    }
    return NodeCreated(id=str(number), parent=None if parent is None else str(parent), depth=depth, detail=detail)
