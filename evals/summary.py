"""The scores of an evaluation, with their intervals, from its records. Pure.

Accuracy is the mean over problems of the mean over their attempts (avg@k). Its interval is Wilson's with the problem as the
unit; with several attempts it is wider than it need be. A run that failed counts as a wrong answer, and so does a reply
without one. Source: evaluation sheet §3.2, §3.6, §3.9.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from evals import registry
from evals.base import TellsMore
from evals.cost import cost_of
from evals.records import Header, Record
from evals.statistics import Vote, any_guess, majority_at_k, pass_at_k, spread, wilson

QUARTERS: Final = 4
# Seeds, and orders of the items, below which a figure with memory is one draw of chance.
LEAST: Final = 3


def summarise(header: Header, records: Sequence[Record]) -> dict[str, Any]:
    """What summary.json holds, but for what other evaluations have to do with it (evals/report.py)."""
    ordered = in_order(records)
    return {
        "id": header.id,
        "suite": header.plan.suite,
        "suite_version": header.suite_version,
        "agent": header.plan.agent,
        "agent_version": header.agent_version,
        "models": sorted({record.model for record in records}),
        "created_at": header.created_at,
        "status": "complete" if len(records) == header.expected else "incomplete",
        "done": len(records),
        "expected": header.expected,
        "config": header.plan.to_json(),
        "settings": dict(header.settings),
        "sets": list(header.sets),
        "data_sha256": header.data_sha256,
        "versions": dict(header.versions),
        "revision": header.revision,
        "prompts": dict(header.prompts),
        "memory": _memory(header),
        "overlaps": list(header.overlaps),
        "notes": notes(header),
        "scores": {"all": scores(ordered), "sets": {name: scores(part) for name, part in _by_set(ordered).items()}},
        "runs": runs(ordered),
        "cost": cost_of(ordered).to_json(),
        **_more(header, ordered),
    }


def notes(header: Header) -> list[str]:
    """What the evaluation lacks for a claim: memory makes an answer depend on what came before it by chance."""
    plan, found = header.plan, []
    if plan.memory != "off" and plan.seeds < LEAST:
        found.append(
            f"{plan.seeds} seed{'s' if plan.seeds > 1 else ''}; with memory run at least {LEAST} (--seeds {LEAST})"
        )
    if plan.memory == "continual" and plan.orders < LEAST:
        found.append(
            f"{plan.orders} order{'s' if plan.orders > 1 else ''} of the items; where memory is written run at least "
            f"{LEAST} (--orders {LEAST})"
        )
    return found


def scores(records: Sequence[Record]) -> dict[str, JsonValue]:
    """The scores of some records; nothing but their number when there are none."""
    if not records:
        return {"problems": 0}
    by_item = items(records)
    means = [sum(record.score for record in each) / len(each) for each in by_item.values()]
    lenient = [sum(_lenient(record) for record in each) / len(each) for each in by_item.values()]
    interval = wilson(min(math.fsum(means), len(means)), len(means))
    fewest = min(len(each) for each in by_item.values())
    chances = [record.chance for record in records]
    known = [chance for chance in chances if chance is not None]
    chance = sum(known) / len(known) if len(known) == len(chances) else None
    at = _ks(fewest)
    told: dict[str, JsonValue] = {
        "problems": len(by_item),
        "attempts": fewest,
        "accuracy": math.fsum(means) / len(means),
        "low": interval.low,
        "high": interval.high,
        "half_width": interval.half_width,
        "with_fallback": math.fsum(lenient) / len(lenient),
        "fallback": _share(records, lambda record: record.how is None and record.fallback is not None),
        "missing": _share(records, lambda record: record.answer is None),
        "truncated": _share(records, lambda record: record.stop_reason == "length"),
        "budget_exhausted": _share(records, lambda record: record.stop_reason == "budget_exhausted"),
        "failed": _share(records, lambda record: record.failed),
        "chance": chance,
    }
    if fewest > 1:
        told["pass_at"] = {str(k): _pass(by_item, k) for k in at}
        told["majority_at"] = {str(k): _majority(by_item, k) for k in at}
        if chance is not None:
            told["guess_at"] = {str(k): _guess(by_item, k) for k in at}
    return told


def in_order(records: Sequence[Record]) -> list[Record]:
    """In the order of passes, whichever run ended first: the first record of an item is of the first pass, and a tie of
    votes always goes the same way."""
    return sorted(records, key=lambda record: (record.seed, record.order, record.attempt, record.place))


def items(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each problem, in the order in which they were given."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.item_id].append(record)
    return dict(found)


def runs(records: Sequence[Record]) -> dict[str, JsonValue]:
    """Every pass over the items with its accuracy, their mean, and their sample standard deviation."""
    passes: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for record in records:
        passes[record.seed, record.order, record.attempt].append(record.score)
    each: list[JsonValue] = [
        {"seed": seed, "order": order, "attempt": attempt, "problems": len(found), "accuracy": sum(found) / len(found)}
        for (seed, order, attempt), found in sorted(passes.items())
    ]
    if not passes:
        return {"each": each}
    told = spread([sum(found) / len(found) for found in passes.values()])
    return {"each": each, "mean": told.mean, "sd": told.sd}


def learning(records: Sequence[Record]) -> list[JsonValue]:
    """Accuracy by quarters of the order: whether later items do better. Items differ, so only several orders tell."""
    length = 1 + max((record.place for record in records), default=0)
    parts: dict[int, list[float]] = defaultdict(list)
    for record in records:
        parts[record.place * QUARTERS // length].append(record.score)
    return [
        {"quarter": quarter + 1, "attempts": len(found), "accuracy": sum(found) / len(found)}
        for quarter, found in sorted(parts.items())
    ]


def curve(records: Sequence[Record]) -> list[dict[str, JsonValue]]:
    """Accuracy against tokens: the majority of k attempts costs k times the tokens of one."""
    if not records:
        return []
    by_item = items(in_order(records))
    fewest = min(len(each) for each in by_item.values())
    cost = cost_of(records)
    return [
        {
            "k": k,
            "tokens": k * cost.per_attempt("tokens"),
            "calls": k * cost.per_attempt("calls"),
            "accuracy": _majority(by_item, k),
        }
        for k in _ks(fewest)
    ]


def _more(header: Header, records: Sequence[Record]) -> dict[str, JsonValue]:
    """What only some evaluations have: the course of one whose store grows, and figures of the suite's own."""
    told: dict[str, JsonValue] = {}
    if header.plan.memory == "continual":
        told["learning"] = learning(records)
    suite = registry.known(header.plan.suite)
    if isinstance(suite, TellsMore) and records:
        told["figures"] = suite.figures(records)
    return told


