"""The OpenAI client on the wire: what it sends, what it reads, and what a broken server becomes."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import anyio.abc
import pytest
from openai.types import Model

from runtime.errors import ModelUnavailable
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.fold import complete
from runtime.llm.openai import OpenAICompatible, from_settings
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from runtime.settings import load
from runtime.types import Message, Sampling, ToolSpec

pytestmark = pytest.mark.anyio
ASK = [Message("user", "Hello")]
INFO = CallInfo("direct.answer", "run_7")
PIECE = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedProcess]:
    script = '[[rule]]\npurpose = "t.hang"\nfault = "hang"\n'
    script += '[[rule]]\npurpose = "t.slow"\nreply = "a b c d e f"\ndelay_ms = 300\n'
    with scripted_process(script) as process:
        yield process


def client(url: str, **settings: object) -> OpenAICompatible:
    flags = {f"llm.{name}": value for name, value in settings.items()}
    return from_settings("m", load({"llm.base_url": url, **flags}, env={}).settings)


class Raw:
    """A server that answers every request with the same bytes and counts its connections."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.breaks = False

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            held = b""
            while True:
                try:
                    while b"\r\n\r\n" not in held:
                        held += await stream.receive()
                    head, _, held = held.partition(b"\r\n\r\n")
                    length = next(int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:"))
                    while len(held) < length:
                        held += await stream.receive()
                    self.bodies.append(held[:length])
                    held = held[length:]
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    if answer.startswith(b"HTTP"):
                        await stream.send(answer)
                        continue
                    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                    await stream.send(start + b"%x\r\n%s\r\n" % (len(answer), answer))
                    if self.breaks:
                        return
                    await stream.send(b"0\r\n\r\n")
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return


@asynccontextmanager
async def raw(*answers: bytes, breaks: bool = False) -> AsyncIterator[tuple[Raw, OpenAICompatible]]:
    server = Raw()
    server.answers, server.breaks = list(answers), breaks
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.serve)
        llm = client(f"http://127.0.0.1:{port}/v1")
        yield server, llm
        await llm.aclose()
        group.cancel_scope.cancel()


async def test_every_field_reaches_the_wire(server: ScriptedProcess) -> None:
    llm = client(server.url)
    sampling = Sampling(
        temperature=0.0, top_p=0.5, max_tokens=9, stop=("x",), seed=3, tool_choice="auto", logprobs=True, top_logprobs=2,
        response_format={"type": "json_object"}, extra=(("top_k", 5), ("stream", False), ("model", "other")),
    )  # fmt: skip
    await complete(llm, ASK, info=INFO, sampling=sampling, tools=[ToolSpec("f", "does f", {"type": "object"}, True)])
    await llm.aclose()
    seen = server.requests()[-1]
    body = seen["body"]
    wanted = {"temperature": 0.0, "top_p": 0.5, "max_tokens": 9, "stop": ["x"], "seed": 3, "tool_choice": "auto"}
    wanted |= {"logprobs": True, "top_logprobs": 2, "response_format": {"type": "json_object"}, "top_k": 5}
    assert {name: body[name] for name in wanted} == wanted
    assert body["tools"][0]["function"]["strict"] is True
    assert (body["stream"], body["model"]) == (True, "m")  # What has a name of its own is not overridden.
    assert (seen["purpose"], seen["run"]) == ("direct.answer", "run_7")
    assert not [name for name in seen["headers"] if name.startswith(("x-stainless", "openai-"))]


