"""What measured usefulness adds to scores. Pure.

Doubt explores and knowledge ranks. The doubt about a memory that was never measured moves it by about one rank, so a
store in which nothing is known yet still answers by relevance. An effect that was measured to be as large counts for the
spread of the first hits: with one rank for both, ranking by usefulness gained nothing to speak of in the simulation
(tests/memory/test_usefulness_simulation.py). Source: design usefulness, "Use"; the two weights are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from memory.ranking.measured import Draws

# As many hits as a prompt shows at least; their spread is the scale of the scores that matter.
HEAD: Final = 5


class Worth(NamedTuple):
    """What one prior sd of effect, and one of doubt, adds to a score."""

    effect: float
    doubt: float


def worth(scores: Sequence[float]) -> Worth:
    """The weights for hits of these scores, in any order."""
    head = sorted(scores, reverse=True)[:HEAD]
    spread = head[0] - head[-1] if head else 0.0
    return Worth(spread, spread / max(1, len(head) - 1))


def additions(ids: Sequence[str], scores: Sequence[float], draws: Draws) -> list[float]:
    """What is added to each score."""
    if draws.prior_sd <= 0:
        return [0.0] * len(ids)
    weigh = worth(scores)
    return [
        (weigh.effect * draws.effects.get(id_, 0.0) + weigh.doubt * draws.doubts.get(id_, 0.0)) / draws.prior_sd
        for id_ in ids
    ]
