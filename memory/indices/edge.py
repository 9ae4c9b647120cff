"""The embedded index: a Qdrant Edge shard in a folder that one process has open.

Every call into the engine holds the interpreter, so all of them go through one thread, writes in small portions between
which other threads run, and the engine is never asked to optimise here (edge_build.py does that in a process of its own).
What `apply` has written survives the death of the process by the engine's own log. Pushing it to the disk stalls
everything for a tenth of a second and more, so that is done after many writes; what a power cut takes away the
reconciler brings back from SQL. Source: design storage §1, "Using edge"; memos §2.3.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread
import qdrant_edge as edge

from memory.codecs.search import OVERSAMPLE
from memory.indices.base import (
    GRAPH_CANDIDATES,
    KEYWORDS,
    SCAN_TO_KB,
    Filter,
    IndexTaken,
    PointVersion,
    Vector,
    VectorHit,
    VectorOp,
    checked,
    conditions,
    memory_id,
    newest,
    point_id,
    stored,
)
from runtime.errors import SettingsError, StorageError, boundary

T = TypeVar("T")
CODECS: Final = ("f32", "f16", "int8")
DENSE: Final = "dense"
# What the shard was made for; the engine alone would open it with another codec than it was filled with.
FACTS: Final = "mneme.json"
# 16 points of 384 numbers take about 4 ms.
PORTION: Final = 16
FLUSH_AFTER: Final = 4096
PAGE: Final = 1000
# Vectors of a segment from which on it gets a graph; the engine's own default leaves ten thousand without one.
GRAPH_FROM_KB: Final = 1000
QUANTILE: Final = 0.99
REMEDY: Final = "`mneme memory reindex` builds it again from the stored vectors"


class EdgeIndex:
    """See `VectorIndex`; made by `open`."""

    def __init__(self, shard: edge.EdgeShard, folder: Path, dim: int, codec_name: str) -> None:
        self._shard = shard
        self._name = f"index {str(folder)!r}"
        self._dim = dim
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edge")
        self._unflushed = 0
        self._closed = False
        rescored = edge.QuantizationSearchParams(rescore=True, oversampling=float(OVERSAMPLE))
        self._params = edge.SearchParams(
            hnsw_ef=GRAPH_CANDIDATES, quantization=rescored if codec_name == "int8" else None
        )

    @classmethod
    async def open(cls, folder: Path, dim: int, codec_name: str) -> EdgeIndex:
        """The index in `folder`; made, when there is no folder or nothing in it.

        Raises `SettingsError` for a codec that the engine does not have, `IndexTaken` when somebody has it open, and
        `StorageError` when it is of another codec or dimension or cannot be read.
        """
        check_codec(codec_name)
        shard = await anyio.to_thread.run_sync(_open, folder, dim, codec_name)
        return cls(shard, folder, dim, codec_name)

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        """See `VectorIndex`."""
        latest = newest(ops, self._dim)
        for op in latest:
            point_id(op.memory_id)
        if latest:
            await self._call("write", partial(self._write, latest))

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        """See `VectorIndex`."""
        query = checked(vector, self._dim, "question")
        if limit < 1 or not where.vault_ids:
            return []
        request = edge.QueryRequest(
            limit,
            query=edge.Query.Nearest(query.tolist(), using=DENSE),
            filter=_filter(where),
            params=self._params,
            with_payload=["version"],
        )
        found = await self._call("search", lambda: self._shard.query(request))
        return [VectorHit(memory_id(str(each.id)), each.score, _payload(each)["version"]) for each in found]

    async def versions(self) -> AsyncIterator[PointVersion]:
        """See `VectorIndex`. Read in pages: what is written meanwhile may be told of as it was before or after."""
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(offset, PAGE, with_payload=["version", "tombstone"])
            records, offset = await self._call("read", partial(self._shard.scroll, request))
            for each in records:
                payload = _payload(each)
                yield PointVersion(memory_id(str(each.id)), payload["version"], payload["tombstone"])
            if offset is None:
                return

    async def remove(self, ids: Sequence[str]) -> None:
        """See `VectorIndex`."""
        points: list[edge.PointId] = [point_id(name) for name in ids]
        if points:
            await self._call("remove", lambda: self._shard.update(edge.UpdateOperation.delete_points(points)))

    async def count(self) -> int:
        """See `VectorIndex`."""
        return await self._call("count", lambda: self._shard.count(edge.CountRequest(exact=True)))

    async def aclose(self) -> None:
        """See `VectorIndex`. What was asked before is done first; afterwards everything is on the disk."""
        if not self._closed:
            closing = self._thread.submit(self._shard.close)
            self._closed = True
            with engine_errors(f"{self._name}: close"):
                await asyncio.wrap_future(closing)
            self._thread.shutdown(wait=False)

    def _write(self, ops: Sequence[VectorOp]) -> None:
        write(self._shard, ops, portion=PORTION)
        self._unflushed += len(ops)
        if self._unflushed >= FLUSH_AFTER:
            self._shard.flush()
            self._unflushed = 0

    async def _call(self, what: str, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageError(f"{self._name}: it was closed, because the service stops")
        with engine_errors(f"{self._name}: {what}"):
            return await asyncio.wrap_future(self._thread.submit(work))


def check_codec(codec_name: str) -> None:
    """Raises `SettingsError` for a codec that the engine does not have."""
    if codec_name not in CODECS:
        raise SettingsError(
            f"codec {codec_name!r}: the embedded index has {', '.join(CODECS)}; other codecs are searched in memory"
        )


def create(folder: Path, dim: int, codec_name: str, *, optimised: bool = False) -> edge.EdgeShard:
    """A new shard in an empty folder, open, with the indexes of its fields, which must be there before any point.
    `optimised`: it gets graphs when it is asked to optimise."""
    half = edge.VectorStorageDatatype.Float16 if codec_name == "f16" else None
    int8 = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=QUANTILE, memory=edge.Memory.Pinned)
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(dim, edge.Distance.Cosine, datatype=half)},
            quantization_config=int8 if codec_name == "int8" else None,
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=SCAN_TO_KB)
            if optimised
            else None,
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=GRAPH_FROM_KB) if optimised else None,
        ),
    )
    for field in KEYWORDS:
        params = edge.KeywordIndexParams(is_tenant=field == KEYWORDS[0])
        shard.update(edge.UpdateOperation.create_field_index(field, params))
    return shard


def write(shard: edge.EdgeShard, ops: Sequence[VectorOp], *, portion: int) -> None:
    """Write ops of different memories, so many points at a time; a point of the same or a higher version stays."""
    by_version: dict[int, list[VectorOp]] = {}
    for op in ops:
        by_version.setdefault(op.version, []).append(op)
    for version, group in by_version.items():
        older = edge.Filter(must=[edge.FieldCondition("version", range=edge.RangeFloat(lt=version))])
        for start in range(0, len(group), portion):
            points = [
                edge.Point(point_id(op.memory_id), {} if op.vector is None else {DENSE: op.vector.tolist()}, stored(op))
                for op in group[start : start + portion]
            ]
            shard.update(edge.UpdateOperation.upsert_points(points, condition=older))


def write_facts(folder: Path, dim: int, codec_name: str) -> None:
    """Say what the shard was made for; without that it cannot be opened."""
    (folder / FACTS).write_text(json.dumps({"dim": dim, "codec": codec_name}), encoding="ascii")


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what the engine raises into `StorageError` with a remedy, or `IndexTaken`."""
    try:
        with boundary(what, _EngineFailed):
            yield
    except _EngineFailed as error:
        if "WouldBlock" in error.message:
            raise IndexTaken(
                f"{what}: another process has it open; one process may, more need a Qdrant server"
            ) from error
        raise StorageError(f"{error.message}; {REMEDY}") from error
    except BaseException as error:
        # A panic of the engine is no `Exception`.
        if type(error).__module__ == "pyo3_runtime":
            raise StorageError(f"{what}: the engine broke down: {error}; {REMEDY}") from error
        raise


