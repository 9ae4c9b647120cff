"""Grids in replies: which ones are the answer.

The last JSON grid counts: `[[0, 1], [2, 3]]`, rows of single digits. Grids with nothing but a comma between them are a
list, one grid for each test input in order; further ones are left out. Where there are several test inputs and the last
list is a single grid, the last grids of the reply are taken, one for each test input. Reading is linear in the length of
the text. Source: evaluation sheet §3.1.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Final

Grid = list[list[int]]
LONGEST: Final = 30
COLOURS: Final = range(10)
# Possessive, so that a reply of brackets costs no more than reading it.
ROW: Final = r"\[\s*+[0-9]\s*+(?:,\s*+[0-9]\s*+)*+\]"
GRID: Final = re.compile(rf"\[\s*+{ROW}\s*+(?:,\s*+{ROW}\s*+)*+\]")
COMMA: Final = re.compile(r"\s*,\s*")


def read_text(text: str, tests: int) -> list[Grid | None]:
    """The grid for each test input in a reply; None where there is none."""
    found = list(GRID.finditer(text))
    if not found:
        return [None] * tests
    start = len(found) - 1
    while start > 0 and COMMA.fullmatch(text, found[start - 1].end(), found[start].start()):
        start -= 1
    if len(found) - start == 1 and len(found) >= tests:
        start = len(found) - tests
    chosen: list[Grid | None] = [grid_of(json.loads(each.group())) for each in found[start : start + tests]]
    return chosen + [None] * (tests - len(chosen))


def grid_of(value: object) -> Grid | None:
    """The value when it is a grid: up to 30 rows of one length of up to 30 digits; else None."""
    if not isinstance(value, list) or not 1 <= len(value) <= LONGEST:
        return None
    if not all(isinstance(row, list) and 1 <= len(row) <= LONGEST for row in value):
        return None
    if len({len(row) for row in value}) != 1:
        return None
    cells = itertools.chain.from_iterable(value)
    return value if all(type(cell) is int and cell in COLOURS for cell in cells) else None
