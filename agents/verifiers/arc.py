"""Grids by example: a program in the answer is run on the train pairs, whose outputs are part of the task.

The first program of the reply that defines `transform` counts. What is submitted for the test inputs is the JSON at the end
of the reply, and nobody but a grader can judge it; an answer without a program has no verdict. Programs only give grids
back, which are compared outside of the sandbox. Source: ours.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pydantic import JsonValue

from agents.arc_memo.grids import Grid, NoGrid, checked
from agents.tasks import ArcTask, Task
from agents.thinking import visible
from agents.verifiers.base import Verdict
from agents.verifiers.grids import read_text
from agents.verifiers.programs import MAX_SOURCE_CHARS, Programs, blocks_of, shortened, why_failed
from runtime.sandbox.base import Case, Limits, Program

ENTRY: Final = "transform"
DEFINES: Final = re.compile(rf"^(?:def[ \t]+{ENTRY}\b|{ENTRY}[ \t]*=)", re.MULTILINE)
# For the calls on all train inputs together.
LIMITS: Final = Limits()


class ArcVerifier:
    """For tasks of kind `arc`."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """The share of train pairs that the program of the reply gets right; the detail names the first that it does not."""
        if not isinstance(task, ArcTask):
            return None
        source = next((block for block in blocks_of(text) if DEFINES.search(block)), None)
        if source is None:
            return None
        if len(source) > MAX_SOURCE_CHARS:
            return Verdict(0.0, f"the program is longer than {MAX_SOURCE_CHARS} characters")
        inputs: list[JsonValue] = [[[*row] for row in pair.input] for pair in task.train]
        cases = await self._programs.run(Program(source, ENTRY, tuple(inputs)), LIMITS)
        if cases is None:
            return None
        faults = [_fault(case, pair.output) for case, pair in zip(cases, task.train, strict=True)]
        wrong = [f"train pair {number}: {why}" for number, why in enumerate(faults, start=1) if why is not None]
        right = len(faults) - len(wrong)
        told = f"program: {right} of {len(faults)} train pairs right"
        return Verdict(right / len(faults), f"{told}; {wrong[0]}" if wrong else told)

    async def canonical(self, task: Task, text: str) -> str | None:
        """The grids that the reply submits, as JSON."""
        if not isinstance(task, ArcTask):
            return None
        grids = read_text(visible(text), len(task.test))
        return json.dumps(grids, separators=(",", ":")) if any(grids) else None


def _fault(case: Case, wanted: Grid) -> str | None:
    if case.failure is not None:
        return why_failed(case)
    given = checked(case.value)
    if isinstance(given, NoGrid):
        return shortened(given.why)
    sizes = [f"{len(grid)} x {len(grid[0])}" for grid in (given, wanted)]
    if sizes[0] != sizes[1]:
        return f"the output is {sizes[0]}, expected {sizes[1]}"
    differing = sum(a != b for one, other in zip(given, wanted, strict=True) for a, b in zip(one, other, strict=True))
    return f"{differing} of {len(wanted) * len(wanted[0])} cells differ" if differing else None
