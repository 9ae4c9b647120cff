"""Grids: what an agent submits for each test input, and what that is worth.

Two attempts count for each test input, in the order in which they are given; it is solved when either is right, and a task
is worth the share of its test inputs that are solved (the official pass@2). An agent that works with attempts puts them in
the detail of its answer:

    attempts   [[grid, grid], …]                                  for each test input one or two
    depths     [attempts, attempts, …]                            the same after 0, 1, … retries
    samples    [{"outputs": [grid or null, …], "train": share}]   what each independent try says of each test input
    rule, sandbox, gate                                           how the two were chosen, at which level programs ran, what
                                                                  had to hold before anything was learned

Any other agent answers in text, which is one attempt: the grids that `agents.verifiers.grids` reads there; missing ones are
no attempt. Pure. Source: evaluation sheet §3.1; ArcMemo sheet §3.9.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from pydantic import JsonValue

from agents.verifiers.grids import grid_of, read_text
from evals.base import Answer, Score
from evals.statistics import pass_at_k

Grid = list[list[int]]
ATTEMPTS: Final = 2
KEPT: Final = ("rule", "sandbox", "gate")


class Tried(NamedTuple):
    """One independent try: which test inputs it solves."""

    right: tuple[bool, ...]

    @property
    def strict(self) -> bool:
        """Whether it alone solves all of them."""
        return all(self.right)


def score(answer: Answer, gold: Sequence[Grid]) -> Score:
    """Grade an answer. `parts` holds what is behind the value: attempts, solved test inputs, tries, depths."""
    tests = len(gold)
    how = "attempts" if isinstance(answer.detail.get("attempts"), list) else "grid"
    attempts = _attempts(answer.detail.get("attempts"), tests) if how == "attempts" else _one_each(answer.text, tests)
    right = solved(attempts, gold)
    tries = _tries(answer.detail.get("samples"), gold) or [Tried(_column(attempts, gold, 0))]
    depths = answer.detail.get("depths")
    given: list[Any] = depths if isinstance(depths, list) else []
    parts: dict[str, JsonValue] = {
        "attempts": cast(JsonValue, attempts),
        "solved": list(right),
        "strict": any(all(_column(attempts, gold, n)) for n in range(ATTEMPTS)),
        "tries": [list(tried.right) for tried in tries],
        "depths": [list(solved(_attempts(depth, tests), gold)) for depth in given],
    }
    # How the two were chosen, how well the programs were shut in, and what was learned from.
    parts |= {name: answer.detail[name] for name in KEPT if isinstance(answer.detail.get(name), str)}
    first = [each[0] if each else None for each in attempts]
    found = any(attempts)
    return Score(
        sum(right) / tests,
        json.dumps(first, separators=(",", ":")) if found else None,
        ("attempts" if how == "attempts" else "grid") if found else None,
        detail=f"{sum(right)} of {tests} test inputs right" if found else "no grid in the reply",
        parts=parts,
    )


def solved(attempts: Sequence[Sequence[Grid]], gold: Sequence[Grid]) -> tuple[bool, ...]:
    """For each test input whether one of its first two attempts is right: same shape, same cells."""
    return tuple(wanted in list(each[:ATTEMPTS]) for each, wanted in zip(attempts, gold, strict=True))


def oracle(tries: Sequence[Tried], k: int) -> float:
    """oracle@k: over all sets of `k` tries the mean of the share of test inputs that one of them solves. With `c` of `n`
    tries right on a test input it counts `1 - C(n-c, k)/C(n, k)`. Raises `ValueError` for `k` above the number of tries."""
    columns = list(zip(*(tried.right for tried in tries), strict=True))
    return sum(pass_at_k(len(tries), sum(column), k) for column in columns) / max(1, len(columns))


def oracle_strict(tries: Sequence[Tried], k: int) -> float:
    """The same where a set counts only when one of its tries solves every test input. Raises as `oracle`."""
    return pass_at_k(len(tries), sum(tried.strict for tried in tries), k)


def _one_each(text: str, tests: int) -> list[list[Grid]]:
    return [[] if grid is None else [grid] for grid in read_text(text, tests)]


def _attempts(value: object, tests: int) -> list[list[Grid]]:
    """What an agent says it submits, whatever it is: what is no grid is no attempt, and the third is one too many."""
    given = value if isinstance(value, list) else []
    each = [given[n] if n < len(given) and isinstance(given[n], list) else [] for n in range(tests)]
    read = [[grid_of(grid) for grid in item[:ATTEMPTS]] for item in each]
    return [[grid for grid in item if grid is not None] for item in read]


def _column(attempts: Sequence[Sequence[Grid]], gold: Sequence[Grid], n: int) -> tuple[bool, ...]:
    return tuple(n < len(each) and each[n] == wanted for each, wanted in zip(attempts, gold, strict=True))


def _tries(value: object, gold: Sequence[Grid]) -> list[Tried]:
    found = []
    for sample in value if isinstance(value, list) else []:
        outputs = sample.get("outputs") if isinstance(sample, dict) else None
        given = outputs if isinstance(outputs, list) else []
        right = (n < len(given) and grid_of(given[n]) == wanted for n, wanted in enumerate(gold))
        found.append(Tried(tuple(right)))
    return found
