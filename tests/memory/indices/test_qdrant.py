"""The index on a Qdrant server: what is sent, whom it refuses, how failures read. Semantics are in the conformance suite."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from memory.indices.base import Filter, Payload, VectorOp
from memory.indices.qdrant import QdrantIndex
from runtime.errors import SettingsError, StorageError
from tests.conftest import free_port

pytestmark = pytest.mark.anyio
DIM = 4
HERE = Payload("vlt_a", "activated", "plaintext", "fact", ("red",), "s1")
UNIT = np.array([1, 0, 0, 0], np.float32)
POINT = "00000000-0000-0000-0000-00000000000a"
MEMORY = "mem_" + POINT.replace("-", "")


class Server:
    """Answers as a server of that release does, and keeps what it was asked."""

    def __init__(self, release: str = "1.20.1", collection: dict[str, Any] | None = None) -> None:
        self.release = release
        self.collection = collection
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], Callable[[], httpx.Response]] = {}

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        key = (request.method, request.url.path)
        self.asked.append((*key, body))
        if key in self.answers:
            return self.answers[key]()
        return httpx.Response(
            200, json={"status": "ok", "time": 0.0, "result": self.result(*key, body)} | self.version(key)
        )

    def version(self, key: tuple[str, str]) -> dict[str, str]:
        return {"title": "qdrant", "version": self.release} if key == ("GET", "/") else {}

    def result(self, method: str, path: str, body: Any) -> Any:
        if path.endswith("/exists"):
            return {"exists": self.collection is not None}
        if (method, path) == ("PUT", "/collections/mem__x"):
            self.collection = {"vectors": body["vectors"], "quantization": body.get("quantization_config")}
            return True
        if (method, path) == ("GET", "/collections/mem__x"):
            assert self.collection is not None
            return described(self.collection)
        if path == "/aliases":
            return {"aliases": [{"alias_name": "mem", "collection_name": "mem__old"}]}
        if path.endswith("/points/query"):
            return {"points": [{"id": POINT, "version": 9, "score": 0.5, "payload": {"version": 3}}]}
        if path.endswith("/points/count"):
            return {"count": 5}
        if path.endswith("/points/batch"):
            return [{"operation_id": 1, "status": "completed"}] * len(body["operations"])
        if path.startswith("/collections/mem__x/"):
            return {"operation_id": 1, "status": "completed"}
        return True


def described(collection: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "payload_schema": {},
        "config": {
            "params": {"vectors": collection["vectors"]},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            "quantization_config": collection["quantization"],
        },
    }


@pytest.fixture
def quiet() -> Iterator[None]:
    """The client warns of a key without TLS, and of field indexes in its in-memory mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def opened(server: Server, codec: str = "f32", url: str = "http://ann:secret@vectors.example:6333") -> QdrantIndex:
    client = AsyncQdrantClient(
        url=url, transport=httpx.MockTransport(server.handle), check_compatibility=False, timeout=5
    )
    return QdrantIndex(client, "mem__x", DIM, codec)


async def test_a_write_replaces_lower_versions_only_and_is_waited_for() -> None:
    server = Server()
    index = opened(server)
    other = "mem_" + "b" * 32
    await index.apply([VectorOp(MEMORY, 3, UNIT, HERE), VectorOp(other, 7, None, HERE), VectorOp(other, 6, UNIT, HERE)])
    ((method, path, body),) = server.asked
    assert (method, path) == ("POST", "/collections/mem__x/points/batch")
    first, second = (operation["upsert"] for operation in body["operations"])
    assert first["update_filter"] == {"must": [{"key": "version", "range": {"lt": 3.0}}]}
    assert first["points"] == [
        {
            "id": POINT,
            "vector": {"dense": [1.0, 0.0, 0.0, 0.0]},
            "payload": {
                "version": 3,
                "tombstone": False,
                "vault_id": "vlt_a",
                "state": "activated",
                "kind": "plaintext",
                "semantic_type": "fact",
                "tags": ["red"],
                "session_id": "s1",
            },
        }
    ]
    assert second["update_filter"] == {"must": [{"key": "version", "range": {"lt": 7.0}}]}
    assert second["points"] == [
        {
            "id": "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb",
            "vector": {},
            "payload": {"version": 7, "tombstone": True},
        }
    ]


