"""What measured usefulness adds to scores: one standard deviation of doubt is worth about one rank. Pure.

Source: design usefulness, "Use".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from memory.ranking.measured import Draws


def additions(ids: Sequence[str], scores: Sequence[float], draws: Draws) -> list[float]:
    """What is added to each score: the effect, where one prior sd is worth the typical gap between neighbours."""
    ordered = sorted(scores, reverse=True)
    gaps = [above - below for above, below in pairwise(ordered) if above > below]
    if not gaps or draws.prior_sd <= 0:
        return [0.0] * len(ids)
    worth = median(gaps) / draws.prior_sd
    return [worth * draws.effects.get(memory_id, 0.0) for memory_id in ids]
