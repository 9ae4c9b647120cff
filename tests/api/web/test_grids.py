"""Grids as SVG: every cell in its colour, wrong ones marked."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from api.web.grids import draw, trials

SIZES = st.integers(1, 8)


@st.composite
def grids(make: st.DrawFn) -> list[list[int]]:
    height, width = make(SIZES), make(SIZES)
    return [make(st.lists(st.integers(0, 9), min_size=width, max_size=width)) for _ in range(height)]


def cells(svg: str) -> dict[tuple[int, int], int]:
    """The colour of every cell, read back from the drawing."""
    found: dict[tuple[int, int], int] = {}
    for path in ElementTree.fromstring(svg).iter():
        name = path.get("class", "")
        if re.fullmatch(r"arc\d", name):
            for x, y, wide in re.findall(r"M(\d+) (\d+)h(\d+)v1", path.get("d", "")):
                found |= {(int(x) + n, int(y)): int(name[3:]) for n in range(int(wide))}
    return found


@settings(max_examples=25, deadline=None)
@given(grids())
def test_every_cell_has_its_colour(grid: list[list[int]]) -> None:
    drawn = draw(grid, "it", gold=grid)
    assert cells(str(drawn.svg)) == {(x, y): cell for y, row in enumerate(grid) for x, cell in enumerate(row)}
    assert (drawn.tone, drawn.wrong, "cross" in str(drawn.svg)) == ("good", 0, False)


def test_wrong_cells_are_marked_and_counted() -> None:
    drawn = draw([[1, 2], [3, 4]], "Attempt 1", gold=[[1, 2], [3, 5]])
    assert (drawn.title, drawn.tone, drawn.wrong) == ("Attempt 1, 1 cell wrong", "bad", 1)
    assert 'class="cross" d="M1.22 1.22' in str(drawn.svg)
    other = draw([[1, 2, 3]], "Attempt 2", gold=[[1], [2]])
    assert (other.title, other.wrong) == ("Attempt 2, 1 × 3 instead of 2 × 1", 2)


def test_a_test_that_nothing_was_submitted_for_says_so() -> None:
    (found,) = trials({"test": [{"input": [[1]]}]}, [], [[[2]]])
    assert [(one.title, one.svg) for one in found.attempts] == [("No attempt", None)]


def test_a_title_cannot_be_markup() -> None:
    assert "<script>" not in str(draw([[0]], '"><script>').svg)
