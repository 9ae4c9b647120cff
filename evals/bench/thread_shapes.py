"""A tree whose shape is given, filled by a weak model: whatever it writes, the document must fit its schema.

The texts are short, so that a seed takes seconds; structure is what counts here. Source: tim §2.1, §5; ours.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final, Literal

import anyio
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from agents.tim.document import document_schema
from agents.tim.typed import TypedTree
from agents.tooling.schemas import faults
from evals.bench.thread_bench import TOOL, Ran, Workbench
from runtime.llm.base import LLM
from runtime.types import JsonObject

# 2 rooms of 3 racks of 2 shelves: 20 tasks on 3 levels, 12 tool calls.
SHAPE: Final[JsonObject] = {
    "root": {"tuple": ["room", "room"]},
    "kinds": {
        "room": {"subtasks": {"tuple": ["rack", "rack", "rack"]}},
        "rack": {"subtasks": {"tuple": ["shelf", "shelf"]}},
        "shelf": {"tools": [TOOL.name], "must_call": True},
    },
}
SHORT: Final[JsonObject] = {"thought_tokens": 16, "conclusion_tokens": 16, "tree": SHAPE}
Mode = Literal["steps", "stream"]


@dataclass(frozen=True, slots=True)
class Shaped:
    """What became of one seed. `wrong`: what its document breaks; `failed`: why there is none."""

    wrong: list[str]
    failed: str
    tasks: int = 0
    levels: int = 0
    calls: int = 0
    mended: int = 0
    written: int = 0
    seconds: float = 0.0


def shaped(ran: Ran) -> Shaped:
    """Check the document of a run against the schema of its tree."""
    if ran.record.status != "succeeded":
        return Shaped([], f"{ran.record.status}: {ran.record.error}", seconds=ran.seconds)
    document = ran.document
    schema = document_schema([TOOL], None, TypedTree.parse(SHAPE), max_depth=3)
    below = document["reasoning"]
    levels = levels_of(below)
    written = sum(event.payload.usage.completion_tokens for event in ran.events if event.payload.type == "llm.call")
    calls = ran.count("tool.result")
    return Shaped(
        faults(schema, document), "", sum(levels), len(levels), calls, ran.count("check.failed"), written, ran.seconds
    )


def levels_of(tasks: JsonValue) -> list[int]:
    """How many tasks there are on each level."""
    if not isinstance(tasks, list) or not tasks:
        return []
    below = [levels_of(task.get("subtasks")) for task in tasks if isinstance(task, dict)]
    depth = max(map(len, below), default=0)
    return [len(tasks), *(sum(each[level] for each in below if level < len(each)) for level in range(depth))]


async def fill(bench: Workbench, llm: LLM, mode: Mode, seeds: Sequence[int], jobs: int) -> list[Shaped]:
    """Let the model fill the shape once for each seed, `jobs` at a time."""
    bench.tool(8)
    limit, found = anyio.CapacityLimiter(jobs), dict[int, Shaped]()

    async def one(seed: int) -> None:
        async with limit:
            found[seed] = shaped(await bench.run(llm, {**SHORT, "mode": mode}, seed=seed, sampling={"max_tokens": 32}))

    async with anyio.create_task_group() as group:
        for seed in seeds:
            group.start_soon(one, seed)
    return [found[seed] for seed in seeds]


async def shapes(bench: Workbench, llm: LLM, console: Console, seeds: int, jobs: int) -> None:
    """The table of part `shapes`."""
    table = Table(title=f"a given shape, filled by {llm.ref}: {seeds} seeds, {jobs} at a time")
    columns = (
        "mode",
        "invalid",
        "not ended",
        "tasks",
        "levels",
        "tool calls",
        "pieces mended",
        "tokens each",
        "s each",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "mode" else "right")
    modes: tuple[Mode, ...] = ("stream", "steps")
    for nth, mode in enumerate(modes):
        began = time.perf_counter()
        found = await fill(bench, llm, mode, range(nth, seeds, len(modes)), jobs)
        took = time.perf_counter() - began
        table.add_row(
            mode,
            f"{sum(bool(one.wrong) for one in found)} of {len(found)}",
            f"{sum(bool(one.failed) for one in found)}",
            *(f"≥ {min(getattr(one, name) for one in found)}" for name in ("tasks", "levels", "calls")),
            f"{sum(one.mended for one in found)}",
            f"{mean(one.written for one in found):.0f}",
            f"{took / len(found):.1f}",
        )
        for one in found:
            if one.wrong or one.failed:
                console.print(f"{mode}: {one.failed or one.wrong}")
    console.print(table)
