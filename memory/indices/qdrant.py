"""The index on a Qdrant server, for more processes than one: one collection for each embedding profile.

Relays of several processes write at the same time, so the server decides which version stays: a point is replaced only
when its version is lower. Servers before 1.16 ignore that condition without a word and are refused. Source: memos §2.3,
§3.13.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from memory.codecs.search import OVERSAMPLE
from memory.indices.base import (
    GRAPH_CANDIDATES,
    KEYWORDS,
    SCAN_TO_KB,
    Filter,
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

CODECS: Final = ("f32", "f16", "int8")
DENSE: Final = "dense"
# The first release that knows `update_filter`.
OLDEST: Final = (1, 16)
IN_ONE_REQUEST: Final = 256
PAGE: Final = 1000
QUANTILE: Final = 0.99
EXISTS_ALREADY: Final = 409
SAID: Final = 300


class QdrantIndex:
    """See `VectorIndex`. The client belongs to whoever made it; so does its timeout."""

    def __init__(self, client: AsyncQdrantClient, collection: str, dim: int, codec_name: str) -> None:
        """Raises `SettingsError` for a codec that the server does not have."""
        if codec_name not in CODECS:
            raise SettingsError(
                f"codec {codec_name!r}: a Qdrant server has {', '.join(CODECS)}; other codecs are searched in memory"
            )
        self._client = client
        self._collection = collection
        self._dim = dim
        self._codec = codec_name
        self._server = _address(client)
        rescored = models.QuantizationSearchParams(rescore=True, oversampling=float(OVERSAMPLE))
        self._params = models.SearchParams(quantization=rescored) if codec_name == "int8" else None

    async def ensure(self) -> None:
        """Make the collection and the indexes of its fields where they are missing; two at once make one.

        Raises `StorageError` when the server cannot be reached or is too old, or when the collection that is there has
        other vectors.
        """
        with self._asking("version"):
            release = (await self._client.info()).version
        if _numbers(release) < OLDEST:
            raise StorageError(
                f"Qdrant at {self._server}: release {release}; expected {'.'.join(map(str, OLDEST))} or later, which can "
                "write under a condition; upgrade it"
            )
        with self._asking("making the collection"):
            if not await self._client.collection_exists(self._collection):
                await self._create()
            found = await self._client.get_collection(self._collection)
        self._check(found.config)
        with self._asking("making the indexes of its fields"):
            for field in KEYWORDS:
                if field not in found.payload_schema:
                    params = models.KeywordIndexParams(
                        type=models.KeywordIndexType.KEYWORD, is_tenant=True if field == KEYWORDS[0] else None
                    )
                    await self._client.create_payload_index(self._collection, field, params, wait=True)
            if "version" not in found.payload_schema:
                await self._client.create_payload_index(
                    self._collection, "version", models.PayloadSchemaType.INTEGER, wait=True
                )

    async def point_alias(self, name: str) -> None:
        """Let the alias stand for this collection from now on; readers see the one before or this one. Raises
        `StorageError`."""
        with self._asking(f"alias {name!r}"):
            known = (await self._client.get_aliases()).aliases
            changes: list[models.AliasOperations] = [
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
                for each in known
                if each.alias_name == name
            ]
            made = models.CreateAlias(collection_name=self._collection, alias_name=name)
            changes.append(models.CreateAliasOperation(create_alias=made))
            await self._client.update_collection_aliases(changes)

    async def apply(self, ops: Sequence[VectorOp]) -> None:
        """See `VectorIndex`."""
        latest = newest(ops, self._dim)
        points = [(op.version, _point(op)) for op in latest]
        for start in range(0, len(points), IN_ONE_REQUEST):
            by_version: dict[int, list[models.PointStruct]] = {}
            for version, point in points[start : start + IN_ONE_REQUEST]:
                by_version.setdefault(version, []).append(point)
            changes = [
                models.UpsertOperation(upsert=models.PointsList(points=group, update_filter=_older(version)))
                for version, group in by_version.items()
            ]
            with self._asking("write"):
                await self._client.batch_update_points(self._collection, changes, wait=True)

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        """See `VectorIndex`."""
        query = checked(vector, self._dim, "question")
        if limit < 1 or not where.vault_ids:
            return []
        with self._asking("search"):
            found = await self._client.query_points(
                self._collection,
                query.tolist(),
                using=DENSE,
                query_filter=_filter(where),
                search_params=self._params,
                limit=limit,
                with_payload=["version"],
            )
        return [
            VectorHit(memory_id(str(each.id)), each.score, (each.payload or {})["version"]) for each in found.points
        ]

    async def versions(self) -> AsyncIterator[PointVersion]:
        """See `VectorIndex`. Read in pages: what is written meanwhile may be told of as it was before or after."""
        offset: models.ExtendedPointId | None = None
        while True:
            with self._asking("read"):
                records, offset = await self._client.scroll(
                    self._collection, limit=PAGE, offset=offset, with_payload=["version", "tombstone"]
                )
            for each in records:
                payload = each.payload or {}
                yield PointVersion(memory_id(str(each.id)), payload["version"], payload["tombstone"])
            if offset is None:
                return

    async def remove(self, ids: Sequence[str]) -> None:
        """See `VectorIndex`."""
        points: list[models.ExtendedPointId] = [point_id(name) for name in ids]
        for start in range(0, len(points), PAGE):
            selected = models.PointIdsList(points=points[start : start + PAGE])
            with self._asking("remove"):
                await self._client.delete(self._collection, selected, wait=True)

    async def count(self) -> int:
        """See `VectorIndex`."""
        with self._asking("count"):
            return (await self._client.count(self._collection, exact=True)).count

    async def aclose(self) -> None:
        """See `VectorIndex`. The client stays open."""

    async def _create(self) -> None:
        half = models.Datatype.FLOAT16 if self._codec == "f16" else None
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=QUANTILE, always_ram=True)
        try:
            await self._client.create_collection(
                self._collection,
                vectors_config={
                    DENSE: models.VectorParams(size=self._dim, distance=models.Distance.COSINE, datatype=half)
                },
                quantization_config=models.ScalarQuantization(scalar=int8) if self._codec == "int8" else None,
                # A search keeps as many candidates as building the graph did.
                hnsw_config=models.HnswConfigDiff(ef_construct=GRAPH_CANDIDATES, full_scan_threshold=SCAN_TO_KB),
            )
        except UnexpectedResponse as error:
            if error.status_code != EXISTS_ALREADY:
                raise

    def _check(self, config: models.CollectionConfig) -> None:
        vectors = config.params.vectors
        made = vectors.get(DENSE) if isinstance(vectors, dict) else None
        size = None if made is None else made.size
        half = made is not None and made.datatype == models.Datatype.FLOAT16
        scalar = isinstance(config.quantization_config, models.ScalarQuantization)
        codec = "f16" if half else "int8" if scalar else "f32"
        if (size, codec) != (self._dim, self._codec):
            raise StorageError(
                f"Qdrant at {self._server}: collection {self._collection!r} has {size} dimensions and codec {codec!r}; "
                f"expected {self._dim} and {self._codec!r}; delete the collection, it is filled again from the database"
            )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        name = f"Qdrant at {self._server}, collection {self._collection!r}: {what}"
        with boundary(name, StorageError):
            try:
                yield
            except UnexpectedResponse as error:
                said = " ".join(error.content.decode(errors="replace").split())[:SAID]
                raise StorageError(f"{name}: it answered {error.status_code}: {said}") from error


def _point(op: VectorOp) -> models.PointStruct:
    vector = {} if op.vector is None else {DENSE: op.vector.tolist()}
    return models.PointStruct(id=point_id(op.memory_id), vector=vector, payload=stored(op))


def _older(version: int) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="version", range=models.Range(lt=version))])


def _filter(where: Filter) -> models.Filter:
    return models.Filter(
        must=[
            models.FieldCondition(key=field, match=models.MatchAny(any=values))
            for field, values in conditions(where).items()
        ]
    )


def _address(client: AsyncQdrantClient) -> str:
    """Where the server is, without a password that may stand in the URL."""
    given = client.init_options
    url = given["url"] or given["location"] or given["host"] or "localhost"
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}" if parts.hostname else str(url)


def _numbers(release: str) -> tuple[int, ...]:
    """The first two numbers of a release; none of one that has no numbers."""
    return tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
