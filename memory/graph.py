"""What lies around a memory or an entity: the memories that share entities, as hyperedges over them.

Read from SQL, so that an answer is exact and each memory in it is decided on by the reader's access; the projection in
memory (memory/indices/hypergraph.py) is for ranking. An entity shows, and counts, only the memories that a search of the
reader may find, and one that none of those names is not there. Source: contract §4; design storage §5; ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import log2
from textwrap import shorten
from typing import Any, Final, TypeVar

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from memory import access, rows
from memory.access import Access
from memory.core import Core
from memory.incidence import entity_key
from memory.indices.csr import HUB
from memory.lifecycle import lifetime_over
from memory.rows import IN_ONE_QUERY
from memory.tables import EdgeRow, EntityRow, IncidenceRow, MemoryRow, MemoryUse
from memory.tx import Tx
from memory.types import INDEXED, SEARCHABLE, Actor, Edge, MemCube, SemanticType, State
from memory.vault import grants
from runtime.errors import Gone, InvalidInput, UnknownName

T = TypeVar("T")
MAX_HOPS: Final = 3
MAX_EDGES: Final = 500
# Of an entity that was asked for, so many of its memories are looked at, the newest ones.
MOST: Final = 5000
LABEL: Final = 120


@dataclass(frozen=True, slots=True)
class Node:
    """An entity. `degree`: how many memories that a search of the reader may find name it."""

    id: str
    name: str
    degree: int


@dataclass(frozen=True, slots=True)
class Hyperedge:
    """A memory over its entities (ids of nodes); `title` is its own, or the beginning of its text."""

    memory: str
    vault: str
    semantic_type: SemanticType
    title: str
    state: State
    recorded_at: datetime
    uses: int
    entities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Memories, the nearest first, their entities, and the typed links between them. `truncated`: there are more within
    the hops, behind the limit or behind an entity of very many memories."""

    nodes: tuple[Node, ...]
    edges: tuple[Hyperedge, ...]
    links: tuple[Edge, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The entities that most memories of a vault name, and the memories that were used most; each the most first."""

    vault_id: str
    entities: tuple[Node, ...]
    memories: tuple[Hyperedge, ...]


async def around_memory(
    core: Core, actor: Actor, memory_id: str, *, hops: int = 1, limit: int = 100, whole: bool = False
) -> Neighbourhood:
    """The memory, whatever its state, and those that are at most `hops` shared entities away; `limit` in all.

    `whole`: with those that typed links lead to, and with archived and merged ones, which a search finds only on request.
    Raises `UnknownName`, `Gone` for one that was deleted or has expired, `InvalidInput`.
    """
    _check(hops, limit)

    def work(tx: Tx) -> tuple[Neighbourhood, Access]:
        cube, allowed = access.memory(tx, memory_id, "read")
        over = lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now)
        if cube.state in {"deleted", "expired"} or over:
            raise Gone(f"memory {memory_id!r} was deleted or has expired; its content is not shown")
        found = _Found(tx, allowed, limit, INDEXED if whole else SEARCHABLE)
        found.add([cube])
        found.walk(found.entities(), hops)
        return found.answer(), allowed

    return await _read(core, actor, work)


async def around_entity(
    core: Core, actor: Actor, name: str, vault: str, *, hops: int = 1, limit: int = 100, whole: bool = False
) -> Neighbourhood:
    """The memories of the vault that name the entity (the first hop), and those that share entities with them.

    `whole` as for a memory. Raises `UnknownName` for a vault that the actor may not read, and for an entity that nothing
    names which the actor may find; `InvalidInput`.
    """
    _check(hops, limit)

    def work(tx: Tx) -> tuple[Neighbourhood, Access]:
        allowed = access.vault(tx, vault, "read")
        same = (EntityRow.vault_id == allowed.vault.id, EntityRow.key == entity_key(name))
        start = tx.connection.execute(select(EntityRow.id).where(*same)).scalars().all()
        found = _Found(tx, allowed, limit, INDEXED if whole else SEARCHABLE)
        found.walk(start, hops, named=True)
        if not found.cubes:
            raise UnknownName(f"entity {name!r}: not found in vault {vault!r}; check how it is written")
        return found.answer(), allowed

    return await _read(core, actor, work)


async def landmarks(core: Core, actor: Actor, vault: str | None = None, *, limit: int = 24) -> Landmarks:
    """Where to begin in a vault. Raises `UnknownName` for one that the actor may not read."""
    await core.default_vault(actor)

    def work(tx: Tx) -> tuple[Landmarks, Access]:
        allowed = access.vault(tx, vault or access.DEFAULT, "read")
        found = _Found(tx, allowed, limit, SEARCHABLE)
        named = select(EntityRow.id, EntityRow.name).where(EntityRow.vault_id == allowed.vault.id)
        most = tx.connection.execute(named.order_by(EntityRow.degree.desc(), EntityRow.id).limit(2 * limit)).all()
        degree = found.degrees([row.id for row in most])
        nodes = [Node(_node_id(row.id), row.name, degree[row.id]) for row in most if degree[row.id]]
        nodes.sort(key=lambda node: -node.degree)
        used = rows.SELECT.where(MemoryRow.vault_id == allowed.vault.id, MemoryRow.state.in_(SEARCHABLE))
        uses = func.coalesce(MemoryUse.uses, 0)
        cubes = [
            rows.cube(row, tx.now)
            for row in tx.connection.execute(used.order_by(uses.desc(), MemoryRow.seq.desc()).limit(4 * limit))
        ]
        found.add(
            islice((cube for cube in cubes if found.may_see(cube.state, cube.expires_at, cube.sensitivity)), limit)
        )
        return Landmarks(allowed.vault.id, tuple(nodes[:limit]), found.answer().edges), allowed

    return await _read(core, actor, work)


async def _read(core: Core, actor: Actor, work: Callable[[Tx], tuple[T, Access]]) -> T:
    found, allowed = await core.read(actor, work)
    if allowed.metered:
        await core.write(actor, lambda tx: grants.spend(tx, [allowed]))
    return found


def _check(hops: int, limit: int) -> None:
    if not 1 <= hops <= MAX_HOPS:
        raise InvalidInput(f"hops {hops}: expected 1 to {MAX_HOPS}", param="hops")
    if not 1 <= limit <= MAX_EDGES:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_EDGES}", param="limit")


class _Found:
    """The memories of an answer while it grows. Entities belong to one vault, so a walk stays in the one that was
    decided on."""

    def __init__(self, tx: Tx, allowed: Access, limit: int, states: Collection[State]) -> None:
        self._tx = tx
        self._allowed = allowed
        self._limit = limit
        self._states = states
        self._truncated = False
        self._names: dict[int, list[int]] = {}
        self.cubes: dict[int, MemCube] = {}

    def walk(self, start: Sequence[int], hops: int, *, named: bool = False) -> None:
        """Add the memories of these entities, then those of their entities, and so on; the nearer the more they share,
        and the rarer what they share. An entity of very many memories is not passed, unless it was `named`."""
        entities, passed = list(start), set[int]()
        for hop in range(hops):
            passed.update(entities)
            degree = {row.id: row.degree for row in self._where(EntityRow.id, entities, EntityRow.degree)}
            through = [each for each in entities if degree[each] <= HUB or (named and hop == 0)]
            self._truncated |= len(through) < len(entities)
            nearness = defaultdict[int, float](float)
            for entity, seq in self._members(through):
                if seq not in self.cubes:
                    nearness[seq] += 1 / log2(1 + degree[entity])
            for seq in self._linked():
                nearness[seq] += 1
            visible = self._visible(sorted(nearness, key=lambda seq: (-nearness[seq], -seq)))
            self.add(islice(visible, self._limit - len(self.cubes)))
            if next(visible, None) is not None:
                self._truncated = True
                return
            entities = [each for each in self.entities() if each not in passed]

    def add(self, cubes: Iterable[MemCube]) -> None:
        """Take memories into the answer, with all of their entities."""
        new = {cube.seq: cube for cube in cubes}
        self.cubes |= new
        for row in self._where(IncidenceRow.memory_seq, list(new), IncidenceRow.entity_id):
            self._names.setdefault(row.memory_seq, []).append(row.entity_id)

    def entities(self) -> list[int]:
        """Every entity in the answer."""
        return sorted({entity for named in self._names.values() for entity in named})

    def answer(self) -> Neighbourhood:
        """What was found."""
        entities = self.entities()
        degree = self.degrees(entities)
        nodes = [
            Node(_node_id(row.id), row.name, degree[row.id])
            for row in self._where(EntityRow.id, entities, EntityRow.name)
        ]
        edges = [
            Hyperedge(
                cube.id,
                cube.vault_id,
                cube.semantic_type,
                cube.title or shorten(cube.content, LABEL, placeholder=" …"),
                cube.state,
                cube.recorded_at,
                cube.uses,
                tuple(_node_id(entity) for entity in sorted(self._names.get(seq, ()))),
            )
            for seq, cube in self.cubes.items()
        ]
        return Neighbourhood(tuple(nodes), tuple(edges), tuple(self._links()), self._truncated)

    def _members(self, entities: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Pairs of entity and memory, of each entity the newest memories."""
        for part in _parts(entities):
            query = select(IncidenceRow.entity_id, IncidenceRow.memory_seq).where(IncidenceRow.entity_id.in_(part))
            most = max(MOST, HUB * len(part))
            found = self._tx.connection.execute(query.order_by(IncidenceRow.memory_seq.desc()).limit(most + 1)).all()
            self._truncated |= len(found) > most
            for row in found[:most]:
                yield row.entity_id, row.memory_seq

    def _linked(self) -> list[int]:
        """The memories of this vault that a typed link joins to one of the answer, when the answer is to be whole."""
        if self._states is SEARCHABLE:
            return []
        ids = sorted(cube.id for cube in self.cubes.values())
        other = {row.dst_id for row in self._where(EdgeRow.src_id, ids, EdgeRow.dst_id)}
        other |= {row.src_id for row in self._where(EdgeRow.dst_id, ids, EdgeRow.src_id)}
        here = (MemoryRow.seq, MemoryRow.vault_id)
        joined = self._where(MemoryRow.id, sorted(other.difference(ids)), *here)
        return [row.seq for row in joined if row.vault_id == self._allowed.vault.id]

    def _visible(self, seqs: Sequence[int]) -> Iterator[MemCube]:
        """The memories that may be shown, in this order, read as they are asked for."""
        for part in _parts(seqs):
            there = rows.cubes_by_seq(self._tx, part)
            for cube in (there[seq] for seq in part if seq in there):
                if self.may_see(cube.state, cube.expires_at, cube.sensitivity):
                    yield cube

    def may_see(self, state: State, expires_at: datetime | None, sensitivity: Collection[str]) -> bool:
        """Whether a memory with these fields may be in the answer."""
        over = lifetime_over(state, expires_at, sensitivity, self._tx.now)
        return state in self._states and not over and self._allowed.sees(tuple(sensitivity))

    def degrees(self, entities: Sequence[int]) -> Counter[int]:
        """How many visible memories name each entity. The database counts those that are not sensitive."""
        alive = (
            MemoryRow.state.in_(self._states),
            or_(MemoryRow.expires_at.is_(None), MemoryRow.expires_at > self._tx.now, MemoryRow.state == "frozen"),
        )
        counted = Counter[int]()
        for part in _parts(entities):
            joined = select(IncidenceRow.entity_id).join(MemoryRow, MemoryRow.seq == IncidenceRow.memory_seq)
            joined = joined.where(IncidenceRow.entity_id.in_(part), *alive)
            plain = joined.add_columns(func.count()).where(MemoryRow.sensitivity == []).group_by(IncidenceRow.entity_id)
            for entity, count in self._tx.connection.execute(plain):
                counted[entity] += count
            columns = (MemoryRow.state, MemoryRow.expires_at, MemoryRow.sensitivity)
            for row in self._tx.connection.execute(joined.add_columns(*columns).where(MemoryRow.sensitivity != [])):
                counted[row.entity_id] += self.may_see(row.state, row.expires_at, row.sensitivity)
        return counted

    def _links(self) -> Iterator[Edge]:
        ids = {cube.id for cube in self.cubes.values()}
        columns = (EdgeRow.dst_id, EdgeRow.type, EdgeRow.weight, EdgeRow.at)
        for row in self._where(EdgeRow.src_id, sorted(ids), *columns):
            if row.dst_id in ids:
                yield Edge(row.src_id, row.dst_id, row.type, row.weight, row.at)

    def _where(self, key: InstrumentedAttribute[Any], values: Sequence[Any], *columns: Any) -> Iterator[Row[Any]]:
        """The key and the columns of the rows that have one of these values, in order of the key."""
        for part in _parts(values):
            query = select(key, *columns).where(key.in_(part)).order_by(key, columns[0])
            yield from self._tx.connection.execute(query)


def _node_id(entity: int) -> str:
    return f"ent_{entity}"


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), IN_ONE_QUERY):
        yield values[start : start + IN_ONE_QUERY]
