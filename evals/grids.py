"""Grids for a terminal: rows of digits, or blocks of colour with the digit in them. Pure. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Grid = Sequence[Sequence[int]]
# Background and foreground of the ten colours in the palette of 256.
PALETTE: Final = (
    *((16, 240), (27, 231), (160, 231), (34, 231), (220, 16)),
    *((244, 231), (201, 231), (208, 16), (117, 16), (88, 231)),
)
GAP: Final = "   "


def rows(grid: Grid, *, colour: bool) -> list[str]:
    """The lines of a grid, two characters for each cell."""
    return ["".join(_cell(cell, colour=colour) for cell in row) for row in grid]


def beside(blocks: Sequence[tuple[str, Grid | None]], *, colour: bool) -> str:
    """Grids with their headings, side by side; None is shown as missing."""
    columns = []
    for heading, grid in blocks:
        width = max(len(heading), 2 * len(grid[0]) if grid else 1)
        drawn = rows(grid, colour=colour) if grid else ["–"]
        shown = 2 * len(grid[0]) if grid else 1
        columns.append([heading.ljust(width), *(line + " " * (width - shown) for line in drawn)])
    height = max(len(column) for column in columns)
    padded = [column + [" " * len(column[0])] * (height - len(column)) for column in columns]
    return "\n".join(GAP.join(line).rstrip() for line in zip(*padded, strict=True))


def pairs(task: Mapping[str, Any], *, colour: bool) -> str:
    """The train pairs of a task."""
    return "\n\n".join(
        beside([(f"train {n}", pair["input"]), ("becomes", pair["output"])], colour=colour)
        for n, pair in enumerate(task["train"], start=1)
    )


def tests(
    task: Mapping[str, Any], attempts: Sequence[Sequence[Grid]], gold: Sequence[Grid] | None, *, colour: bool
) -> str:
    """Each test input with what was submitted for it, and with what is right where that may be shown."""
    shown = []
    for n, (pair, given) in enumerate(zip(task["test"], attempts, strict=True)):
        blocks: list[tuple[str, Grid | None]] = [(f"test {n + 1}", pair["input"])]
        for number, grid in enumerate(given or [None], start=1):
            mark = "" if gold is None else " ✓" if grid == gold[n] else " ✗"
            blocks.append((f"attempt {number}{mark}" if grid else "no attempt", grid))
        if gold is not None:
            blocks.append(("right", gold[n]))
        shown.append(beside(blocks, colour=colour))
    return "\n\n".join(shown)


def _cell(cell: int, *, colour: bool) -> str:
    if not colour:
        return f"{cell} "
    back, front = PALETTE[cell]
    return f"\033[48;5;{back};38;5;{front}m{cell} \033[0m"
