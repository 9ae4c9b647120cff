"""What is shown of an evaluation: its summary, the cost of building its store, and its controls.

The same function answers the command line and HTTP; `text` is how a person reads it. Source: evaluation sheet §3.6-§3.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals import log as logs
from evals import registry
from evals.base import TellsMore
from evals.compare import Comparison, Side, compare
from evals.cost import Prices, cost_of
from evals.lift import CONTROLS, Control, lift
from evals.log import Log
from evals.records import Header
from evals.summary import curve, summarise
from runtime.errors import InvalidInput, UnknownName


def side_of(log: Log, name: str | None = None) -> Side:
    """An evaluation as one side of a comparison."""
    header = log.header()
    return Side(name or name_of(header), header, log.records())


def name_of(header: Header) -> str:
    """What it is called in sentences."""
    memory = "" if header.plan.memory == "off" else f" with memory {header.plan.memory}"
    return f"{header.plan.agent}{memory}{' (placebo)' if header.plan.placebo else ''}"


def full(home: Path, log: Log, prices: Prices = Prices()) -> dict[str, Any]:  # noqa: B008 - frozen
    """The summary as it is now, with `building` and `lift` where there are such."""
    side = side_of(log, "memory")
    told = summarise(side.header, side.records)
    told["cost"] = cost_of(side.records, prices).to_json()
    told["curve"] = curve(side.records)
    if side.header.built_by is not None:
        told["building"] = _building(home, side, prices)
    if side.header.control_of is not None:
        told["control_of"] = side.header.control_of
        told["control"] = side.header.control
    controls = controls_of(home, side.header.id)
    if controls and side.records:
        told["lift"] = lift(side, {name: side_of(each, name) for name, each in controls.items()}).to_json()
    return told


def finish(home: Path, log: Log, prices: Prices = Prices()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Compute it and keep it as summary.json."""
    told = full(home, log, prices)
    log.write_summary(told)
    return told


def controls_of(home: Path, id_: str) -> dict[Control, Log]:
    """The controls of an evaluation that have a record; of several of one kind the newest."""
    found: dict[Control, Log] = {}
    for log in logs.every(home):
        header = log.header()
        for control in CONTROLS:
            if (header.control_of, header.control) == (id_, control) and control not in found and log.records():
                found[control] = log
    return found


def compared(home: Path, a: str, b: str) -> Comparison:
    """Two evaluations by their ids. Raises `UnknownName`, `InvalidInput`."""
    sides = [side_of(logs.find(home, id_)) for id_ in (a, b)]
    if sides[0].name == sides[1].name:
        sides = [Side(f"{side.name} [{side.header.id[-6:]}]", side.header, side.records) for side in sides]
    return compare(*sides)


def row_of(log: Log) -> dict[str, Any]:
    """One line of the list: quick, from header and summary."""
    header, summary = log.header(), log.summary() or {}
    all_ = summary.get("scores", {}).get("all", {})
    each = summary.get("cost", {}).get("per_attempt", {})
    return {
        "id": header.id,
        "created_at": header.created_at,
        "suite": header.plan.suite,
        "agent": header.plan.agent,
        "models": summary.get("models", []),
        "memory": header.plan.memory,
        "control_of": header.control_of,
        "control": header.control,
        "status": summary.get("status", "incomplete"),
        "done": summary.get("done", 0),
        "expected": header.expected,
        "problems": header.samples,
        "accuracy": all_.get("accuracy"),
        "low": all_.get("low"),
        "high": all_.get("high"),
        "tokens": each.get("tokens"),
        "seconds": each.get("seconds"),
    }


def _building(home: Path, side: Side, prices: Prices) -> dict[str, Any]:
    built_by = str(side.header.built_by)
    try:
        records = logs.find(home, built_by).records()
    except UnknownName:
        return {"id": built_by, "cost": None}
    cost = cost_of(records, prices)
    over = max(1, side.header.samples)
    amortised = {"tokens": cost.tokens / over, "calls": cost.calls / over, "seconds": cost.seconds / over}
    if cost.money is not None:
        amortised["money"] = cost.money / over
    return {"id": built_by, "cost": cost.to_json(), "amortised_over": over, "amortised": amortised}


