"""Programs of a reply, and what they do: found in the text, run in the sandbox, told as attempts.

A program is run on the train inputs first. Only one that gives a grid for some of them is run on the test inputs too: of
one that fails everywhere nothing is to be had. What comes back are grids or the reasons why not, never a right answer of
a test. Source: arcmemo §3.8, §5; contract §6 (promise 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import JsonValue

from agents.arc_memo.grids import Grid, NoGrid, checked
from agents.base import Context, Step
from agents.tasks import ArcTask
from agents.verifiers.programs import FENCE
from runtime.events import ToolCalled, ToolResult
from runtime.sandbox.base import Case, Limits, Program
from runtime.types import JsonObject

ENTRY: Final = "transform"
TOOL: Final = "sandbox"
FIRST: Final = "train"
PYTHON: Final = ("python", "python3", "py", "")
OPEN_FENCE: Final = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)\b", re.MULTILINE)
DEFINES: Final = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{ENTRY}\b|^{ENTRY}[ \t]*=", re.MULTILINE)
# A program may begin with it only where nothing stands ahead, so it goes to the top.
FUTURE: Final = re.compile(r"^from __future__ import (?:\([^)]*\)|[^\n(;]+)\n", re.MULTILINE)
MAX_SOURCE_CHARS: Final = 40_000
MAX_ERROR_CHARS: Final = 600


@dataclass(frozen=True, slots=True)
class NoProgram:
    """Why there is no program in a reply."""

    why: str


def program_of(text: str) -> str | NoProgram:
    """The first fenced Python block of a reply; a block without a language counts when none has one."""
    if not text.strip():
        return NoProgram("the reply was empty")
    found: list[tuple[str, str]] = FENCE.findall(text)
    blocks = [(language.lower(), body) for language, body in found if language.lower() in PYTHON]
    source = next((body for language, body in blocks if language), blocks[0][1] if blocks else None)
    if source is None:
        cut_off = OPEN_FENCE.search(text) is not None
        return NoProgram("the code block has no end" if cut_off else "there is no fenced Python block in the reply")
    if len(source) > MAX_SOURCE_CHARS:
        return NoProgram(f"the program is longer than {MAX_SOURCE_CHARS} characters")
    if not DEFINES.search(source):
        return NoProgram(f"the program defines no function {ENTRY!r}")
    return source.strip() + "\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a program gave for one train input: right or not, the grid, or why there is none."""

    correct: bool
    output: Grid | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One program of one sample, `depth` retries in. `problem`: why there is none; `outputs`: one for each test input;
    `helpers`: the texts of the helpers that it was run with, by concept, which no step keeps."""

    sample: int
    depth: int
    source: str | None
    problem: str | None
    train: tuple[Shown, ...]
    outputs: tuple[Grid | None, ...]
    level: str | None
    helpers: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> str | None:
        """The program with the helpers that it was run with."""
        return None if self.source is None else linked(self.helpers.values(), self.source)

    @property
    def share(self) -> float:
        """The share of train pairs that it gets right."""
        return sum(each.correct for each in self.train) / len(self.train) if self.train else 0.0

    @property
    def passes(self) -> bool:
        """Whether it gets every train pair right."""
        return bool(self.train) and all(each.correct for each in self.train)

    def to_json(self) -> JsonObject:
        """As a step keeps it."""
        return {
            "sample": self.sample,
            "depth": self.depth,
            "source": self.source,
            "problem": self.problem,
            "train": [{"correct": s.correct, "output": _json(s.output), "error": s.error} for s in self.train],
            "outputs": [_json(output) for output in self.outputs],
            "level": self.level,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Attempt:
        """Read what `to_json` wrote."""
        train = tuple(Shown(**each) for each in kept["train"])
        return cls(**{**kept, "train": train, "outputs": tuple(kept["outputs"])})


def failed(sample: int, depth: int, why: str, task: ArcTask) -> Attempt:
    """An attempt without a program."""
    return Attempt(sample, depth, None, why, (), (None,) * len(task.test), None)


def linked(helpers: Iterable[str], program: str) -> str:
    """The program with helpers ahead of it, so that what it defines itself takes their place; as it is without any."""
    texts = [*helpers]
    if not texts:
        return program
    first = "".join(dict.fromkeys(found.group() for found in FUTURE.finditer(program)))
    return "\n\n".join([*([first] if first else []), *texts, FUTURE.sub("", program)])


async def tried(
    ctx: Context,
    step: Step,
    task: ArcTask,
    source: str,
    limits: Limits,
    *,
    sample: int,
    depth: int,
    helpers: Mapping[str, str] | None = None,
) -> Attempt:
    """Run a program for a sample; two lines of the log for each call of the sandbox. `helpers`: the texts of those that it
    may call, by concept. Raises `SandboxUnavailable`."""
    attempt = Attempt(sample, depth, source, None, (), (), None, helpers or {})
    whole = attempt.whole or source
    cases, level = await _called(ctx, step, whole, [pair.input for pair in task.train], FIRST, limits)
    train = tuple(_shown(case, pair.output) for case, pair in zip(cases, task.train, strict=True))
    outputs: tuple[Grid | None, ...] = (None,) * len(task.test)
    if any(each.output is not None for each in train):
        cases, _ = await _called(ctx, step, whole, [each.input for each in task.test], "test", limits)
        outputs = tuple(_shown(case, None).output for case in cases)
    return replace(attempt, train=train, outputs=outputs, level=level)


async def holds(
    ctx: Context, step: Step, source: str, limits: Limits, pairs: Sequence[tuple[Grid, Grid]], name: str
) -> bool:
    """Whether a program gives the output of each pair. Raises `SandboxUnavailable`."""
    cases, _ = await _called(ctx, step, source, [given for given, _ in pairs], name, limits)
    return all(_shown(case, wanted).correct for case, (_, wanted) in zip(cases, pairs, strict=True))


async def _called(
    ctx: Context, step: Step, source: str, inputs: Sequence[Grid], name: str, limits: Limits
) -> tuple[tuple[Case, ...], str]:
    call = f"{step.key}.{name}"
    told = {"entry": ENTRY, "inputs": f"{len(inputs)} {name} inputs"}
    # The source stands in the log once, with its first call.
    arguments = json.dumps({**told, "source": source} if name == FIRST else told)
    await step.emit(ToolCalled(call_id=call, name=TOOL, arguments=arguments))
    given: list[JsonValue] = [[[*row] for row in grid] for grid in inputs]
    outcome = await ctx.sandbox.run(Program(source, ENTRY, tuple(given)), tenant=ctx.owner, limits=limits)
    errors = [case.error or case.failure for case in outcome.cases if case.failure is not None]
    summary = f"{len(inputs) - len(errors)} of {len(inputs)} calls returned ({outcome.level})"
    result = f"{summary}; {_cut(str(errors[0]))}" if errors else summary
    await step.emit(ToolResult(call_id=call, result=result, ok=not errors, cpu_seconds=round(outcome.cpu_seconds, 4)))
    return outcome.cases, outcome.level


def _shown(case: Case, wanted: Sequence[Sequence[int]] | None) -> Shown:
    if case.failure is not None:
        words = {"timeout": "took too long", "memory": "used too much memory", "output": "returned too much"}
        why = case.error or words.get(case.failure, "was stopped")
        return Shown(False, None, _cut(f"{case.failure}: {why}"))
    grid = checked(case.value)
    if isinstance(grid, NoGrid):
        return Shown(False, None, _cut(f"no grid: {grid.why}"))
    return Shown(wanted is not None and grid == [[*row] for row in wanted], grid, None)


def _json(grid: Grid | None) -> JsonValue:
    return None if grid is None else [[*row] for row in grid]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_ERROR_CHARS else f"…{text[-MAX_ERROR_CHARS:]}"
