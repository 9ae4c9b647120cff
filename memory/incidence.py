"""The hypergraph in SQL: a memory is a hyperedge over the entities that it names.

Each entity keeps the number of memories it is in, because a node that is in very many tells nothing and is cut or
weighed down when the graph is walked. Source: design storage §5; ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from memory.tables import EntityRow, IncidenceRow
from memory.text import normalise
from memory.tx import Tx
from memory.types import MemCube

MAX_KEY = 300


def entity_key(name: str) -> str:
    """Under which a name is one entity of its vault."""
    return normalise(name)[:MAX_KEY]


def add(tx: Tx, cubes: Sequence[MemCube]) -> None:
    """Write the incidence of memories that have none yet."""
    wanted: dict[str, dict[str, str]] = {}
    for cube in cubes:
        for name in cube.entities:
            wanted.setdefault(cube.vault_id, {}).setdefault(entity_key(name), name[:MAX_KEY])
    ids = {(vault, key): found for vault, names in wanted.items() for key, found in _ids(tx, vault, names).items()}
    incident = {(cube.seq, ids[cube.vault_id, entity_key(name)]): None for cube in cubes for name in cube.entities}
    if not incident:
        return
    tx.connection.execute(
        insert(IncidenceRow),
        [{"memory_seq": seq, "entity_id": entity, "role": "mention", "weight": 1.0} for seq, entity in incident],
    )
    for entity, count in sorted(Counter(entity for _, entity in incident).items()):
        tx.connection.execute(update(EntityRow).where(EntityRow.id == entity).values(degree=EntityRow.degree + count))


def remove(tx: Tx, seqs: Sequence[int]) -> int:
    """Take the memories out of the graph, and with them the entities that no other memory names."""
    mine = IncidenceRow.memory_seq.in_(seqs)
    touched = Counter(tx.connection.execute(select(IncidenceRow.entity_id).where(mine)).scalars())
    if not touched:
        return 0
    removed = tx.connection.execute(delete(IncidenceRow).where(mine)).rowcount
    for entity, count in sorted(touched.items()):
        tx.connection.execute(update(EntityRow).where(EntityRow.id == entity).values(degree=EntityRow.degree - count))
    tx.connection.execute(delete(EntityRow).where(EntityRow.id.in_(sorted(touched)), EntityRow.degree <= 0))
    return removed


def _ids(tx: Tx, vault_id: str, names: dict[str, str]) -> dict[str, int]:
    """The ids of the entities of these keys, made when they are new; in order of the key, so that two never wait for
    each other."""
    # The share lock keeps an entity from being removed before the incidence that names it is written.
    query = (
        select(EntityRow.key, EntityRow.id)
        .where(EntityRow.vault_id == vault_id, EntityRow.key.in_(sorted(names)))
        .order_by(EntityRow.key)
        .with_for_update(read=True, key_share=True)
    )
    found: dict[str, int] = {row.key: row.id for row in tx.connection.execute(query)}
    missing = sorted(names.keys() - found.keys())
    if missing:
        make = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
        tx.connection.execute(
            make(EntityRow).on_conflict_do_nothing(index_elements=["vault_id", "key"]),
            [{"vault_id": vault_id, "key": key, "name": names[key], "degree": 0} for key in missing],
        )
        found = {row.key: row.id for row in tx.connection.execute(query)}
    return found
