"""Puzzles, programs and a scripted solver: replies by function, one for each purpose, the same for equal requests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from memory.listing import Where
from memory.types import MemCube
from runtime.llm.scripted import Planned, Rule, Script
from runtime.runs import RunRecord, RunSpec
from runtime.types import JsonObject, JsonSchema, Message, Sampling
from tests.agents.empirical_mcts.world import OWNER, search
from tests.trial import Trial

Grid = list[list[int]]
MIRROR = "def transform(g):\n    return [row[::-1] for row in g]\n"
LONGER_MIRROR = (
    "def transform(g):\n    out = []\n    for row in g:\n        out.append(list(reversed(row)))\n    return out\n"
)
SAME = "def transform(g):\n    return g\n"
# Right on the train pairs of the puzzle, and not what it means.
LUCKY = "def transform(g):\n    return [row[::-1] for row in g] if len(g) == 2 else [[7, 7, 7]]\n"


def mirrored(grid: Grid) -> Grid:
    return [row[::-1] for row in grid]


def puzzle(*train: Grid, test: Sequence[Grid] = ([[4, 5, 6]],), called: str | None = "p1") -> JsonObject:
    """A puzzle whose rule is to mirror; nothing in it says what becomes of the test inputs."""
    grids = train or ([[1, 2], [0, 3]], [[5, 0], [6, 7]])
    task: dict[str, Any] = {
        "kind": "arc",
        "train": [{"input": grid, "output": mirrored(grid)} for grid in grids],
        "test": [{"input": grid} for grid in test],
    }
    return task if called is None else {**task, "id": called}


def code(source: str, words: str = "It mirrors the grid.") -> str:
    """A reply of a solver."""
    return f"{words}\n\n```python\n{source}```\n"


def concept(name: str = "reflect grid", **more: Any) -> JsonObject:
    """An entry of an abstraction."""
    return {
        "name": name,
        "kind": "routine",
        "routine_subtype": "grid manipulation",
        "output_typing": "grid",
        "description": f"What {name} does.",
        "cues": [f"a sign of {name}"],
        **more,
    }


@dataclass
class Asked:
    """A request, as a reply may depend on it."""

    purpose: str
    messages: tuple[Message, ...]
    seed: int
    number: int

    @property
    def text(self) -> str:
        return "\n".join(message.text for message in self.messages)

    @property
    def concepts(self) -> str:
        """What stands between the marks of the concepts; empty without them."""
        found = re.search(r"<concepts>\n(.*?)\n</concepts>", self.text, re.DOTALL)
        return found.group(1) if found else ""

    @property
    def lessons(self) -> str:
        """What stands between the marks of the lessons; empty without them."""
        found = re.search(r"<lessons>\n(.*?)\n</lessons>", self.text, re.DOTALL)
        return found.group(1) if found else ""


Reply = Callable[[Asked], str | Rule]


@dataclass
class Solver(Script):
    """A script whose replies are functions; without one of its own, every program is right and one concept is learned."""

    solve: Reply = lambda asked: code(MIRROR)
    retry: Reply = lambda asked: code(SAME)
    select_concepts: Reply = lambda asked: json.dumps({"names": []})
    select_lessons: Reply = lambda asked: json.dumps({"numbers": [1]})
    caption: Reply = lambda asked: json.dumps({"observations": "rows", "summary": "rows turn", "speculation": "mirror"})
    pseudocode: Reply = lambda asked: json.dumps({"pseudocode": "output = reflect(grid)", "summary": "Mirrors."})
    abstract: Reply = lambda asked: json.dumps({"concepts": [concept()]})
    consolidate: Reply = lambda asked: json.dumps({"cues": ["one"], "implementation": ["one"]})
    derive: Reply = lambda asked: "The rows are the same backwards."
    lessons: Reply = lambda asked: json.dumps(
        {"lessons": [{"situation": "rows look turned", "suggestion": "mirror them"}]}
    )
    seen: list[Asked] = field(default_factory=list)

    def plan(self, purpose: str, messages: Sequence[Message], sampling: Sampling, schema: JsonSchema | None) -> Planned:
        """See `Script`."""
        name = purpose.removeprefix("arcmemo.")
        asked = Asked(name, tuple(messages), sampling.seed or 0, len(self.of(name)))
        self.seen.append(asked)
        # Other agents get the reply of an empty script.
        said = getattr(self, name)(asked) if purpose.startswith("arcmemo.") else Rule()
        return Script((said if isinstance(said, Rule) else Rule(reply=said),)).plan(purpose, messages, sampling, schema)

    def of(self, *purposes: str) -> list[Asked]:
        """What was asked for these purposes, in order."""
        return [asked for asked in self.seen if asked.purpose in purposes]

    @property
    def purposes(self) -> list[str]:
        """The purposes of all calls, in order."""
        return [asked.purpose for asked in self.seen]


def spec(**more: Any) -> RunSpec:
    """A run of the agent; options of the agent come in `config`. One sample, unless it says otherwise."""
    config = {"samples": 1, **more.pop("config", {})}
    defaults: dict[str, Any] = {"agent": "arcmemo", "input": puzzle(), "seed": 5}
    return RunSpec(**{**defaults, **more}, config=config)


def learning(**more: Any) -> RunSpec:
    """A run that reads and writes the vault `default`, where nothing is held out."""
    return spec(**{"vaults": ("default",), "explore": 0.0, **more})


def detail(record: RunRecord) -> dict[str, Any]:
    """The agent's own account of the run."""
    assert isinstance(record.output, dict), record.error
    found: Any = record.output["detail"]
    return dict(found)


@asynccontextmanager
async def opened(solver: Solver | None = None) -> AsyncIterator[tuple[Trial, Solver]]:
    """The trial of the module with an empty store, and a solver."""
    made = solver or Solver()
    async with search(cast(Any, made)) as (trial, _):
        yield trial, made


async def stored(trial: Trial, kind: str = "concept") -> list[MemCube]:
    """What the vault holds of that kind, the oldest first."""
    found = await trial.parts.memory.list(OWNER, Where(), limit=200)
    return [cube for cube in found.items if cube.semantic_type == kind and cube.state == "activated"][::-1]