async def test_large_batches_go_in_several_requests() -> None:
    server = Server()
    await opened(server).apply([VectorOp(f"mem_{number:032x}", number % 3, UNIT, HERE) for number in range(600)])
    sizes = [sum(len(operation["upsert"]["points"]) for operation in body["operations"]) for _, _, body in server.asked]
    assert sizes == [256, 256, 88]


async def test_a_question_carries_its_filter_and_asks_for_versions_alone() -> None:
    server = Server()
    where = Filter(("vlt_a", "vlt_b"), frozenset({"frozen"}), ("fact",), ("red", "blue"), "s1")
    (hit,) = await opened(server, "int8").search(UNIT, 7, where)
    assert (hit.memory_id, hit.score, hit.version) == (MEMORY, 0.5, 3)
    ((method, path, body),) = server.asked
    assert (method, path) == ("POST", "/collections/mem__x/points/query")
    assert body["limit"] == 7
    assert body["using"] == "dense"
    assert body["with_payload"] == ["version"]
    assert body["params"]["quantization"] == {"rescore": True, "oversampling": 4.0}
    assert body["filter"]["must"] == [
        {"key": "vault_id", "match": {"any": ["vlt_a", "vlt_b"]}},
        {"key": "state", "match": {"any": ["frozen"]}},
        {"key": "semantic_type", "match": {"any": ["fact"]}},
        {"key": "tags", "match": {"any": ["red", "blue"]}},
        {"key": "session_id", "match": {"any": ["s1"]}},
    ]


async def test_without_a_vault_nothing_is_asked() -> None:
    server = Server()
    assert await opened(server).search(UNIT, 7, Filter(())) == []
    assert server.asked == []


@pytest.mark.parametrize(
    ("codec", "datatype", "quantization"),
    [
        ("f32", None, None),
        ("f16", "float16", None),
        ("int8", None, {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}),
    ],
)
async def test_the_collection_is_made_once_with_the_codec_and_the_field_indexes(
    codec: str, datatype: str | None, quantization: dict[str, Any] | None
) -> None:
    server = Server()
    await opened(server, codec).ensure()
    bodies = {path: body for method, path, body in server.asked if method == "PUT"}
    made = bodies["/collections/mem__x"]
    assert made["vectors"]["dense"]["size"] == DIM
    assert made["vectors"]["dense"]["distance"] == "Cosine"
    assert made["vectors"]["dense"].get("datatype") == datatype
    assert made.get("quantization_config") == quantization
    fields = {body["field_name"]: body["field_schema"] for m, p, body in server.asked if p.endswith("/index")}
    assert fields.keys() == {"vault_id", "state", "semantic_type", "tags", "session_id", "version"}
    assert fields["vault_id"] == {"type": "keyword", "is_tenant": True}
    assert fields["tags"] == {"type": "keyword"}
    assert fields["version"] == "integer"
    server.asked.clear()
    await opened(server, codec).ensure()
    assert ("PUT", "/collections/mem__x") not in [asked[:2] for asked in server.asked]


async def test_somebody_else_may_make_the_collection_at_the_same_moment() -> None:
    server = Server()

    def taken() -> httpx.Response:
        server.collection = {"vectors": {"dense": {"size": DIM, "distance": "Cosine"}}, "quantization": None}
        return httpx.Response(409, json={"status": {"error": "Collection `mem__x` already exists!"}})

    server.answers["PUT", "/collections/mem__x"] = taken
    await opened(server).ensure()


@pytest.mark.parametrize("release", ["1.15.5", "1.9.0", "0.11.7", "unknown"])
async def test_a_server_that_would_ignore_the_condition_is_refused(release: str) -> None:
    server = Server(release)
    with pytest.raises(StorageError, match=rf"{release}; expected 1\.16 or later"):
        await opened(server).ensure()
    assert [path for _, path, _ in server.asked] == ["/"]


