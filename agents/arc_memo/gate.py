"""What must hold before a program is learned from. No check knows the output of a test.

`train`: it gets every train pair right; always asked for. `agree`: another sample found a different program that passes
too, and both give the same grids for the test inputs. `recolour`: colours are labels, so where colours are swapped in a
train pair the program must give the swapped output. Only colours that no number of the program names are swapped, since a
rule may speak of a colour; with fewer than two of them there is nothing to ask, and the check holds. Rotated or mirrored
pairs are not asked about: many rules have a direction, and nothing in a puzzle says whether its rule has one. Source:
arcmemo §4 (write gate), §5 (leakage); the two further checks are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.arc_memo.choosing import at_depth
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import COLOURS, Grid
from agents.arc_memo.programs import Attempt, holds
from agents.base import Context, Step
from agents.tasks import ArcTask
from runtime.sandbox.base import Limits

NUMBER: Final = re.compile(r"(?<![\w.])\d+(?![\w.])")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the gate opens, and why not."""

    opens: bool
    why: str = ""


async def judged(
    ctx: Context,
    step: Step,
    config: ArcMemoConfig,
    task: ArcTask,
    best: Attempt,
    threads: Sequence[Sequence[Attempt]],
) -> Verdict:
    """Whether `best`, which passes the train pairs, may be learned from. Raises `SandboxUnavailable`."""
    assert best.whole is not None
    if "agree" in config.gate and not agrees(best, threads):
        return Verdict(False, "no other program that passes the train pairs gives the same test outputs")
    if "recolour" in config.gate:
        pairs = recoloured(task, best.whole)
        if pairs and not await holds(ctx, step, best.whole, Limits(seconds=config.seconds), pairs, "recolour"):
            return Verdict(False, "with colours swapped that it does not name, the program is wrong on a train pair")
    return Verdict(True)


def agrees(best: Attempt, threads: Sequence[Sequence[Attempt]]) -> bool:
    """Whether a different program of another sample passes and gives the same grids for all test inputs."""
    depth = max((attempt.depth for thread in threads for attempt in thread), default=0)
    others = [a for a in at_depth(threads, depth) if a.passes and a.sample != best.sample and a.source != best.source]
    return None not in best.outputs and any(other.outputs == best.outputs for other in others)


def recoloured(task: ArcTask, source: str) -> list[tuple[Grid, Grid]]:
    """The train pairs with the colours moved on by one among those of the grids that the program does not name."""
    named = {int(number) for number in NUMBER.findall(source)}
    there = {cell for pair in task.train for grid in (pair.input, pair.output) for row in grid for cell in row}
    free = [colour for colour in range(COLOURS) if colour in there and colour not in named]
    if len(free) < 2:
        return []
    to = dict(zip(free, [*free[1:], free[0]], strict=True))

    def swapped(grid: Sequence[Sequence[int]]) -> Grid:
        return [[to.get(cell, cell) for cell in row] for row in grid]

    return [(swapped(pair.input), swapped(pair.output)) for pair in task.train]
