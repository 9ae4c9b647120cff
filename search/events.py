"""What happens to a search tree, as values: a tree is rebuilt by applying the events of its log in order.

One rollout is `Selected`, `Created`, `Scored` for each judgement, `BackedUp`. Its new node belongs to the tree from
`BackedUp` on; a `Stopped` that comes first drops what is half done. The first answer is a `Created` and a `BackedUp` of
iteration 0. Events carry facts, not what follows from them: ranks and values are worked out by `Tree.apply`. Source:
empirical_mcts §3.2, §5; ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runtime.types import JsonObject
from search.base import Expansion, Status

Reason = Literal["rollouts", "exhausted", "budget", "verified", "consensus", "champion"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One judgement of `child` beside `opponent`; scores as the judge gave them, clamped to its range by the problem.

    `swapped` as in `Evaluation`: True when the child was shown first, None when both orders were averaged.
    """

    child: int
    opponent: int
    s_child: float
    s_opponent: float
    swapped: bool | None
    iteration: int
    data: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selected:
    """Rollout `iteration` (from 1) works on node `id`; `score` is what the selection rule gave it."""

    iteration: int
    id: int
    how: Expansion
    score: float


@dataclass(frozen=True, slots=True)
class Created:
    """An answer was made, or was not (`gen_failed`); `how` tells what from."""

    iteration: int
    id: int
    parent: int | None
    depth: int
    answer: str
    final: str | None
    objective: float | None
    status: Status
    how: Expansion
    data: JsonObject


@dataclass(frozen=True, slots=True)
class Scored:
    """A judgement of the new node, or a failed one (`comparison` None). `q_local` and `status` are the node's from here
    on; `update` is merged into its data."""

    iteration: int
    id: int
    opponent: int
    comparison: Comparison | None
    q_local: float
    status: Status
    update: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackedUp:
    """The rollout is complete and node `id` is in the tree; all values are up to date. A save point."""

    iteration: int
    id: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The search ended. `rollouts`: all were made; `exhausted`: nothing is left to expand; `budget`: `limit` was
    reached, maybe in the middle of a rollout, which is dropped; `verified`: an answer passed; `consensus`, `champion`:
    certain enough."""

    reason: Reason
    limit: str | None = None


TreeEvent = Selected | Created | Scored | BackedUp | Stopped