def _lenient(record: Record) -> float:
    return record.score if record.fallback is None else record.fallback


def _share(records: Sequence[Record], test: Callable[[Record], bool]) -> float:
    return sum(map(test, records)) / len(records)


def _ks(fewest: int) -> list[int]:
    """1, 2, 4, … up to the number of attempts that every problem has."""
    return sorted({*(2**n for n in range(fewest.bit_length()) if 2**n <= fewest), fewest})


def _pass(by_item: Mapping[str, Sequence[Record]], k: int) -> float:
    values = [pass_at_k(len(each), sum(record.correct for record in each), k) for each in by_item.values()]
    return math.fsum(values) / len(values)


def _guess(by_item: Mapping[str, Sequence[Record]], k: int) -> float:
    """Each problem with its own chance: k guesses gain more on a likely one than on an unlikely one."""
    values = [any_guess(each[0].chance or 0.0, k) for each in by_item.values()]
    return math.fsum(values) / len(values)


def _majority(by_item: Mapping[str, Sequence[Record]], k: int) -> float:
    values = [majority_at_k([Vote(r.answer, r.score) for r in each], k) for each in by_item.values()]
    return math.fsum(values) / len(values)


def _by_set(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.set].append(record)
    return dict(found)


def _memory(header: Header) -> dict[str, JsonValue]:
    plan = header.plan
    return {
        "mode": plan.memory,
        "online": plan.memory == "continual",
        "vault": plan.vault,
        "placebo": plan.placebo,
        "orders": plan.orders,
        "batch": plan.batch,
        "built_by": header.built_by,
    }
