"""A memory that may be what is looked for, as ranking sees it: what it says, what names it, and where it stands.

Source: memos §3.2.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Candidate(NamedTuple):
    """`names`: its title, subject, attribute, entities and tags as one text. `happened`: when what it tells took place.

    `place` is its session, with the vault, and its position there; neighbours in a session are context. `linked`: it
    names entities, so the hypergraph knows it.
    """

    id: str
    seq: int
    text: str
    names: str = ""
    speaker: str | None = None
    place: tuple[str, str, int] | None = None
    happened: datetime | None = None
    priority: int = 0
    linked: bool = False
    vault_id: str = ""
