"""How far back a cut goes: pure arithmetic on tokens and blocks.

A cut keeps the first `keep` tokens. Their keys and values are in blocks of `block_size`; the last token that was sampled
has none yet. The block that the cut goes through is written on, so it must be ours alone: when another sequence reads
it too, the cut steps back to the block's start and the tokens between are computed again. Source: vllm.md §4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut leaves. `computed`: tokens whose keys and values stay. `blocks`: the blocks that hold them.

    `again`: tokens that stay but must be computed again. `inside`: the index of the block that is kept in part and will be
    written on, None when the cut is between two blocks.
    """

    computed: int
    again: int
    blocks: int
    inside: int | None


def plan(keep: int, computed: int, block_size: int, is_shared: Callable[[int], bool]) -> Cut:
    """The cut to `keep` tokens of a sequence of which `computed` tokens have keys and values.

    `is_shared(i)`: whether a sequence beside this one holds the i-th block. Raises `ValueError` for a negative number.
    """
    if keep < 0 or computed < 0 or block_size < 1:
        raise ValueError(f"cut to {keep} of {computed} in blocks of {block_size}: expected none of them negative")
    kept = min(keep, computed)
    inside = kept // block_size
    if kept % block_size and is_shared(inside):
        kept = inside * block_size
    partly = kept % block_size > 0
    return Cut(kept, keep - kept, inside + partly, inside if partly else None)
