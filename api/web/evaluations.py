"""What is shown of evaluations, on pages and in a file that is sent around: one report, one sample, two side by side.

Both readers get the same values and the same templates. The file is one HTML document: styles inside, plots as SVG, no
script, and a policy that lets it fetch nothing. Source: evaluation sheet §3.9; design ui.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import fsum
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from api.web import grids
from api.web.plots import Plot, Point, Series, shares
from api.web.render import STATIC, fragment
from api.web.rows import question_of
from evals import registry, report
from evals.base import TellsMore
from evals.compare import Comparison
from evals.cost import Prices
from evals.log import Log
from evals.records import Record
from evals.samples import VERDICTS, changes, tallies
from evals.statistics import wilson
from evals.summary import in_order
from runtime import textsafe
from runtime.errors import UnknownName

STYLES: Final = ("app.css", "evals.css")
# Arms of a lift, as they are called where there is room.
ARMS: Final[Mapping[str, str]] = {
    "memory": "with memory",
    "without": "no memory",
    "placebo": "placebo of equal length",
    "equal_calls": "vote with as many calls",
}


def told(home: Path, log: Log, prices: Prices) -> dict[str, Any]:
    """The report of an evaluation and a line for each of its samples."""
    asked = log.samples()
    lines = [_line(asdict(one), asked[one.item]) for one in tallies(log.records())]
    return {"eval": report.full(home, log, prices), "samples": lines}


def drawn(view: Mapping[str, Any]) -> dict[str, Any]:
    """What a template needs beside the view: plots, and the suite's own figures in words."""
    one = view["eval"]
    suite = registry.known(one["suite"])
    more: list[str] = suite.lines(one["figures"]) if isinstance(suite, TellsMore) and one.get("figures") else []
    return {"frontier": _frontier(one), "course": _course(one), "figures": more, "arms": ARMS}


def sample(log: Log, item: str) -> dict[str, Any]:
    """One problem with every attempt at it. Raises `UnknownName` when the evaluation did not ask it."""
    asked = log.samples().get(item)
    if asked is None:
        raise UnknownName(f"item {item!r}: evaluation {log.id!r} did not ask it", param="item")
    records = [record for record in in_order(log.records()) if record.item_id == item]
    return {
        "eval": report.row_of(log),
        "asked": asked,
        "attempts": [_attempt(record) for record in records],
    }


def puzzle(asked: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The grids of a task of ARC: its examples, and for each attempt its tests; None for any other task."""
    task = asked["prompt"]
    if not isinstance(task, dict) or task.get("kind") != "arc":
        return None
    return {
        "pairs": grids.pairs(task),
        "tests": [grids.trials(task, one["parts"].get("attempts") or [], asked["gold"]) for one in attempts],
    }


def compared(found: Comparison, prices: Prices, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Two evaluations with their problems one by one. `asked`: the samples of the first."""
    lines = []
    for change in changes(found.a, found.b):
        a, b = _line(asdict(change.a), asked[change.item]), asdict(change.b)
        lines.append(
            {"item": change.item, "set": change.set, "verdict": change.verdict, "asked": a["asked"], "a": a, "b": b}
        )
    counts = Counter(line["verdict"] for line in lines)
    return {
        "comparison": found.to_json(prices),
        "counts": {verdict: counts[verdict] for verdict in VERDICTS},
        "samples": lines,
        "intervals": {
            "a": _interval([line["a"]["score"] for line in lines]),
            "b": _interval([line["b"]["score"] for line in lines]),
        },
    }


def _interval(scores: Sequence[float]) -> list[float]:
    """The ends of the 95 % interval of the mean of problems, by the rule of the report of one evaluation."""
    found = wilson(min(fsum(scores), len(scores)), len(scores))
    return [found.low, found.high]


def across(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Accuracy against tokens, one plot for each suite with more than one evaluation."""
    found: list[Plot] = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        those = [row for row in rows if row["suite"] == suite and row["accuracy"] is not None and row["tokens"]]
        series = [
            Series(
                _name(row),
                (Point(row["tokens"], row["accuracy"], _point(row), row["low"], row["high"]),),
                f"/ui/evals/{row['id']}",
            )
            for row in those
        ]
        plot = shares(f"{suite}: accuracy against tokens", "tokens for an attempt", series) if len(series) > 1 else None
        found += [plot] if plot is not None else []
    return found


def html(home: Path, log: Log, prices: Prices) -> str:
    """The report as one HTML document that needs nothing else. Raises what reading the log raises."""
    view = told(home, log, prices)
    records, asked = in_order(log.records()), log.samples()
    details = []
    for line in view["samples"]:
        attempts = [_attempt(record) for record in records if record.item_id == line["item"]]
        one = asked[line["item"]]
        details.append({"line": line, "gold": _gold(one), "attempts": attempts, "puzzle": puzzle(one, attempts)})
    # Our own files, in a style element: nothing in them is text of others.
    style = Markup("\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES))
    return fragment("eval_report.html", linked=False, root="", style=style, details=details, **view, **drawn(view))


def _attempt(record: Record) -> dict[str, Any]:
    return {**asdict(record), "tokens": record.usage.tokens}


def _line(tally: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    return {**tally, "asked": question_of(asked["prompt"]), "gold": _gold(asked)}


def _gold(asked: Mapping[str, Any]) -> str:
    """The right answer as text; grids are drawn, not written."""
    prompt, gold = asked["prompt"], asked["gold"]
    if isinstance(prompt, dict) and prompt.get("kind") == "arc":
        return ""
    return gold if isinstance(gold, str) else textsafe.dumps(gold)


def _frontier(one: Mapping[str, Any]) -> Plot | None:
    """Accuracy against tokens for one answer and for the vote of more, with the same of the controls; None for one point,
    which is no course."""
    if one.get("lift"):
        by_arm: dict[str, list[Point]] = {}
        for point in one["lift"]["tokens"]:
            by_arm.setdefault(point["arm"], []).append(_of_k(point))
        arms = one["lift"]["arms"]
        series = [
            Series(ARMS.get(arm, arm), tuple(points), f"/ui/evals/{arms[arm]['id']}") for arm, points in by_arm.items()
        ]
    else:
        series = [Series(one["agent"], tuple(_of_k(point) for point in one["curve"]))]
    if sum(len(one.points) for one in series) < 2:
        return None
    return shares("Accuracy against tokens", "tokens for a problem", series)


def _of_k(point: Mapping[str, Any]) -> Point:
    what = "one answer" if point["k"] == 1 else f"majority of {point['k']}"
    return Point(
        point["tokens"], point["accuracy"], f"{what}: {100 * point['accuracy']:.1f} % at {point['tokens']:.0f} tokens"
    )


def _course(one: Mapping[str, Any]) -> Plot | None:
    """How accuracy went along the items, where the store grew with them."""
    parts = one.get("learning") or []
    points = [
        Point(part["quarter"], part["accuracy"], f"quarter {part['quarter']}: {100 * part['accuracy']:.1f} %")
        for part in parts
    ]
    return shares("Accuracy along the items", "quarter of the order", [Series("accuracy", tuple(points))])


def _name(row: Mapping[str, Any]) -> str:
    memory = "" if row["memory"] == "off" else f", memory {row['memory']}"
    return f"{row['agent']}{memory}{', ' + ARMS.get(row['control'], row['control']) if row['control'] else ''}"


def _point(row: Mapping[str, Any]) -> str:
    return f"{_name(row)}: {100 * row['accuracy']:.1f} % at {row['tokens']:.0f} tokens"
