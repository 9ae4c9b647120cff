"""Memories that share entities with others: walks over a projection of the incidence table, kept fresh in this process.

One projection holds the whole database. Entities belong to one vault, so no walk leaves it. SQL is the truth, and an
answer is as fresh as the table was when it was asked for. Whoever changes the incidence of a memory writes to the outbox
in the same transaction, so an unchanged last number of the outbox means an unchanged table. When that number has moved
by as many as there are new memories, those are all that is new. Otherwise the table is compared with the projection,
by a checksum for each range of memories, and the ranges that differ are read again: that finds edits and removals
of every process, however they were made, and needs no log of changes. Large tables are compared less often, small ones each
time. Source: design storage §5; the way to see changes is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

import anyio
import anyio.to_thread
import numpy as np
from sqlalchemy import BigInteger, Connection, Row, cast, func, select, text

from memory.core import Core
from memory.indices import csr
from memory.indices.csr import Graph, Incidences, Scores
from memory.tables import IncidenceRow, MemoryRow

Method = Literal["expand", "spread", "pagerank"]
NONE: Final[Mapping[int, float]] = MappingProxyType({})
RANGE: Final = 1024
GROWTH: Final = 0.05
# Up to so many incidences the comparison takes some 20 ms and is done whenever it is needed; of more, so many a second.
ALWAYS: Final = 100_000
COMPARED_PER_S: Final = 250_000
# So often the table is compared although nothing seems to have changed.
RECHECK: Final = timedelta(seconds=60)
MODULUS: Final = 2_147_483_647
FACTORS: Final = (1_000_003, 7_919, 15_485_863)
WEIGHT_STEPS: Final = 1024


class Walk(Protocol):
    """See the walks of memory/indices/csr.py."""

    def __call__(self, graph: Graph, seeds: Scores, named: Scores, *, hub: int) -> Scores: ...


WALKS: Final[Mapping[Method, Walk]] = {"expand": csr.expand, "spread": csr.spread, "pagerank": csr.pagerank}


class GraphHit(NamedTuple):
    """A memory that was reached, by its short key. Scores compare within one answer."""

    seq: int
    score: float


class Mark(NamedTuple):
    """The last number that the outbox gave, and who had written to it and not committed yet (PostgreSQL only)."""

    last: int
    writing: frozenset[str]


class Sum(NamedTuple):
    """A checksum over the incidences of a range, and how many there are."""

    size: int
    mixed: int


NOTHING: Final = Sum(0, 0)


class Look(NamedTuple):
    """What a first look at the tables shows: `explained`, when new memories are all that has changed."""

    mark: Mark
    last_memory: int
    explained: bool


class Hypergraph:
    """See the module. Safe to use from many tasks of one event loop; the first question reads the whole table."""

    def __init__(self, core: Core, *, hub: int = csr.HUB) -> None:
        self._core = core
        self._hub = hub
        self._graph = csr.build(_arrays([]))
        self._sums: dict[int, Sum] = {}
        self._mark: Mark | None = None
        self._last_memory = 0
        self._owed = True
        self._compared_at: datetime | None = None
        self._refreshing = anyio.Lock()

    async def related(
        self,
        seeds: Mapping[int, float],
        *,
        entities: Mapping[int, float] = NONE,
        limit: int,
        method: Method = "spread",
    ) -> list[GraphHit]:
        """The memories nearest to the seeds (short keys) and to the entities (ids), each with a positive weight, best
        first; of equal ones the newest. A seed is only in it when a walk from `entities` comes to it, with the score of
        that walk. Unknown keys are passed over. Raises `StorageError`."""
        if limit < 1 or not (seeds or entities):
            return []
        graph = await self.refresh()
        return await anyio.to_thread.run_sync(partial(walked, graph, seeds, entities, limit, method, self._hub))

    async def refresh(self) -> Graph:
        """The graph as the table is. Raises `StorageError`."""
        async with self._refreshing:
            now = self._core.clock.now()
            since = None if self._compared_at is None else now - self._compared_at
            if since is None or since >= RECHECK:
                self._owed = True
            look = await self._core.db.read(self._look)
            if look is not None:
                await self._take_new(look)
                self._owed = self._owed or not look.explained
                self._mark, self._last_memory = look.mark, look.last_memory
            size = sum(each.size for each in self._sums.values())
            if self._owed and (since is None or size <= ALWAYS or since.total_seconds() * COMPARED_PER_S >= size):
                await self._compare()
                self._owed, self._compared_at = False, now
            if self._graph.growth > GROWTH:
                self._graph = await anyio.to_thread.run_sync(self._graph.merged)
            return self._graph

    def _look(self, connection: Connection) -> Look | None:
        """None: the outbox says that nothing has changed."""
        mark, before = _mark(connection), self._mark
        if before is not None and mark.last == before.last and before.writing <= mark.writing:
            return None
        last = connection.execute(select(func.max(MemoryRow.seq))).scalar() or 0
        fresh = connection.execute(
            select(func.count()).select_from(MemoryRow).where(MemoryRow.seq > self._last_memory)
        ).scalar_one()
        # Each new memory took at least one number. A transaction that was still open at the last look may have taken
        # one before, and one that was committed since the number was read has taken another: then nothing is explained.
        explained = (
            before is not None
            and not before.writing
            and mark.last - before.last == fresh
            and _last_number(connection) == mark.last
        )
        return Look(mark, last, explained)

    async def _take_new(self, look: Look) -> None:
        """Put the memories that came after the last known one into the graph."""
        low, high = self._last_memory + 1, look.last_memory + 1
        # At the start the comparison reads everything anyway.
        if self._compared_at is None or low >= high:
            return
        new = await self._core.db.read(partial(_read, low=low, high=high))
        sums = dict(self._sums)
        for number in np.unique(new.memories // RANGE).tolist():
            added = self._sum(new.where(new.memories // RANGE == number))
            old = sums.get(number, NOTHING)
            sums[number] = Sum(old.size + added.size, old.mixed + added.mixed)
        self._graph = await anyio.to_thread.run_sync(self._graph.patched, np.unique(new.memories), new)
        self._sums = sums

    async def _compare(self) -> None:
        """Read the ranges again whose checksum is not that of the graph."""
        end = self._last_memory + 1
        there = await self._core.db.read(partial(_sums, end=end))
        differ = [number for number, found in there.items() if found != self._sums.get(number, NOTHING)]
        loaded = []
        for number in differ:
            # What is read may be newer than the checksum; the sum of what was read is kept, so nothing is missed.
            low, high = number * RANGE, min((number + 1) * RANGE, end)
            loaded.append((low, high, await self._core.db.read(partial(_read, low=low, high=high))))
        if loaded:
            self._graph = await anyio.to_thread.run_sync(_with_ranges, self._graph, loaded)
            self._sums |= {number: self._sum(part) for number, (_, _, part) in zip(differ, loaded, strict=True)}

    def _sum(self, part: Incidences) -> Sum:
        """What `_sums` gives for these incidences."""
        # The databases differ in how they make a whole number of a fraction.
        whole = np.trunc if self._core.db.dialect == "sqlite" else np.rint
        weights = whole(part.weights * WEIGHT_STEPS).astype(np.int64)
        mixed = part.memories * FACTORS[0] + part.entities * FACTORS[1] + weights * FACTORS[2]
        return Sum(len(mixed), int((mixed % MODULUS).sum()))


def walked(
    graph: Graph, seeds: Mapping[int, float], entities: Mapping[int, float], limit: int, method: Method, hub: int
) -> list[GraphHit]:
    """See `Hypergraph.related`; pure."""
    walk = WALKS[method]
    start = graph.seeds(seeds)
    scores = walk(graph, start, np.zeros(len(graph.entities)), hub=hub)
    scores[start > 0] = 0.0
    if entities:
        asked = walk(graph, np.zeros_like(start), graph.named(entities), hub=hub)
        scores = np.maximum(scores, asked) if method == "expand" else scores + asked
    found = np.flatnonzero(scores)
    if len(found) > limit:
        least = np.partition(scores[found], -limit)[-limit]
        found = found[scores[found] >= least]
    best = found[np.lexsort((-graph.memories[found], -scores[found]))][:limit]
    return [GraphHit(int(graph.memories[place]), float(scores[place])) for place in best]


def _with_ranges(graph: Graph, loaded: list[tuple[int, int, Incidences]]) -> Graph:
    """The graph with these ranges of memories (first, end, incidences) in place of those it has."""
    size = len(graph.base[0].item)
    if sum(len(part.memories) for _, _, part in loaded) > max(GROWTH * size, RANGE):
        return csr.build(_joined(graph, loaded))
    changed: list[int] = []
    for low, high, part in loaded:
        before, after = (
            {*zip(*(column.tolist() for column in each), strict=True)} for each in (graph.between(low, high), part)
        )
        changed += [memory for memory, _, _ in before ^ after]
    replaced = np.unique(np.array(changed, np.int64))
    now = csr.joined([part for _, _, part in loaded])
    return graph.patched(replaced, now.where(np.isin(now.memories, replaced)))


def _joined(graph: Graph, loaded: list[tuple[int, int, Incidences]]) -> Incidences:
    parts, at = [], 0
    for low, high, part in loaded:
        parts += [graph.between(at, low), part]
        at = high
    return csr.joined([*parts, graph.between(at, np.iinfo(np.int64).max)])


def _read(connection: Connection, *, low: int, high: int) -> Incidences:
    """The incidences of the memories `low` <= seq < `high`."""
    query = select(IncidenceRow.memory_seq, IncidenceRow.entity_id, IncidenceRow.weight)
    query = query.where(IncidenceRow.memory_seq >= low, IncidenceRow.memory_seq < high)
    return _arrays(connection.execute(query.order_by(IncidenceRow.memory_seq, IncidenceRow.entity_id)).all())


def _arrays(rows: Sequence[Row[int, int, float]]) -> Incidences:
    memories, entities, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return Incidences(np.array(memories, np.int64), np.array(entities, np.int64), np.array(weights, np.float64))


def _sums(connection: Connection, *, end: int) -> dict[int, Sum]:
    """The checksum of each range of memories before `end`."""
    weight = cast(IncidenceRow.weight * WEIGHT_STEPS, BigInteger)
    memory, entity = IncidenceRow.memory_seq, IncidenceRow.entity_id
    mixed = (memory * FACTORS[0] + entity * FACTORS[1] + weight * FACTORS[2]) % MODULUS
    found = {}
    for low in range(0, end, RANGE):
        mine = (IncidenceRow.memory_seq >= low, IncidenceRow.memory_seq < min(low + RANGE, end))
        row = connection.execute(select(func.count(), func.sum(mixed)).where(*mine)).one()
        found[low // RANGE] = Sum(row[0], int(row[1] or 0))
    return found


def _mark(connection: Connection) -> Mark:
    last = _last_number(connection)
    if connection.dialect.name == "sqlite":
        return Mark(last, frozenset())
    # A number is taken before its transaction is committed. Whoever has taken one holds this lock until then.
    holders = connection.execute(
        text(
            "SELECT virtualtransaction FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE datname = current_database() AND relation = 'outbox'::regclass AND mode = 'RowExclusiveLock'"
        )
    )
    return Mark(last, frozenset(holders.scalars()))


def _last_number(connection: Connection) -> int:
    """The highest number that the outbox ever gave; its rows go, the number stays."""
    sqlite = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
    postgresql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_seq_seq"
    query = sqlite if connection.dialect.name == "sqlite" else postgresql
    return connection.execute(text(query)).scalar() or 0
