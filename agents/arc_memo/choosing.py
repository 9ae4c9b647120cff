"""Which two grids are submitted for each test input. Pure; knows no right answer.

A depth says how far the threads had come: the last attempt of each at that many retries or fewer. Outputs of programs that
pass every train pair come first, by how many of those programs give them, then by the shorter program; outputs of the
others come behind all of these, by the share of train pairs their programs get right, then by votes and length. The
second attempt is the next output that differs from the first. Source: arcmemo §3.9; evals §3.1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from agents.arc_memo.grids import Grid
from agents.arc_memo.programs import Attempt

ATTEMPTS: Final = 2
RULE: Final = "train pairs, votes, shorter program"


def at_depth(threads: Sequence[Sequence[Attempt]], depth: int) -> list[Attempt]:
    """The last attempt of each thread at that depth or before."""
    reached = [[attempt for attempt in thread if attempt.depth <= depth] for thread in threads]
    return [thread[-1] for thread in reached if thread]


def attempts(last: Sequence[Attempt], tests: int) -> list[list[Grid]]:
    """At most two grids for each of the test inputs, the better one first; none when no program gives any."""
    return [_of_one(last, place) for place in range(tests)]


def shortest_passing(threads: Sequence[Sequence[Attempt]]) -> Attempt | None:
    """The shortest program that gets every train pair right; of equals the earliest sample."""
    passing = [attempt for thread in threads for attempt in thread if attempt.passes]
    return min(passing, key=lambda a: (_length(a), a.sample, a.depth), default=None)


def _of_one(last: Sequence[Attempt], place: int) -> list[Grid]:
    giving: dict[str, list[Attempt]] = defaultdict(list)
    grids: dict[str, Grid] = {}
    for attempt in last:
        grid = attempt.outputs[place]
        if grid is not None:
            giving[repr(grid)].append(attempt)
            grids[repr(grid)] = grid

    def rank(key: str) -> tuple[int, float, int, int, int]:
        # A vote of a program that fails adds nothing to those of programs that pass.
        passing = [attempt for attempt in giving[key] if attempt.passes]
        those = passing or giving[key]
        share = max(attempt.share for attempt in those)
        votes = sum(attempt.share == share for attempt in those)
        length = min(_length(attempt) for attempt in those if attempt.share == share)
        return (not passing, -share, -votes, length, min(attempt.sample for attempt in those))

    return [grids[key] for key in sorted(giving, key=rank)[:ATTEMPTS]]


def _length(attempt: Attempt) -> int:
    return len(attempt.source or "")
