"""Grids of ARC as SVG: ten colours, the digits on request, and a cross on each cell that is wrong.

The colours have classes, so a theme can change them; the digits are there for those who cannot tell colours apart. A grid
is drawn with one path for each colour, whatever its size. Source: ARC-AGI; ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

Grid = Sequence[Sequence[int]]
CELL: Final = 12
# A grid of one row would be as wide as the page; of thirty, cells too small to see.
LARGEST: Final = 252
SMALLEST: Final = 7


class Drawing(NamedTuple):
    """A grid with what stands above it; `svg` is none where nothing was submitted. `tone`: good, bad or nothing."""

    title: str
    svg: Markup | None
    tone: str = ""
    wrong: int = 0


class Trial(NamedTuple):
    """A test input, what is right, and the attempts at it."""

    asked: Drawing
    right: Drawing
    attempts: tuple[Drawing, ...]


def draw(grid: Grid, title: str, *, gold: Grid | None = None) -> Drawing:
    """A grid; with `gold` the cells that differ are marked, and a grid of another shape is wrong as a whole."""
    wrong = _wrong(grid, gold) if gold is not None else []
    right = gold is not None and [list(row) for row in grid] == [list(row) for row in gold]
    tone = "" if gold is None else "good" if right else "bad"
    told = title if gold is None or right else f"{title}, {_told(grid, gold, wrong)}"
    return Drawing(told, _svg(grid, told, wrong), tone, len(wrong))


def pairs(task: Mapping[str, Any]) -> list[tuple[Drawing, Drawing]]:
    """The examples of a task."""
    return [
        (draw(pair["input"], f"Example {n}"), draw(pair["output"], "becomes"))
        for n, pair in enumerate(task["train"], start=1)
    ]


def trials(task: Mapping[str, Any], attempts: Sequence[Sequence[Grid]], gold: Sequence[Grid]) -> list[Trial]:
    """The test inputs with what was submitted for them."""
    found = []
    for n, (pair, wanted) in enumerate(zip(task["test"], gold, strict=True)):
        given = attempts[n] if n < len(attempts) else []
        drawn = [draw(grid, f"Attempt {m}", gold=wanted) for m, grid in enumerate(given, start=1)]
        found.append(
            Trial(
                draw(pair["input"], f"Test {n + 1}"),
                draw(wanted, "Right"),
                tuple(drawn) or (Drawing("No attempt", None, "bad"),),
            )
        )
    return found


def _wrong(grid: Grid, gold: Grid) -> list[tuple[int, int]]:
    return [
        (x, y)
        for y, row in enumerate(grid)
        for x, cell in enumerate(row)
        if y >= len(gold) or x >= len(gold[y]) or gold[y][x] != cell
    ]


def _told(grid: Grid, gold: Grid, wrong: Sequence[object]) -> str:
    shape, wanted = (f"{len(one)} × {len(one[0]) if one else 0}" for one in (grid, gold))
    if shape != wanted:
        return f"{shape} instead of {wanted}"
    return f"{len(wrong)} cell{'' if len(wrong) == 1 else 's'} wrong"


def _svg(grid: Grid, title: str, wrong: Sequence[tuple[int, int]]) -> Markup:
    height, width = len(grid), max((len(row) for row in grid), default=0)
    size = max(SMALLEST, min(CELL + 4, LARGEST // max(height, width, 1)))
    cells: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(grid):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end] == row[x]:
                end += 1
            cells[int(row[x])].append(f"M{x} {y}h{end - x}v1h{x - end}z")
            x = end
    paths = "".join(f'<path class="arc{colour}" d="{"".join(parts)}"/>' for colour, parts in sorted(cells.items()))
    lines = "".join(f"M{x} 0V{height}" for x in range(width + 1)) + "".join(
        f"M0 {y}H{width}" for y in range(height + 1)
    )
    digits = "".join(_digits(row, y) for y, row in enumerate(grid))
    crosses = "".join(f"M{x + 0.22} {y + 0.22}l.56 .56M{x + 0.78} {y + 0.22}l-.56 .56" for x, y in wrong)
    marks = f'<path class="cross-back" d="{crosses}"/><path class="cross" d="{crosses}"/>' if crosses else ""
    return Markup(
        f'<svg class="arc" viewBox="-.1 -.1 {width + 0.2} {height + 0.2}" width="{width * size}" height="{height * size}" '
        f'role="img" aria-label="{escape(title)}: {height} × {width}">{paths}<path class="lines" d="{lines}"/>'
        f'<g class="digits" aria-hidden="true">{digits}</g>{marks}</svg>'
    )


def _digits(row: Sequence[int], y: int) -> str:
    """A row of digits as one text, with a place for each character."""
    places = " ".join(f"{x + 0.5}" for x in range(len(row)))
    return f'<text x="{places}" y="{y + 0.72}">{"".join(str(int(cell)) for cell in row)}</text>'
