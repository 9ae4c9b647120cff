"""Grids: what counts as one, how one is read, and the picture of a puzzle."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.grids import NoGrid, checked, picture, problem_id, text_of
from agents.tasks import ArcTask
from tests.agents.arc_memo.puzzles import puzzle

SIZES = st.integers(1, 30)


@given(st.data(), SIZES, SIZES)
def test_a_grid_is_what_it_was(data: st.DataObject, high: int, wide: int) -> None:
    row = st.lists(st.integers(0, 9), min_size=wide, max_size=wide)
    grid = data.draw(st.lists(row, min_size=high, max_size=high))
    assert checked(grid) == grid  # type: ignore[arg-type]  # lists of numbers are JSON
    assert checked([[float(cell) for cell in row] for row in grid]) == grid
    head, *lines = text_of(grid).splitlines()
    assert head == f"({high} x {wide})"
    assert [[int(cell) for cell in line.split()] for line in lines] == grid


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "two-dimensional"),
        ("text", "two-dimensional"),
        ([], "1 to 30 rows"),
        ([[]], "1 to 30 cells"),
        ([[1]] * 31, "1 to 30 rows"),
        ([[1] * 31], "1 to 30 cells"),
        ([1, 2], "a list of rows"),
        ([[1], [1, 2]], "one length"),
        ([[10]], "0 to 9"),
        ([[-1]], "0 to 9"),
        ([[1.5]], "whole number"),
        ([[True]], "whole number"),
        ([["1"]], "whole number"),
        ([[None]], "whole number"),
        ([[float("nan")]], "whole number"),
        ([[float("inf")]], "whole number"),
        ([[[1]]], "two dimensions"),
        ({"a": 1}, "two-dimensional"),
    ],
)
def test_anything_else_is_none_and_the_reason_is_said(value: Any, why: str) -> None:
    found = checked(value)
    assert isinstance(found, NoGrid)
    assert why in found.why


def test_a_problem_without_a_name_is_known_by_its_train_pairs_alone() -> None:
    one = ArcTask.model_validate(puzzle(called=None))
    other_test = ArcTask.model_validate(puzzle(test=([[9]],), called=None))
    other_train = ArcTask.model_validate(puzzle([[1, 2, 3]], called=None))
    assert problem_id(one) == problem_id(other_test) != problem_id(other_train)
    assert problem_id(ArcTask.model_validate(puzzle(called="0ca9ddb6"))) == "0ca9ddb6"


def test_the_name_of_a_problem_is_shown_to_no_plain_model() -> None:
    assert "0ca9ddb6" not in ArcTask.model_validate(puzzle(called="0ca9ddb6")).messages()[0].text


def test_the_picture_is_a_png_of_the_size_it_says_with_the_colours_of_the_cells() -> None:
    kind, _, body = picture(ArcTask.model_validate(puzzle([[1, 2]], test=([[5]],)))).partition(",")
    assert kind == "data:image/png;base64"
    png = base64.b64decode(body)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    wide, high = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    at = png.index(b"IDAT")
    pixels = zlib.decompress(png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at])])
    assert len(pixels) == high * (1 + 3 * wide)
    line = pixels[6 * (1 + 3 * wide) + 1 :]
    assert line[6 * 3 : 7 * 3] == bytes((0, 116, 217))  # the middle of the first cell is blue
