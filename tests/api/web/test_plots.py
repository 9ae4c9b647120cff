"""Where the marks of a plot stand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from api.web.plots import Point, Series, shares

VALUES = st.floats(0, 1e12, allow_nan=False)
SHARES = st.floats(0, 1)


@settings(max_examples=50)
@given(st.lists(st.tuples(VALUES, SHARES), min_size=1, max_size=6))
def test_every_mark_stands_inside_and_in_order(values: list[tuple[float, float]]) -> None:
    plot = shares("t", "x", [Series("s", tuple(Point(x, y, "p", y / 2, y) for x, y in values))])
    assert plot is not None
    marks = plot.series[0].marks
    assert all(plot.left <= mark.x <= plot.right and plot.top <= mark.y <= plot.bottom for mark in marks)
    assert all(mark.low >= mark.high for mark in marks if mark.low is not None and mark.high is not None)
    assert all(plot.left <= tick.at <= plot.right for tick in plot.x_ticks)
    assert 2 <= len(plot.x_ticks) <= 8
    by_value = sorted(zip(values, marks, strict=True), key=lambda pair: pair[0][0])
    assert [mark.x for _, mark in by_value] == sorted(mark.x for mark in marks)


def test_nothing_to_draw_is_no_plot() -> None:
    assert shares("t", "x", [Series("s", ())]) is None


def test_values_that_are_all_zero_are_drawn() -> None:
    plot = shares("t", "x", [Series("s", (Point(0, 0, "p"),))])
    assert plot is not None
    assert plot.series[0].marks[0].x == plot.left
