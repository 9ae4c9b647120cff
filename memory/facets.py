"""How many memories of a vault have which state, type and tag: what a list offers as filters. One grouped query.

Counted is what the actor may see. A facet is counted under the filters of the other facets, so a choice within it does not
empty it. Source: design ui (Memories, Vaults).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from memory import access
from memory.core import Core
from memory.listing import Where
from memory.tables import MemoryRow
from memory.tx import Tx
from memory.types import LIVE, Actor, SemanticType, State

MOST_TAGS: Final = 24


@dataclass(frozen=True, slots=True)
class Facets:
    """`cells`: how many of each type and state there are, whatever is chosen. `tags`: the most frequent ones."""

    vault_id: str
    states: Mapping[State, int]
    semantic_types: Mapping[SemanticType, int]
    tags: Mapping[str, int]
    cells: Mapping[tuple[SemanticType, State], int]


async def facets(core: Core, actor: Actor, where: Where) -> Facets:
    """Count the memories of the vault that `where` names. Raises `UnknownName` for one that the actor may not read."""
    await core.default_vault(actor)
    return await core.read(actor, lambda tx: _counted(tx, where))


def _counted(tx: Tx, where: Where) -> Facets:
    allowed = access.vault(tx, where.vault or access.DEFAULT, "read")
    columns = (MemoryRow.state, MemoryRow.semantic_type, MemoryRow.tags, MemoryRow.sensitivity)
    query = select(*columns, func.count().label("n")).where(MemoryRow.vault_id == allowed.vault.id).group_by(*columns)
    states: Counter[State] = Counter()
    types: Counter[SemanticType] = Counter()
    tags: Counter[str] = Counter()
    cells: Counter[tuple[SemanticType, State]] = Counter()
    for row in tx.connection.execute(query):
        if not allowed.sees(row.sensitivity):
            continue
        cells[row.semantic_type, row.state] += row.n
        in_state = row.state in (where.states or LIVE)
        in_type = not where.semantic_types or row.semantic_type in where.semantic_types
        tagged = set(where.tags) <= set(row.tags)
        if in_type and tagged:
            states[row.state] += row.n
        if in_state and tagged:
            types[row.semantic_type] += row.n
        if in_state and in_type and tagged:
            for tag in row.tags:
                tags[tag] += row.n
    frequent = sorted(tags.items(), key=lambda item: (-item[1], item[0]))[:MOST_TAGS]
    return Facets(allowed.vault.id, states, types, dict(frequent), cells)
