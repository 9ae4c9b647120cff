"""What becomes of a statement that arrives in a vault from a branch or another vault, where others are already.

Of two statements about one attribute the later closes the other, whichever of them was there first in the store: what
arrives may well be the older one. Source: memos §3.3 (4), §3.9; ours.
"""

from __future__ import annotations

from memory import store
from memory.conflict import supersedes
from memory.tx import Tx
from memory.types import MemCube


def settle(tx: Tx, new: MemCube) -> None:
    """Close what the new memory takes the place of, or the new memory itself."""
    there = store.same_slot(tx, new)
    for other in there:
        if supersedes(new, other):
            store.supersede(tx, new, other)
            return
    for other in there:
        if supersedes(other, new):
            store.supersede(tx, other, new)
