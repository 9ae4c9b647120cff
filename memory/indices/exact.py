"""The index that compares the question with every vector: in memory, of any codec, filtered before it compares.

It is the oracle of the others, and what a process uses that has no other index. Rows are only ever appended: a newer
version is a new row, and the old one dies. So a search reads, in a thread, what was there when it began, while others
write. When more rows are dead than alive they are packed anew. Source: design storage, Decisions, §2; ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, get_args

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from memory.codecs.base import Codec, Codes
from memory.codecs.search import OVERSAMPLE
from memory.indices.base import Filter, PointVersion, Vector, VectorHit, VectorOp, checked, newest
from memory.types import SemanticType, State
from runtime.errors import SettingsError

Full = Callable[[Sequence[str]], Awaitable[Mapping[str, Vector]]]
Numbers = NDArray[np.int32]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

# With more rows to compare, or vectors to encode, a search or a write takes milliseconds and goes to a thread.
MANY_ROWS: Final = 4096
MANY_VECTORS: Final = 128
SPARE_DEAD: Final = 1024
STATES: Final = {name: place for place, name in enumerate(get_args(State))}
TYPES: Final = {name: place for place, name in enumerate(get_args(SemanticType))}
NO_SESSION: Final = -1


class Point(NamedTuple):
    """What is known of a memory: its version, and its row; None for a tombstone."""

    version: int
    row: int | None


class Growing:
    """An array to which rows are appended. A view that was handed out stays as it is."""

    def __init__(self, kind: type[np.generic], width: tuple[int, ...] = ()) -> None:
        self._room: NDArray[Any] = np.empty((0, *width), kind)
        self._size = 0

    @property
    def values(self) -> NDArray[Any]:
        """What there is, without a copy."""
        return self._room[: self._size]

    def extend(self, values: NDArray[Any]) -> None:
        """Append rows."""
        size = self._size + len(values)
        if size > len(self._room):
            room = np.empty((2 * size, *self._room.shape[1:]), self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._room[self._size : size] = values
        self._size = size


class View(NamedTuple):
    """The rows as they are at one moment. `tag` and `tagged`: this tag is on this row."""

    ids: Sequence[str]
    codes: Codes
    version: NDArray[np.int64]
    alive: Flags
    vault: Numbers
    state: NDArray[np.int8]
    type: NDArray[np.int8]
    session: Numbers
    tag: Numbers
    tagged: Numbers


class Wanted(NamedTuple):
    """A filter in the numbers of the columns; None: any."""

    vaults: Numbers
    states: Flags | None
    types: Flags | None
    tags: Numbers | None
    session: int | None


class Table:
    """The columns, and the numbers that stand in them for names."""

    def __init__(self, width: int) -> None:
        self.ids: list[str] = []
        self._width = width
        self._codes = Growing(np.uint8, (width,))
        self._version = Growing(np.int64)
        self._alive = Growing(np.bool_)
        self._vault, self._session = Growing(np.int32), Growing(np.int32)
        self._state, self._type = Growing(np.int8), Growing(np.int8)
        self._tag, self._tagged = Growing(np.int32), Growing(np.int32)
        self._numbers: dict[tuple[str, str], int] = {}
        self.dead = 0

    def view(self) -> View:
        """What a search may read while others write: only `alive` is ever overwritten, so only that is copied."""
        return View(
            self.ids,
            self._codes.values,
            self._version.values,
            self._alive.values.copy(),
            self._vault.values,
            self._state.values,
            self._type.values,
            self._session.values,
            self._tag.values,
            self._tagged.values,
        )

    def append(self, ops: Sequence[VectorOp], codes: Codes) -> int:
        """Add live rows; the first of them."""
        first = len(self.ids)
        of = [op.payload for op in ops]
        tags = [(self._number("tag", name), first + at) for at, p in enumerate(of) for name in dict.fromkeys(p.tags)]
        self.ids.extend(op.memory_id for op in ops)
        self._codes.extend(codes)
        self._version.extend(np.array([op.version for op in ops], np.int64))
        self._alive.extend(np.ones(len(ops), np.bool_))
        self._vault.extend(np.array([self._number("vault", p.vault_id) for p in of], np.int32))
        self._state.extend(np.array([STATES[p.state] for p in of], np.int8))
        self._type.extend(np.array([TYPES[p.semantic_type] for p in of], np.int8))
        sessions = [NO_SESSION if p.session_id is None else self._number("session", p.session_id) for p in of]
        self._session.extend(np.array(sessions, np.int32))
        both = np.array(tags, np.int32).reshape(-1, 2)
        self._tag.extend(both[:, 0])
        self._tagged.extend(both[:, 1])
        return first

    def kill(self, row: int) -> None:
        """The row is of an older version, or of nothing any more."""
        self._alive.values[row] = False
        self.dead += 1

    def wanted(self, where: Filter) -> Wanted:
        """The filter in numbers; a name that no row has ever had matches nothing."""
        session = None if where.session_id is None else self._known("session", (where.session_id,))
        return Wanted(
            self._known("vault", where.vault_ids),
            None if where.states is None else _flags(len(STATES), [STATES[name] for name in where.states]),
            _flags(len(TYPES), [TYPES[name] for name in where.semantic_types]) if where.semantic_types else None,
            self._known("tag", where.tags) if where.tags else None,
            None if session is None else int(session[0]) if len(session) else NO_SESSION - 1,
        )

    def packed(self) -> Table:
        """The same without the dead rows."""
        made = Table(self._width)
        rows = np.flatnonzero(self._alive.values)
        made.ids = [self.ids[row] for row in rows]
        for name in ("_codes", "_version", "_alive", "_vault", "_session", "_state", "_type"):
            getattr(made, name).extend(getattr(self, name).values[rows])
        place = np.full(len(self.ids), -1, np.int32)
        place[rows] = np.arange(len(rows))
        moved = place[self._tagged.values]
        made._tag.extend(self._tag.values[moved >= 0])
        made._tagged.extend(moved[moved >= 0])
        made._numbers = self._numbers
        return made

    def _number(self, kind: str, name: str) -> int:
        return self._numbers.setdefault((kind, name), len(self._numbers))

    def _known(self, kind: str, names: Sequence[str]) -> Numbers:
        found = [self._numbers[kind, name] for name in names if (kind, name) in self._numbers]
        return np.array(found, np.int32)


class ExactIndex:
    """See `VectorIndex`; nothing of it is on disk. `codec` is fitted.

    With `full`, which gives the full vectors of memories, four candidates for each wanted hit are scored again with them;
    one that it does not give keeps the score of its code.
    """

    def __init__(self, dim: int, codec: Codec, full: Full | None = None) -> None:
        """Raises `SettingsError` for a codec of another dimension."""
        if codec.dim != dim:
            raise SettingsError(
                f"codec {codec.name!r}: made for {codec.dim} dimensions, the index has {dim}; fit the codec again"
            )
        self._dim = dim
        self._codec = codec
        self._full = full
        self._table = Table(codec.bytes_per_vector)
        self._points: dict[str, Point] = {}
        self._writing = anyio.Lock()

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        """See `VectorIndex`."""
        latest = newest(ops, self._dim)
        async with self._writing:
            newer = [op for op in latest if op.version > self._version(op.memory_id)]
            shown = [op for op in newer if op.vector is not None]
            codes = await self._encoded([op.vector for op in shown if op.vector is not None])
            for op in newer:
                self._drop(op.memory_id)
                self._points[op.memory_id] = Point(op.version, None)
            if shown:
                first = self._table.append(shown, codes)
                self._points |= {op.memory_id: Point(op.version, first + at) for at, op in enumerate(shown)}
            await self._pack()

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        """See `VectorIndex`. Raises what `full` raises."""
        query = checked(vector, self._dim, "question")
        if limit < 1 or not where.vault_ids:
            return []
        view, wanted = self._table.view(), self._table.wanted(where)
        find = partial(_nearest, self._codec, view, wanted, query, limit * (OVERSAMPLE if self._full else 1))
        rows, scores = await anyio.to_thread.run_sync(find) if len(view.alive) > MANY_ROWS else find()
        hits = [
            VectorHit(view.ids[row], score, int(view.version[row]))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        if self._full is None or not hits:
            return hits
        known = await self._full([hit.memory_id for hit in hits])
        exact = [
            hit._replace(score=float(known[hit.memory_id] @ query)) if hit.memory_id in known else hit for hit in hits
        ]
        return sorted(exact, key=lambda hit: -hit.score)[:limit]

    async def versions(self) -> AsyncIterator[PointVersion]:
        """See `VectorIndex`; as it was when the first one was asked for."""
        for memory_id, point in list(self._points.items()):
            yield PointVersion(memory_id, point.version, point.row is None)

    async def remove(self, ids: Sequence[str]) -> None:
        """See `VectorIndex`."""
        async with self._writing:
            for memory_id in ids:
                self._drop(memory_id)
                self._points.pop(memory_id, None)
            await self._pack()

    async def count(self) -> int:
        """See `VectorIndex`."""
        return len(self._points)

    async def aclose(self) -> None:
        """See `VectorIndex`."""
        self._table, self._points = Table(self._codec.bytes_per_vector), {}

    def _version(self, memory_id: str) -> int:
        point = self._points.get(memory_id)
        return -1 if point is None else point.version

    def _drop(self, memory_id: str) -> None:
        point = self._points.get(memory_id)
        if point is not None and point.row is not None:
            self._table.kill(point.row)

    async def _encoded(self, vectors: Sequence[Vector]) -> Codes:
        if not vectors:
            return np.empty((0, self._codec.bytes_per_vector), np.uint8)
        if len(vectors) < MANY_VECTORS:
            return self._codec.encode(np.stack(vectors))
        return await anyio.to_thread.run_sync(lambda: self._codec.encode(np.stack(vectors)))

    async def _pack(self) -> None:
        if self._table.dead <= max(SPARE_DEAD, len(self._table.ids) // 2):
            return
        table = await anyio.to_thread.run_sync(self._table.packed)
        rows = {memory_id: row for row, memory_id in enumerate(table.ids)}
        self._points = {name: point._replace(row=rows.get(name)) for name, point in self._points.items()}
        self._table = table


def _nearest(codec: Codec, view: View, wanted: Wanted, query: Vector, count: int) -> tuple[Places, NDArray[np.float32]]:
    """The best rows that the filter lets through, best first, equal ones in the order of writing, and their scores."""
    rows = _rows(view, wanted)
    if not len(rows):
        return rows, np.empty(0, np.float32)
    projected = codec.project(query[None])[0]
    # Copying most of the rows costs more than comparing all of them.
    if 2 * len(rows) > len(view.alive):
        scores = codec.scores(projected, view.codes)[rows]
    else:
        scores = codec.scores(projected, view.codes[rows])
    if count < len(rows):
        least = np.partition(scores, -count)[-count]
        among = np.flatnonzero(scores >= least)
        rows, scores = rows[among], scores[among]
    order = np.lexsort((rows, -scores))[:count]
    return rows[order], scores[order]


def _rows(view: View, wanted: Wanted) -> Places:
    """The live rows that the filter lets through. The vault goes first: it leaves least."""
    rows = np.flatnonzero(_among(view.vault, wanted.vaults) & view.alive)
    if wanted.states is not None:
        rows = rows[wanted.states[view.state[rows]]]
    if wanted.types is not None:
        rows = rows[wanted.types[view.type[rows]]]
    if wanted.session is not None:
        rows = rows[view.session[rows] == wanted.session]
    if wanted.tags is not None:
        carries = np.zeros(len(view.alive), np.bool_)
        carries[view.tagged[_among(view.tag, wanted.tags)]] = True
        rows = rows[carries[rows]]
    return rows


def _among(column: Numbers, wanted: Numbers) -> Flags:
    found: Flags = column == wanted[0] if len(wanted) == 1 else np.isin(column, wanted)
    return found


def _flags(size: int, places: Sequence[int]) -> Flags:
    made = np.zeros(size, np.bool_)
    made[list(places)] = True
    return made
