from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import numpy as np
import pytest

from memory.encoders.base import Profile
from memory.encoders.http import Endpoint, HttpEncoder
from runtime.errors import MalformedReply, ModelOverloaded, ModelRejected, ModelUnavailable, SettingsError
from runtime.retry import RetryPolicy

pytestmark = pytest.mark.anyio
Handler = Callable[[httpx2.Request], httpx2.Response]


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 2.0, 0.0]


def reply(texts: list[str], **over: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": n, "embedding": vector_of(text)} for n, text in enumerate(texts)]
    return {"object": "list", "model": "m", "data": data, **over}


class Server:
    """A fake server: `script` answers the first requests, the rest is answered properly."""

    def __init__(self, *script: Handler | httpx2.Response) -> None:
        self.script = list(script)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.script:
            step = self.script.pop(0)
            return step if isinstance(step, httpx2.Response) else step(request)
        return httpx2.Response(200, json=reply(json.loads(request.content)["input"]))

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]


def endpoint(server: Server, *, retries: int = 2, batch_size: int = 64, api_key: str | None = None) -> Endpoint:
    return Endpoint(
        "http://127.0.0.1:9/v1/",
        "m",
        api_key=api_key,
        retry=RetryPolicy(retries, 0.0),
        timeout_s=5,
        connect_timeout_s=1,
        batch_size=batch_size,
        transport=httpx2.MockTransport(server),
    )


def encoder(server: Server, dim: int = 3, **profile: Any) -> HttpEncoder:
    return HttpEncoder(endpoint(server), Profile("m-3", "http", "m", "", dim, **profile))


def malformed(content: Any) -> httpx2.Response:
    return httpx2.Response(200, content=content if isinstance(content, bytes) else json.dumps(content).encode())


async def test_texts_become_unit_rows_in_their_order() -> None:
    server = Server()
    made = await encoder(server).encode(["a", "bbbb", "cc"], role="doc")
    expected = np.array([[1, 2, 0], [4, 2, 0], [2, 2, 0]], np.float32)
    np.testing.assert_allclose(made, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert made.dtype == np.float32
    assert server.bodies == [{"model": "m", "input": ["a", "bbbb", "cc"], "encoding_format": "float"}]
    assert str(server.requests[0].url) == "http://127.0.0.1:9/v1/embeddings"


async def test_the_prefix_of_the_role_comes_first() -> None:
    server = Server()
    made = encoder(server, prefix_doc="passage: ", prefix_query="query: ")
    await made.encode(["a"], role="doc")
    await made.encode(["a"], role="query")
    assert [body["input"] for body in server.bodies] == [["passage: a"], ["query: a"]]


async def test_no_texts_ask_nobody() -> None:
    server = Server()
    assert (await encoder(server).encode([], role="doc")).shape == (0, 3)
    assert server.requests == []


async def test_many_texts_go_in_batches_and_come_back_in_order() -> None:
    server = Server()
    made = await endpoint(server, batch_size=4).vectors(["x" * n for n in range(10)])
    assert [len(body["input"]) for body in server.bodies] == [4, 4, 2]
    assert made[:, 0].tolist() == list(range(10))


async def test_a_reply_in_another_order_is_put_in_order_by_its_index() -> None:
    def shuffled(request: httpx2.Request) -> httpx2.Response:
        made = reply(json.loads(request.content)["input"])
        made["data"].reverse()
        return httpx2.Response(200, json=made)

    made = await endpoint(Server(shuffled)).vectors(["a", "bb", "ccc"])
    assert made[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    server = Server(httpx2.Response(status, text="busy"), httpx2.Response(status, text="busy"))
    assert (await endpoint(server).vectors(["a"])).shape == (1, 3)
    assert len(server.requests) == 3


async def test_after_the_last_try_the_servers_own_words_are_told() -> None:
    server = Server(*[httpx2.Response(503, text="loading the model", headers={"retry-after": "0"})] * 3)
    with pytest.raises(ModelOverloaded, match=r"embedding server .*model 'm'.*503: loading the model") as raised:
        await endpoint(server).vectors(["a"])
    assert raised.value.status == 503
    assert raised.value.retry_after_s == 0.0
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_a_refusal_is_not_tried_again(status: int) -> None:
    server = Server(httpx2.Response(status, text="no such model"))
    with pytest.raises(ModelRejected, match="no such model") as raised:
        await endpoint(server).vectors(["a"])
    assert raised.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("too slow")])
