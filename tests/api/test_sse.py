"""Streams: they end with their frames or with the client, and never keep a generator open behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.types import Message

from agents.live import LiveRun
from api import sse
from api.sse import EventStream
from runtime.errors import StorageError
from runtime.events import ReasoningDelta, RunFinished, TextDelta

pytestmark = pytest.mark.anyio
Frames = Callable[[], AsyncGenerator[bytes, None]]


async def drive(frames: AsyncGenerator[bytes, None], receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await EventStream(frames)({"type": "http"}, receive, send)
    return sent


async def stays() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


def body(sent: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


async def test_a_stream_ends_with_its_frames() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    sent = await drive(frames(), stays)
    assert body(sent) == b"ab"
    assert sent[-1]["more_body"] is False


async def test_a_client_that_goes_closes_the_generator() -> None:
    closed = anyio.Event()
    begun = anyio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            begun.set()
            await anyio.sleep_forever()
        finally:
            closed.set()

    async def leaves() -> Message:
        await begun.wait()
        return {"type": "http.disconnect"}

    with anyio.fail_after(5):
        await drive(frames(), leaves)
        await closed.wait()


async def test_a_silent_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.02)
    asked = anyio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await asked.wait()
        yield b"data: x\n\n"

    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body", b"").startswith(b":"):
            asked.set()

    with anyio.fail_after(5):
        await EventStream(frames())({"type": "http"}, stays, send)
    assert body(sent).endswith(b"data: x\n\n")


async def test_a_stream_that_fails_says_why_before_it_ends() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"data: x\n\n"
        raise StorageError("database: the disk is full")

    sent = await drive(frames(), stays)
    assert b"event: problem" in body(sent)
    assert b"disk is full" in body(sent)
    assert sent[-1]["more_body"] is False


async def test_news_gives_everything_once_and_the_end_last() -> None:
    live = LiveRun("run_x", "m")
    assert await live.news(0) == []
    live.hear(TextDelta(text="a"), "s")
    live.hear(TextDelta(text="b"), "s")
    assert [type(item) for item in await live.news(1)] == [TextDelta, TextDelta]
    end = RunFinished(status="succeeded")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_later, live, end)
        with anyio.fail_after(5):
            assert await live.news(10) == [end]
    assert live.text == "ab"


async def test_news_may_be_given_up_and_asked_again() -> None:
    live = LiveRun("run_x", "m")
    with anyio.move_on_after(0.01):
        await live.news(10)
    live.hear(ReasoningDelta(text="r"), None)
    assert await live.news(1) == [ReasoningDelta(text="r")]


async def _end_later(live: LiveRun, end: RunFinished) -> None:
    live.close(end)