class _EngineFailed(StorageError):
    """What the engine said."""


def _open(folder: Path, dim: int, codec_name: str) -> edge.EdgeShard:
    name = f"index {str(folder)!r}"
    with boundary(name, StorageError):
        empty = not folder.is_dir() or not any(folder.iterdir())
        # Made aside and moved, so that nobody finds half of it.
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        if empty:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            with engine_errors(name):
                create(aside, dim, codec_name).close()
            write_facts(aside, dim, codec_name)
            aside.rename(folder)
    found = _facts(folder)
    if found != (dim, codec_name):
        made = "unreadable" if found is None else f"of {found[0]} dimensions and codec {found[1]!r}"
        raise StorageError(f"{name}: it is {made}; expected {dim} dimensions and codec {codec_name!r}; {REMEDY}")
    with engine_errors(name):
        return edge.EdgeShard.load(str(folder))


def _facts(folder: Path) -> tuple[int, str] | None:
    try:
        read = json.loads((folder / FACTS).read_bytes())
        return int(read["dim"]), str(read["codec"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _filter(where: Filter) -> edge.Filter:
    return edge.Filter(
        must=[edge.FieldCondition(field, match=edge.MatchAny(values)) for field, values in conditions(where).items()]
    )


def _payload(found: edge.ScoredPoint | edge.Record) -> edge.Payload:
    return found.payload or {}
