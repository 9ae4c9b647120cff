"""When a new fact takes the place of an old one, decided without a model. Pure.

Only a slot that the writer named can be superseded this way: the same subject, the same attribute, and a later moment
from which the new one is true. What merely sounds alike is a matter of classification (memory/pipelines/classify.py).
Source: memos §3.3, §7 (5).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from memory.text import normalise
from memory.types import MemCube, SemanticType

# An event stays true for ever, a document is not a slot.
SLOTS: Final[frozenset[SemanticType]] = frozenset({"fact", "preference"})


def same_slot(a: MemCube, b: MemCube) -> bool:
    """Whether both say something about the same attribute of the same subject of one vault."""
    if a.id == b.id or a.vault_id != b.vault_id or a.semantic_type != b.semantic_type:
        return False
    if a.semantic_type not in SLOTS or not (a.subject and a.attribute and b.subject and b.attribute):
        return False
    return (normalise(a.subject), normalise(a.attribute)) == (normalise(b.subject), normalise(b.attribute))


def supersedes(old: MemCube, new: MemCube) -> bool:
    """Whether `new` closes `old`: the same slot, another text, and true from a later time on.

    An old one that does not say since when it is true counts as older. One that is pinned, frozen or not in use is never
    closed, nor one that ended before the new one begins: both are true, each in its time.
    """
    if not same_slot(old, new) or normalise(old.content) == normalise(new.content):
        return False
    if old.state != "activated" or new.state not in ("generated", "activated") or old.pinned:
        return False
    begins, began = new.valid_from, old.valid_from
    if begins is None or (began is not None and began >= begins):
        return False
    return old.superseded_at is None and (old.valid_to is None or old.valid_to > begins)


def later(a: MemCube, b: MemCube) -> MemCube | None:
    """The one that is true from a later time on; None when their times do not tell."""
    first, second = since(a), since(b)
    if first is None or second is None or first == second:
        return None
    return a if first > second else b


def since(cube: MemCube) -> datetime | None:
    """The best that is known of when it became true."""
    return cube.valid_from or cube.occurred_at
