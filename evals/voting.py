"""Who spends a given number of calls on independent answers and a vote, for the control "as many calls": by kind of task.

Texts vote by their answers. Puzzles with grids do it by what programs give: as many programs without memory and without
retries, chosen by train pairs and votes. Source: evaluation sheet §3.6; ArcMemo sheet §6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from runtime.types import JsonObject


class Voter(NamedTuple):
    """An agent, its option that says how many answers it draws, the most that it takes, and its other options."""

    agent: str
    option: str
    most: int
    config: JsonObject


OTHERWISE: Final = Voter("self-consistency", "n", 256, {})
VOTERS: Final[Mapping[str, Voter]] = {"arc": Voter("arcmemo", "samples", 64, {"format": "none", "retries": 0})}


def voter_of(kind: str) -> Voter:
    """Who votes on tasks of that kind."""
    return VOTERS.get(kind, OTHERWISE)


def with_calls(agent: str, calls: int) -> JsonObject:
    """The option of a voter that makes it spend so many calls."""
    voter = next((voter for voter in VOTERS.values() if voter.agent == agent), OTHERWISE)
    return {voter.option: min(voter.most, calls)}