@pytest.mark.parametrize(
    ("vectors", "quantization"),
    [
        ({"dense": {"size": DIM + 1, "distance": "Cosine"}}, None),
        ({"dense": {"size": DIM, "distance": "Cosine", "datatype": "float16"}}, None),
        ({"dense": {"size": DIM, "distance": "Cosine"}}, {"scalar": {"type": "int8"}}),
        ({"size": DIM, "distance": "Cosine"}, None),
    ],
)
async def test_a_collection_of_something_else_is_refused(vectors: dict[str, Any], quantization: Any) -> None:
    server = Server(collection={"vectors": vectors, "quantization": quantization})
    with pytest.raises(StorageError, match=r"collection 'mem__x' has .* expected 4 and 'f32'"):
        await opened(server).ensure()


async def test_the_alias_is_moved_in_one_request() -> None:
    server = Server()
    await opened(server).point_alias("mem")
    await opened(server).point_alias("new")
    changes = [body["actions"] for _, path, body in server.asked if path == "/collections/aliases"]
    made = {"create_alias": {"collection_name": "mem__x", "alias_name": "mem"}}
    assert changes == [
        [{"delete_alias": {"alias_name": "mem"}}, made],
        [{"create_alias": {"collection_name": "mem__x", "alias_name": "new"}}],
    ]


async def test_the_alias_leads_to_this_collection(quiet: None) -> None:
    client = AsyncQdrantClient(":memory:")
    old, new = QdrantIndex(client, "mem__old", DIM, "f32"), QdrantIndex(client, "mem__new", DIM, "f32")
    for index in (old, new):
        await index.ensure()
    await new.apply([VectorOp(MEMORY, 1, UNIT, HERE)])
    reader = QdrantIndex(client, "mem", DIM, "f32")
    await old.point_alias("mem")
    assert await reader.search(UNIT, 1, Filter(("vlt_a",))) == []
    await new.point_alias("mem")
    assert len(await reader.search(UNIT, 1, Filter(("vlt_a",)))) == 1
    await client.close()


def broken() -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def slow() -> httpx.Response:
    raise httpx.ReadTimeout("timed out")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (broken, "connection refused"),
        (slow, "timed out"),
        (lambda: httpx.Response(503, text="over\nloaded"), "it answered 503: over loaded"),
        (lambda: httpx.Response(429, text="{}", headers={"Retry-After": "3"}), "Resource"),
        (lambda: httpx.Response(200, text="<html>"), "JSON"),
        (
            lambda: httpx.Response(404, json={"status": {"error": "Collection `mem__x` doesn't exist!"}}),
            "doesn't exist",
        ),
    ],
)
async def test_a_failure_names_the_server_without_its_password(
    answer: Callable[[], httpx.Response], words: str
) -> None:
    server = Server()
    for path in ("batch", "query", "scroll", "count", "delete"):
        server.answers["POST", f"/collections/mem__x/points/{path}"] = answer
    index = opened(server)

    async def every() -> None:
        [point async for point in index.versions()]

    calls: list[Callable[[], Any]] = [
        lambda: index.apply([VectorOp(MEMORY, 1, UNIT, HERE)]),
        lambda: index.search(UNIT, 1, Filter(("vlt_a",))),
        lambda: index.remove([MEMORY]),
        index.count,
        every,
    ]
    for call in calls:
        with pytest.raises(
            StorageError, match=r"Qdrant at http://vectors\.example:6333, collection 'mem__x'"
        ) as raised:
            await call()
        assert "secret" not in raised.value.message
        assert words in raised.value.message


async def test_a_server_that_is_not_there_is_a_storage_error_and_no_hang() -> None:
    port = free_port()
    client = AsyncQdrantClient(url=f"http://127.0.0.1:{port}", check_compatibility=False, timeout=2)
    with anyio.fail_after(10), pytest.raises(StorageError, match=f"127.0.0.1:{port}"):
        await QdrantIndex(client, "mem__x", DIM, "f32").ensure()
    await client.close()


def test_a_codec_that_the_server_lacks_is_refused() -> None:
    with pytest.raises(SettingsError, match="f32, f16, int8"):
        opened(Server(), "binary")
