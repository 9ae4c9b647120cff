"""The entities that a question names: runs of its words that are the name of one. Source: design storage §4b."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from memory.incidence import entity_key
from memory.indices.words import STOP_WORDS
from memory.ranking import statements
from memory.ranking.statements import listed
from memory.tx import Tx

LONGEST_NAME: Final = 4
MOST_WORDS: Final = 40
PIECE: Final = re.compile(r"\S+")
POSSESSIVE: Final = re.compile(r"['’`]s$")
EDGES: Final = "\"'’‘“”`.,;:!?()[]{}<>…"


def named(tx: Tx, vault_ids: Sequence[str], question: str) -> list[int]:
    """Ids of the entities of these vaults that the question names."""
    keys = possible_keys(question)
    if not keys:
        return []
    given = {"vaults": listed(tx.dialect, vault_ids), "keys": listed(tx.dialect, keys)}
    return list(tx.connection.execute(statements.entities(tx.dialect), given).scalars())


def possible_keys(question: str) -> list[str]:
    """Every run of at most `LONGEST_NAME` words as the key of an entity, single stop words left out."""
    pieces = [piece.strip(EDGES) for piece in PIECE.findall(question)[:MOST_WORDS]]
    pieces = [POSSESSIVE.sub("", piece) for piece in pieces if piece]
    runs = {
        entity_key(" ".join(pieces[start : start + length])): None
        for start in range(len(pieces))
        for length in range(1, min(LONGEST_NAME, len(pieces) - start) + 1)
    }
    return [key for key in runs if key not in STOP_WORDS]