# -- for a person -----------------------------------------------------------------------------------------------------


def text(told: Mapping[str, Any]) -> str:
    """The report as plain text."""
    memory = told["memory"]
    lines = [
        f"{told['id']}  {told['suite']}  {told['agent']}  {', '.join(told['models']) or 'no run yet'}",
        f"{told['status']}: {told['done']} of {told['expected']} attempts"
        + ("" if memory["mode"] == "off" else f"  ·  memory {memory['mode']}{_online(memory)}"),
        *(
            f"data {each['name']}: {each['asked']} of {each['records']} records, split {each['split']}, "
            f"{each['sha256'][:12]}…, from {each['source']}"
            for each in told["sets"]
        ),
        "",
        *_scores(told["scores"]),
    ]
    runs = told["runs"]["each"]
    if len(runs) > 1:
        each = ", ".join(f"{100 * run['accuracy']:.1f}" for run in runs)
        lines.append(f"every pass: {each}  ·  mean {100 * told['runs']['mean']:.1f}, SD {100 * told['runs']['sd']:.1f}")
    if told.get("learning"):
        quarters = ", ".join(f"{100 * part['accuracy']:.1f}" for part in told["learning"])
        lines.append(f"by quarters of the order: {quarters}")
    suite = registry.known(told["suite"])
    if isinstance(suite, TellsMore) and told.get("figures"):
        lines += ["", *suite.lines(told["figures"])]
    lines += ["", *_cost(told["cost"])]
    if building := told.get("building"):
        lines += _built(building)
    if len(told.get("curve") or []) > 1:
        lines += ["", *_curve(told["curve"])]
    if told["overlaps"]:
        lines += ["", f"{len(told['overlaps'])} prompts stand in a memory by more than half of their 8-grams:"]
        lines += [f"  {o['item_id']}  {o['memory_id']}  {100 * o['share']:.0f} %" for o in told["overlaps"][:10]]
    if told.get("lift"):
        lines += ["", *_lift(told["lift"])]
    if told["notes"]:
        lines += ["", *(f"note: {note}" for note in told["notes"])]
    return "\n".join(lines)


def picture(log: Log, item_id: str, *, colour: bool) -> str:
    """The attempts at one item as the suite draws them. Raises `UnknownName` for an item that has no record, `InvalidInput`
    for a suite that draws nothing."""
    suite = registry.known(log.header().plan.suite)
    if not isinstance(suite, TellsMore):
        raise InvalidInput(
            f"suite {log.header().plan.suite!r}: has no picture of an item; leave --item out", param="item"
        )
    records = [record for record in log.records() if record.item_id == item_id]
    if not records:
        raise UnknownName(f"item {item_id!r}: evaluation {log.id!r} has no record of it", param="item")
    asked = log.samples()[item_id]
    parts = []
    for record in records:
        told = f"{item_id}  seed {record.seed}, attempt {record.attempt}: {record.detail or record.error or ''}"
        parts.append(f"{told}\n\n{suite.picture(asked, record, colour=colour)}")
    return "\n\n".join(parts)


def comparison_text(told: Mapping[str, Any]) -> str:
    """A comparison as plain text."""
    lines = _columns(
        ["", "accuracy", "tokens/attempt", "calls/attempt"],
        [
            [
                f"{side} {told[side]['id']} {told[side]['name']}{'' if told[side]['complete'] else ' (incomplete)'}",
                f"{100 * told[side]['accuracy']:.1f}",
                f"{told[side]['cost']['per_attempt']['tokens']:.0f}",
                f"{told[side]['cost']['per_attempt']['calls']:.1f}",
            ]
            for side in ("a", "b")
        ],
    )
    single = told["mcnemar"]
    lines.append(
        f"first pass: only a {single['only_a']}, only b {single['only_b']}, McNemar exact p = {single['p']:.3g}"
    )
    if not told["same_data"]:
        lines.append("the records of the two differ, prompts or answers: see `sets` of both")
    return "\n".join([*lines, told["sentence"]])


def _online(memory: Mapping[str, Any]) -> str:
    if not memory["online"]:
        return " (placebo)" if memory["placebo"] else " (read-only)"
    return f" (written during the run; orders {memory['orders']}, batch {memory['batch']})"


