"""Grids on a terminal."""

from __future__ import annotations

import re

from evals import grids

TASK = {"train": [{"input": [[1, 2]], "output": [[0], [9]]}], "test": [{"input": [[3]]}, {"input": [[4]]}]}


def test_without_colour_there_are_digits_and_nothing_else() -> None:
    assert grids.pairs(TASK, colour=False).splitlines() == ["train 1   becomes", "1 2       0", "          9"]


def test_with_colour_each_cell_has_its_own_and_keeps_its_digit() -> None:
    (line,) = grids.rows([list(range(10))], colour=True)
    assert len(set(re.findall(r"48;5;(\d+)", line))) == 10
    assert re.sub(r"\033\[[\d;]*m", "", line) == "0 1 2 3 4 5 6 7 8 9 "


def test_attempts_stand_beside_what_is_right_and_say_whether_they_are() -> None:
    shown = grids.tests(TASK, [[[[5]], [[6]]], []], [[[6]], [[7]]], colour=False)
    first, second = shown.split("\n\n")
    assert first.splitlines() == [
        "test 1   attempt 1 ✗   attempt 2 ✓   right",
        "3        5             6             6",
    ]
    assert second.splitlines() == ["test 2   no attempt   right", "4        –            7"]


def test_what_is_right_is_left_out_where_it_may_not_be_shown() -> None:
    shown = grids.tests(TASK, [[[[5]]], []], None, colour=False)
    assert "right" not in shown
    assert "✗" not in shown
