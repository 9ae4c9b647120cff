"""One score from the parts: their weighed sum. Pure.

The weights were set on three dialogues of LoCoMo and one set of documentation questions, and hold on what they were not
set on (evals/bench/recall_quality.py measures it); those of `graph` and `priority` are judgement, as nothing that is
measured there has entities or priorities. A vault can have its own, learned from what was used (memory/ranking/learn.py).
`reciprocal_rank` is the fusion that needs no scores; here it is the control. Source: memos §3.2, §7.2; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from memory.ranking.parts import NAMES, Parts
from memory.ranking.smoothing import Floats
from memory.types import Mode

WEIGHTS: Final[Mapping[str, float]] = {
    "lexical": 1.0,
    "phrase": 0.4,
    "dense": 0.2,
    "speaker": 0.4,
    "date": 0.4,
    "graph": 0.1,
    "priority": 0.05,
}
# What a search of one index alone counts; the fields always count.
COUNTED: Final[Mapping[Mode, frozenset[str]]] = {
    "hybrid": frozenset(NAMES),
    "lexical": frozenset(NAMES) - {"dense", "graph"},
    "dense": frozenset(NAMES) - {"lexical", "phrase", "graph"},
    "graph": frozenset({"graph", "priority"}),
}
RANK_CONSTANT: Final = 60


def weights_of(stored: Mapping[str, float] | None, mode: Mode) -> dict[str, float]:
    """The weights of a vault, the defaults where it has none, without the parts that the mode leaves out."""
    return {name: (stored or {}).get(name, WEIGHTS[name]) for name in NAMES if name in COUNTED[mode]}


def fused(parts: Parts, weights: Mapping[str, float]) -> Floats:
    """The score of each candidate."""
    total = np.zeros(len(parts.has), np.float32)
    for name, weight in weights.items():
        total += np.float32(weight) * parts.of[name]
    return total


def reciprocal_rank(ranks: Sequence[int], constant: int = RANK_CONSTANT) -> float:
    """The sum of 1 / (constant + rank) over the lists that have the item; ranks count from 1."""
    return sum(1 / (constant + rank) for rank in ranks)
