"""A memory that may be what is looked for, as ranking sees it: where it stands, what it says, how each index scored it.

Source: memos §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """`scores` holds the raw score of each index that found it: `lexical`, `fields`, `dense` (cosine), `graph`."""

    id: str
    seq: int
    text: str
    session: tuple[str, str] | None = None
    position: int | None = None
    speaker: str | None = None
    names: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
