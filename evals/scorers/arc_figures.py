"""The figures of ARC over all records of an evaluation, beside the official score that stands as its accuracy.

Tries of a task are independent: the samples of a run, and the runs of other seeds and attempts. A depth is compute and not
a further attempt: it shows what would have been submitted after so many retries. "Any depth" counts what an earlier depth
had right and a later one has lost; published scripts print it, and it is never lower.

A run that failed, or was cut by its budget, has fewer tries than were planned, or none. The missing ones count as tries that
solve nothing, up to the most tries that any run of the evaluation has: so one such run lowers oracle@k and does not hide it.
Pure. Source: evaluation sheet §3.1; ArcMemo sheet §3.9, §5 (leakage: the gate in every report), §6.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import JsonValue

from evals.records import Record
from evals.scorers.arc import Tried, oracle, oracle_strict
from evals.statistics import spread

# So many sets of tries are looked at one by one for a deviation.
MAX_SETS: Final = 1000
MAX_K: Final = 3


def figures(records: Sequence[Record]) -> dict[str, JsonValue]:
    """What summary.json holds of them: empty without a record."""
    tasks = _by_task(records)
    if not tasks:
        return {}
    inputs = {item: len(_right(each[0])) for item, each in tasks.items()}
    share = {item: [_mean(column) for column in zip(*map(_right, each), strict=True)] for item, each in tasks.items()}
    reached = sum(map(_mean, share.values()))
    tokens = sum(record.usage.tokens for record in records) / (len(records) / len(tasks))
    planned = max(len(_tries(record)) for each in tasks.values() for record in each)
    tries = {item: [tried for record in each for tried in _planned(record, planned)] for item, each in tasks.items()}
    return {
        "tasks": len(tasks),
        "test_inputs": sum(inputs.values()),
        "pass_at_2": reached / len(tasks),
        "test_input_mean": sum(map(sum, share.values())) / sum(inputs.values()),
        "strict": _mean([_mean([bool(r.parts.get("strict")) for r in each]) for each in tasks.values()]),
        "tokens_per_solved_task": tokens / reached if reached else None,
        "tries": min(map(len, tries.values())),
        "gates": [*sorted({str(r.parts["gate"]) for each in tasks.values() for r in each if r.parts.get("gate")})],
        "oracle": _oracles(list(tries.values())),
        "depths": _depths(list(tasks.values())),
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """The same for a person."""
    if not told:
        return []
    cost = told["tokens_per_solved_task"]
    found = [
        f"pass@2 (official): {_percent(told['pass_at_2'])} of {told['tasks']} tasks  ·  per test input "
        f"{_percent(told['test_input_mean'])} of {told['test_inputs']}  ·  strict {_percent(told['strict'])}"
        + ("" if cost is None else f"  ·  {cost:.0f} tokens for each solved task")
    ]
    for each in told["oracle"]:
        deviation = "" if each["sd"] is None else f" (SD {100 * each['sd']:.2f} over {each['sets']})"
        found.append(
            f"oracle@{each['k']} of {told['tries']}: {_percent(each['mean'])}{deviation}, strict {_percent(each['strict'])}"
        )
    if told.get("gates"):
        found.append(f"write gate: {', '.join(told['gates'])}")
    return found + [
        f"after {each['depth']} retries: pass@2 {_percent(each['pass_at_2'])}, any depth {_percent(each['any_depth'])}"
        f"  ·  {each['calls']:.1f} calls and {each['tokens']:.0f} tokens for each attempt"
        for each in told["depths"]
    ]


def oracle_at(tasks: Sequence[Sequence[Tried]], k: int) -> dict[str, JsonValue]:
    """oracle@k over tasks: its mean, the sample deviation over sets of `k` tries (the same places in every task), and the
    strict one. Raises `ValueError` for a task with fewer tries."""
    fewest = min(map(len, tasks))
    sets = math.comb(fewest, k)
    deviation = None
    if 1 < sets <= MAX_SETS:
        values = [
            _mean([_mean([any(column) for column in _columns([each[n] for n in chosen])]) for each in tasks])
            for chosen in itertools.combinations(range(fewest), k)
        ]
        deviation = spread(values).sd
    return {
        "k": k,
        "mean": _mean([oracle(each, k) for each in tasks]),
        "sd": deviation,
        "sets": sets,
        "strict": _mean([oracle_strict(each, k) for each in tasks]),
    }


def _oracles(tasks: Sequence[Sequence[Tried]]) -> list[JsonValue]:
    return [oracle_at(tasks, k) for k in range(1, 1 + min(MAX_K, *map(len, tasks)))]


def _depths(tasks: Sequence[Sequence[Record]]) -> list[JsonValue]:
    """A task that ended at an earlier depth counts as it stood there."""
    deepest = max(len(_depths_of(record)) for each in tasks for record in each)
    told: list[JsonValue] = []
    for depth in range(deepest):
        last, ever = [], []
        spent: list[tuple[int, int]] = []
        for each in tasks:
            reached = [_depths_of(record)[: depth + 1] or [_right(record)] for record in each]
            last.append(_mean([_mean(right[-1]) for right in reached]))
            ever.append(_mean([_mean([any(column) for column in zip(*right, strict=True)]) for right in reached]))
            spent += [_spent(record, depth) for record in each]
        told.append(
            {
                "depth": depth,
                "pass_at_2": _mean(last),
                "any_depth": _mean(ever),
                "calls": _mean([calls for calls, _ in spent]),
                "tokens": _mean([tokens for _, tokens in spent]),
            }
        )
    return told


def _spent(record: Record, depth: int) -> tuple[int, int]:
    """Calls and tokens of an attempt up to a depth; one that ended before spent no more."""
    by_depth = record.usage.by_depth or ((record.usage.calls, record.usage.tokens),)
    return by_depth[min(depth, len(by_depth) - 1)]


def _by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        # A record without parts was written by another scorer.
        if record.parts.get("solved"):
            found.setdefault(record.item_id, []).append(record)
    return found


def _right(record: Record) -> list[bool]:
    return cast(list[bool], record.parts["solved"])


def _depths_of(record: Record) -> list[list[bool]]:
    return cast(list[list[bool]], record.parts["depths"])


def _tries(record: Record) -> list[Tried]:
    return [Tried(tuple(right)) for right in cast(list[list[bool]], record.parts["tries"])]


def _planned(record: Record, planned: int) -> list[Tried]:
    tries = _tries(record)
    if record.failed or record.stop_reason == "budget_exhausted":
        tries += [Tried((False,) * len(_right(record)))] * (planned - len(tries))
    return tries


def _columns(tries: Sequence[Tried]) -> list[tuple[bool, ...]]:
    return list(zip(*(tried.right for tried in tries), strict=True))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