def _scores(scores: Mapping[str, Any]) -> list[str]:
    names = list(scores["sets"]) if len(scores["sets"]) > 1 else []
    rows = []
    for name, part in [("all", scores["all"]), *((name, scores["sets"][name]) for name in names)]:
        if not part["problems"]:
            return ["no attempt yet"]
        rows.append(
            [
                name,
                str(part["problems"]),
                f"{100 * part['accuracy']:.1f}",
                f"{100 * part['low']:.1f}–{100 * part['high']:.1f}",
                f"±{100 * part['half_width']:.1f}",
                "?" if part["chance"] is None else f"{100 * part['chance']:.1f}",
                f"{100 * part['with_fallback']:.1f}",
                f"{100 * part['missing']:.0f}",
                f"{100 * part['truncated']:.0f}",
                f"{100 * part['failed']:.0f}",
            ]
        )
    headings = ["", "problems", "accuracy %", "95 %", "half", "chance", "with fallback", "missing", "cut off", "failed"]
    lines = _columns(headings, rows)
    all_ = scores["all"]
    for key, label in (
        ("pass_at", "any of k"),
        ("majority_at", "majority of k"),
        ("guess_at", "any of k blind guesses"),
    ):
        if key in all_:
            lines.append(f"{label}: " + ", ".join(f"{k}: {100 * value:.1f}" for k, value in all_[key].items()))
    return lines


def _cost(cost: Mapping[str, Any]) -> list[str]:
    each = cost["per_attempt"]
    money = "" if cost["money"] is None else f", {cost['money']:.4f} {cost['currency']}"
    ran = f"; {cost['programs']} programs run, {cost['sandbox_seconds']:.1f} processor s" if cost["programs"] else ""
    return [
        f"cost: {cost['calls']} calls ({cost['retries']} retries), {cost['prompt_tokens']} prompt tokens "
        f"({cost['cached_tokens']} cached), {cost['completion_tokens']} generated, {cost['seconds']:.1f} s{money}"
        f"{'; some token counts are estimates' if cost['estimated'] else ''}",
        f"per attempt: {each['calls']:.1f} calls, {each['tokens']:.0f} tokens, {each['seconds']:.2f} s; longest context "
        f"{cost['peak_tokens']} tokens; memories read {cost['memory_reads']}, written {cost['memory_writes']}{ran}",
    ]


def _built(building: Mapping[str, Any]) -> list[str]:
    if building["cost"] is None:
        return [f"the store was built by {building['id']}, whose log is gone"]
    each = building["amortised"]
    return [
        f"building the store ({building['id']}): {building['cost']['calls']} calls, {building['cost']['tokens']} tokens; "
        f"over {building['amortised_over']} problems {each['calls']:.1f} calls and {each['tokens']:.0f} tokens each"
    ]


def _curve(points: Sequence[Mapping[str, Any]]) -> list[str]:
    return _columns(
        ["majority of", "tokens/problem", "accuracy %"],
        [[str(point["k"]), f"{point['tokens']:.0f}", f"{100 * point['accuracy']:.1f}"] for point in points],
    )


def _lift(told: Mapping[str, Any]) -> list[str]:
    lines = _columns(
        ["arm", "accuracy %", "prompt tokens", "tokens", "calls", "evaluation"],
        [
            [
                name,
                f"{100 * arm['accuracy']:.1f}",
                f"{arm['prompt_tokens']:.0f}",
                f"{arm['tokens']:.0f}",
                f"{arm['calls']:.1f}",
                arm["id"],
            ]
            for name, arm in told["arms"].items()
        ],
    )
    budget = told["equal_budget"]
    if budget is not None:
        lines.append(
            f"equal budget: {budget['tokens_of_memory']:.0f} tokens buy a majority of {budget['k']} without memory, which "
            f"reaches {100 * budget['accuracy']:.1f} %"
        )
    return [*lines, told["sentence"]]


def _columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    first, *others = widths
    return [
        "  ".join([f"{line[0]:<{first}}", *(f"{cell:>{w}}" for cell, w in zip(line[1:], others, strict=True))]).rstrip()
        for line in lines
    ]
