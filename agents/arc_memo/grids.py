"""Grids: what counts as one, how a model reads one, and how a puzzle is drawn.

A grid is a list of 1 to 30 rows of one length, 1 to 30 cells, each a whole number from 0 to 9. What a program returns is
anything; `checked` says which grid it is, or why it is none, in words that help to mend the program. Source: arcmemo §3.8,
§5; evals §3.1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from agents.tasks import ArcTask

Grid = list[list[int]]
SIDE: Final = 30
COLOURS: Final = 10
SHOWN_CHARS: Final = 300
# The colours in which the puzzles are usually drawn, and the grey of the lines between cells.
PALETTE: Final = (
    (0, 0, 0),
    (0, 116, 217),
    (255, 65, 54),
    (46, 204, 64),
    (255, 220, 0),
    (170, 170, 170),
    (240, 18, 190),
    (255, 133, 27),
    (127, 219, 255),
    (135, 12, 37),
)
LINE: Final = (85, 85, 85)
CELL: Final = 12


@dataclass(frozen=True, slots=True)
class NoGrid:
    """Why a value is no grid."""

    why: str


def checked(value: JsonValue) -> Grid | NoGrid:
    """The grid that a value is. Whole numbers that arrive as floats count; truth values do not."""
    if not isinstance(value, list):
        return NoGrid(f"expected a two-dimensional list of numbers, got {_shown(value)}")
    if not 1 <= len(value) <= SIDE:
        return NoGrid(f"a grid has 1 to {SIDE} rows, got {len(value)}")
    grid: Grid = []
    for row in value:
        if not isinstance(row, list):
            return NoGrid(f"expected a list of rows, got a row {_shown(row)}")
        if not 1 <= len(row) <= SIDE:
            return NoGrid(f"a row has 1 to {SIDE} cells, got {len(row)}")
        cells: list[int] = []
        for cell in row:
            if isinstance(cell, list):
                return NoGrid("expected two dimensions, got three or more")
            if isinstance(cell, bool) or not isinstance(cell, int | float) or cell != cell // 1:
                return NoGrid(f"a cell is a whole number from 0 to {COLOURS - 1}, got {_shown(cell)}")
            if not 0 <= cell < COLOURS:
                return NoGrid(f"a cell is a whole number from 0 to {COLOURS - 1}, got {_shown(cell)}")
            cells.append(int(cell))
        grid.append(cells)
    if len({len(row) for row in grid}) != 1:
        return NoGrid(f"all rows have one length, got {sorted({len(row) for row in grid})}")
    return grid


def text_of(grid: Sequence[Sequence[int]]) -> str:
    """A grid as text: a line for each row, cells parted by blanks, the dimensions ahead."""
    rows = "\n".join(" ".join(str(cell) for cell in row) for row in grid)
    return f"({len(grid)} x {len(grid[0])})\n{rows}"


def examples_text(task: ArcTask) -> str:
    """The train pairs, numbered from 1."""
    return "\n\n".join(
        f"Example {number}\ninput {text_of(pair.input)}\noutput {text_of(pair.output)}"
        for number, pair in enumerate(task.train, start=1)
    )


def tests_text(task: ArcTask) -> str:
    """The test inputs, numbered from 1."""
    return "\n\n".join(f"Test input {number} {text_of(each.input)}" for number, each in enumerate(task.test, start=1))


def puzzle_text(task: ArcTask) -> str:
    """All that is known of a puzzle."""
    return f"{examples_text(task)}\n\n{tests_text(task)}"


def problem_id(task: ArcTask) -> str:
    """The name of the problem: its own, or a hash of its train pairs."""
    if task.id is not None:
        return task.id
    pairs = json.dumps([[pair.input, pair.output] for pair in task.train], separators=(",", ":"))
    return f"arc_{hashlib.sha256(pairs.encode()).hexdigest()[:16]}"


def picture(task: ArcTask) -> str:
    """The puzzle as a PNG picture in a data URL: a row for each train pair, input beside output, then the test inputs."""
    rows = [[pair.input, pair.output] for pair in task.train] + [[each.input] for each in task.test]
    tall = [max(len(grid) for grid in row) * CELL + 1 for row in rows]
    wide = max(sum(len(grid[0]) * CELL + 1 for grid in row) + CELL * (len(row) - 1) for row in rows)
    pixels = [bytearray(bytes((255, 255, 255)) * wide) for _ in range(sum(tall) + CELL * (len(rows) - 1))]
    top = 0
    for row, height in zip(rows, tall, strict=True):
        left = 0
        for grid in row:
            _draw(pixels, grid, top, left)
            left += len(grid[0]) * CELL + 1 + CELL
        top += height + CELL
    return f"data:image/png;base64,{base64.b64encode(_png(pixels, wide)).decode()}"


def _draw(pixels: list[bytearray], grid: Sequence[Sequence[int]], top: int, left: int) -> None:
    high, wide = len(grid) * CELL + 1, len(grid[0]) * CELL + 1
    for y in range(high):
        line = bytearray()
        for x in range(wide):
            on_line = x % CELL == 0 or y % CELL == 0
            line += bytes(LINE if on_line else PALETTE[grid[y // CELL][x // CELL]])
        pixels[top + y][left * 3 : (left + wide) * 3] = line


def _png(pixels: Sequence[bytearray], wide: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", wide, len(pixels), 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\x00" + bytes(line) for line in pixels), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _shown(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
