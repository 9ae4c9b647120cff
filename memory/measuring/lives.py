"""The lives of a memory: which of its versions say the same, so that what was measured of one holds for the other.

A life is named by the first version of its text. An edit of case, spacing or sentence marks goes on with the life; any
other edit begins a new one, and putting an old text back gives the old life back. Nothing is stored: versions do not
change, so a life can be told from them at any time. Source: design usefulness, "Edit = new life"; ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from memory import rows
from memory.tables import VersionRow
from memory.text import normalise
from memory.tx import Tx

# Quotes go anywhere, the other marks only where a clause ends: "3.5" is not "35", and "x.y" is not "xy".
QUOTES: Final = re.compile(r"[\"'`“”‘’„«»]")
CLAUSE_END: Final = re.compile(r"[.,;:!?…]+(?=\s|$)|\s[-–—]+(?=\s|$)")


def plain(text: str) -> str:
    """The text without what a trivial edit changes: case, spacing, quotes, and marks between words."""
    return " ".join(CLAUSE_END.sub(" ", QUOTES.sub("", normalise(text))).split())


def lives(tx: Tx, versions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """For each (memory, version) the version at which its life began; an unknown version is a life of its own."""
    asked = set(versions)
    latest: dict[str, int] = {}
    for memory_id, version in asked:
        latest[memory_id] = max(version, latest.get(memory_id, 1))
    # The first version is always the first life, and most memories have no other.
    edited = sorted(memory_id for memory_id, version in latest.items() if version > 1)
    begun: dict[tuple[str, int], int] = {}
    for start in range(0, len(edited), rows.IN_ONE_QUERY):
        query = (
            select(VersionRow.memory_id, VersionRow.version, VersionRow.content)
            .where(VersionRow.memory_id.in_(edited[start : start + rows.IN_ONE_QUERY]))
            .order_by(VersionRow.memory_id, VersionRow.version)
        )
        first: dict[tuple[str, str], int] = {}
        last = ("", "", 0)
        for row in tx.connection.execute(query):
            if row.memory_id == last[0] and row.content == last[1]:
                began = last[2]
            else:
                began = first.setdefault((row.memory_id, plain(row.content)), row.version)
            last = (row.memory_id, row.content, began)
            begun[row.memory_id, row.version] = began
    return {key: begun.get(key, key[1]) for key in asked}