@pytest.mark.parametrize(
    ("told", "window"), [({"max_model_len": 4096}, 4096), ({}, None), ({"max_model_len": "x"}, None)]
)
async def test_the_window_is_what_the_list_of_models_tells(
    told: dict[str, object], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [Model.model_validate({"id": id_, "created": 0, "object": "model", "owned_by": "x"} | more)
              for id_, more in (("other", {"max_model_len": 1}), ("m", told))]  # fmt: skip

    async def pages(**options: object) -> SimpleNamespace:
        return SimpleNamespace(data=listed)

    llm = client("http://127.0.0.1:9/v1")
    monkeypatch.setattr(llm._client.models, "list", pages)
    assert await llm.window() == window
    await llm.aclose()


async def test_connections_are_used_again() -> None:
    async with raw(PIECE % b"hi" + END + DONE) as (server, llm):
        for _ in range(5):
            assert (await complete(llm, ASK, info=INFO)).text == "hi"
        assert server.connections == 1


async def test_without_usage_the_counts_are_estimated() -> None:
    async with raw(PIECE % b"twelve chars" + END + DONE) as (_, llm):
        reply = await complete(llm, ASK, info=INFO)
    assert reply.estimated
    assert reply.usage.completion_tokens == 3


async def test_chunks_without_choices_before_the_answer_are_passed_over() -> None:
    async with raw(b'data: {"choices":[],"prompt_filter_results":[]}\n\n' + PIECE % b"hi" + END + DONE) as (_, llm):
        assert (await complete(llm, ASK, info=INFO)).text == "hi"


async def test_half_a_surrogate_pair_is_passed_on_both_ways() -> None:
    async with raw(PIECE % rb"\ud83d" + END + DONE) as (server, llm):
        assert (await complete(llm, [Message("user", "\ud83d")], info=INFO)).text == "\ud83d"
        assert rb"\ud83d" in server.bodies[0]


async def test_an_answer_is_whole_once_its_finish_came() -> None:
    async with raw(PIECE % b"hi" + END, breaks=True) as (_, llm):
        assert (await complete(llm, ASK, info=INFO)).text == "hi"


async def test_a_limit_above_what_the_model_can_hold_is_left_out_and_not_tried_again() -> None:
    text = b'{"error":{"message":"max_tokens=9000 cannot be greater than 4096","param":"max_tokens"}}'
    refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    async with raw(refusal % (len(text), text), PIECE % b"hi" + END + DONE) as (server, llm):
        for limit in (9000, 9500, 100):
            assert (await complete(llm, ASK, info=INFO, sampling=Sampling(max_tokens=limit))).text == "hi"
        asked = [json.loads(body[body.index(b"{") :]).get("max_tokens") for body in server.bodies]
        assert asked == [9000, None, None, 100]


async def test_a_server_that_does_not_know_stream_options_is_asked_without() -> None:
    text = b'{"error":{"message":"unknown field stream_options"}}'
    refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    async with raw(refusal % (len(text), text), PIECE % b"hi" + END + DONE) as (server, llm):
        for _ in range(2):
            assert (await complete(llm, ASK, info=INFO)).text == "hi"
        assert [b"stream_options" in body for body in server.bodies] == [True, False, False]


async def test_a_server_that_does_not_bind_schemas_is_asked_once() -> None:
    async with raw(PIECE % b"Hello!" + END + DONE) as (server, llm):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(llm.binds_schema)
        assert not await llm.binds_schema()
        assert len(server.bodies) == 1


async def test_a_server_that_is_down_is_unavailable_and_good_again_when_it_is_up() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    llm = client(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(ModelUnavailable, match=str(port)):
        await complete(llm, ASK, info=INFO)
    with pytest.raises(ModelUnavailable, match=str(port)):
        await llm.models()
    with scripted_process(port=port):
        assert (await complete(llm, ASK, info=INFO)).text
    await llm.aclose()


async def fold_rest(stream: AsyncIterator[Chunk]) -> str:
    return "".join([chunk.text async for chunk in stream])


async def test_a_server_process_that_dies_mid_answer_is_unavailable() -> None:
    with scripted_process('[[rule]]\nreply = "a b c d e"\ndelay_ms = 400\n') as process:
        llm = client(process.url)
        stream = llm.stream(ASK, info=INFO, sampling=Sampling())
        assert await anext(stream)
        process.kill()
        with pytest.raises(ModelUnavailable):
            await fold_rest(stream)
        await llm.aclose()


async def test_silence_ends_at_the_idle_limit(server: ScriptedProcess) -> None:
    llm = client(server.url, idle_timeout_s=0.2)
    with anyio.fail_after(20.0), pytest.raises(ModelUnavailable):
        await complete(llm, ASK, info=CallInfo("t.hang", "r"))
    await llm.aclose()


async def test_an_answer_that_goes_on_too_long_ends_at_the_limit(server: ScriptedProcess) -> None:
    llm = client(server.url, timeout_s=0.5)
    with anyio.fail_after(20.0), pytest.raises(ModelUnavailable, match=r"0\.5 s"):
        await complete(llm, ASK, info=CallInfo("t.slow", "r"))
    await llm.aclose()


async def test_cancelling_closes_the_connection_so_that_the_server_stops(server: ScriptedProcess) -> None:
    llm = client(server.url)
    with anyio.move_on_after(0.45):
        await complete(llm, ASK, info=CallInfo("t.slow", "run_cancelled"))
    # The connection must be closed by the cancelling, not by the client, whose pool is still open.
    with anyio.fail_after(20.0):
        while not [r for r in server.requests() if r["run"] == "run_cancelled" and r["disconnected"]]:
            await anyio.sleep(0.02)
    await llm.aclose()