async def test_a_server_that_cannot_be_reached_is_unavailable(error: Exception) -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        raise error

    server = Server(broken, broken, broken)
    with pytest.raises(ModelUnavailable, match="is it running"):
        await endpoint(server).vectors(["a"])
    assert len(server.requests) == 3
    assert (await endpoint(Server(broken)).vectors(["a"])).shape == (1, 3)


ROW = {"index": 0, "embedding": [1.0, 2.0]}


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        {"error": "x"},
        {"data": None},
        {"data": [3]},
        {"data": [{"index": 0, "embedding": "AACAPw=="}]},
        {"data": [{"index": 0}]},
        {"data": [{"embedding": [1.0]}]},
        {"data": []},
        {"data": [ROW]},
        {"data": [ROW, {**ROW, "index": 0}]},
        {"data": [ROW, {**ROW, "index": 2}]},
        {"data": [ROW, {"index": 1, "embedding": [1.0]}]},
        {"data": [ROW, {"index": 1, "embedding": []}]},
        {"data": [ROW, {"index": 1, "embedding": [0.0, 0.0]}]},
        {"data": [ROW, {"index": 1, "embedding": [1.0, None]}]},
        {"data": [ROW, {"index": 1, "embedding": [1.0, 1e300]}]},
        {"data": [ROW, {"index": 1, "embedding": [1.0, [2.0]]}]},
        {"data": [ROW, {**ROW, "index": 1}, {**ROW, "index": 2}]},
    ],
)
async def test_a_reply_that_is_no_vector_for_each_text_is_never_used(content: Any) -> None:
    server = Server(*[malformed(content)] * 3)
    with pytest.raises(MalformedReply):
        await endpoint(server).vectors(["a", "bb"])
    assert len(server.requests) == 3


async def test_vectors_of_another_size_are_a_matter_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"3 dimensions, expected 4; set embed\.dim to 3"):
        await encoder(Server(), dim=4).encode(["a"], role="doc")


async def test_a_size_that_changes_between_batches_is_refused() -> None:
    other = httpx2.Response(200, json={"data": [{"index": 0, "embedding": [1.0]}]})
    with pytest.raises(MalformedReply, match="different sizes"):
        await endpoint(Server(other), batch_size=1).vectors(["a", "b"])


async def test_numbers_at_the_ends_of_float32_keep_their_direction() -> None:
    big = httpx2.Response(200, json={"data": [{"index": 0, "embedding": [3e38, 0.0, 3e38]}]})
    small = httpx2.Response(200, json={"data": [{"index": 0, "embedding": [0.0, 1e-30, 0.0]}]})
    made = encoder(Server(big, small))
    np.testing.assert_allclose((await made.encode(["a"], role="doc"))[0], [0.5**0.5, 0, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose((await made.encode(["a"], role="doc"))[0], [0, 1, 0], atol=1e-6)


async def test_the_key_is_sent_and_half_of_a_surrogate_pair_is_not() -> None:
    server = Server()
    made = HttpEncoder(endpoint(server, api_key="secret"), Profile("m-3", "http", "m", "", 3))
    await made.encode(["\ud800x"], role="doc")
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.bodies[0]["input"] == ["?x"]
    await made.aclose()


class Real(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(reply(body["input"])).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the library
        """Say nothing."""


@pytest.fixture
def real_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Real)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_proxy_of_the_environment_is_not_asked(real_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Endpoint(
        real_server, "m", api_key=None, retry=RetryPolicy(0, 0), timeout_s=5, connect_timeout_s=1, batch_size=8
    )
    try:
        assert (await made.vectors(["a", "bb"])).tolist() == [[1, 2, 0], [2, 2, 0]]
    finally:
        await made.aclose()
