"""Where the marks of a plot stand. Pure geometry: values in, positions out; the templates draw them as SVG, so a plot is
the same on a page and in a file that is sent around, and needs no script. Source: ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 480
HEIGHT: Final = 250
LEFT: Final = 44
RIGHT: Final = 14
TOP: Final = 12
BOTTOM: Final = 40
# The shortest axis; of values that are all zero too.
LEAST: Final = 1e-6
TONES: Final = ("k1", "k2", "k3", "k4", "k5", "k7", "k8", "k6")


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a series: `x` of any unit, `y` a share of 1 with its 95 % interval where there is one."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points that a line connects. `path`: the page behind it, from the root."""

    name: str
    points: tuple[Point, ...]
    path: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in the drawing; `low` and `high` are the ends of its whisker."""

    x: float
    y: float
    label: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series in the drawing: `line` are the points of an SVG polyline."""

    name: str
    path: str
    tone: str
    line: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Everything that a template needs to draw it."""

    title: str
    across: str
    series: tuple[Drawn, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def shares(title: str, across: str, series: Sequence[Series]) -> Plot | None:
    """Shares from 0 to 100 % against a quantity that begins at 0; None when there is no point."""
    filled = [one for one in series if one.points]
    if not filled:
        return None
    most = max([LEAST, *(point.x * 1.06 for one in filled for point in one.points)])
    step = _step(most)
    drawn = tuple(_drawn(one, TONES[number % len(TONES)], most) for number, one in enumerate(filled))
    across_ticks = tuple(Tick(_x(n * step, most), f"{n * step:,g}") for n in range(int(most / step) + 1))
    return Plot(title, across, drawn, across_ticks, tuple(Tick(_y(n / 4), f"{25 * n} %") for n in range(5)))


def _drawn(series: Series, tone: str, most: float) -> Drawn:
    marks = tuple(
        Mark(
            _x(point.x, most),
            _y(point.y),
            point.label,
            None if point.low is None else _y(point.low),
            None if point.high is None else _y(point.high),
        )
        for point in series.points
    )
    return Drawn(series.name, series.path, tone, " ".join(f"{mark.x},{mark.y}" for mark in marks), marks)


def _x(value: float, most: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * value / most, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, share))), 1)


def _step(most: float) -> float:
    """A round number that goes two to six times into `most`."""
    size = 10.0 ** math.floor(math.log10(most))
    return next(size * part for part in (0.2, 0.5, 1, 2) if most / (size * part) <= 6)
