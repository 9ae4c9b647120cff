"""Grids: what an agent submits for each test input, and what that is worth.

Two attempts count for each test input, in the order in which they are given; it is solved when either is right, and a task
is worth the share of its test inputs that are solved (the official pass@2). An agent that works with attempts puts them in
the detail of its answer:

    attempts   [[grid, grid], …]                                  for each test input one or two
    depths     [attempts, attempts, …]                            the same after 0, 1, … retries
    samples    [{"outputs": [grid or null, …], "train": share}]   what each independent try says of each test input
    rule, sandbox                                                 how the two were chosen, at which level programs ran

Any other agent answers in text, which is one attempt. There the last JSON grid counts: `[[0, 1], [2, 3]]`, rows of single
digits. Grids with nothing but a comma between them are a list, one grid for each test input in order; missing ones are no
attempt, further ones are left out. Where there are several test inputs and the last list is a single grid, the last grids
of the reply are taken, one for each test input. Pure. Source: evaluation sheet §3.1; ArcMemo sheet §3.9.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from pydantic import JsonValue

from evals.base import Answer, Score
from evals.statistics import pass_at_k

Grid = list[list[int]]
ATTEMPTS: Final = 2
LONGEST: Final = 30
COLOURS: Final = range(10)
KEPT: Final = ("rule", "sandbox")
# Possessive, so that a reply of brackets costs no more than reading it.
ROW: Final = r"\[\s*+[0-9]\s*+(?:,\s*+[0-9]\s*+)*+\]"
GRID: Final = re.compile(rf"\[\s*+{ROW}\s*+(?:,\s*+{ROW}\s*+)*+\]")
COMMA: Final = re.compile(r"\s*,\s*")


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
    # How the two were chosen, and how well the programs were shut in.
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


def read_text(text: str, tests: int) -> list[Grid | None]:
    """The grid for each test input in a reply; None where there is none."""
    found = list(GRID.finditer(text))
    if not found:
        return [None] * tests
    start = len(found) - 1
    while start > 0 and COMMA.fullmatch(text, found[start - 1].end(), found[start].start()):
        start -= 1
    if len(found) - start == 1 and len(found) >= tests:
        start = len(found) - tests
    chosen: list[Grid | None] = [grid_of(json.loads(each.group())) for each in found[start : start + tests]]
    return chosen + [None] * (tests - len(chosen))


def grid_of(value: object) -> Grid | None:
    """The value when it is a grid: up to 30 rows of one length of up to 30 digits; else None."""
    if not isinstance(value, list) or not 1 <= len(value) <= LONGEST:
        return None
    if not all(isinstance(row, list) and 1 <= len(row) <= LONGEST for row in value):
        return None
    if len({len(row) for row in value}) != 1:
        return None
    cells = itertools.chain.from_iterable(value)
    return value if all(type(cell) is int and cell in COLOURS for cell in cells) else None


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
