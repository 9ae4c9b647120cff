"""Which hits are handed on: not below a score, no near-repetitions, no more text than asked for. Pure.

Source: memos §3.2 (5).
"""

from __future__ import annotations

from collections.abc import Sequence

from memory.ranking.diverse import varied
from memory.types import Query, RecallHit
from runtime.llm.estimate import estimate_tokens


def selected(hits: Sequence[RecallHit], query: Query) -> tuple[list[RecallHit], int]:
    """The hits that the question asks for, in the order in which they are shown, and the tokens of their texts.

    A hit that the budget has no room for is passed over; a shorter one after it may still fit.
    """
    left = [hit for hit in hits if query.min_score is None or hit.score >= query.min_score]
    left.sort(key=lambda hit: -hit.score)
    if query.diverse:
        order = varied([hit.memory.content for hit in left])
        left = [left[place] for place in order]
    kept: list[RecallHit] = []
    tokens = 0
    for hit in left:
        cost = estimate_tokens(hit.memory.content)
        if len(kept) == query.k:
            break
        if query.max_tokens is None or tokens + cost <= query.max_tokens:
            kept.append(hit)
            tokens += cost
    return kept, tokens
