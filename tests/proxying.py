"""A reverse proxy in front of a service: a sub-path that it takes away, the headers that nginx is told to set, no buffer.

Bytes are passed on as they come, one request to a connection. What was asked is kept, so that a test can look at it, and
the proxy can drop everybody and refuse to be reached for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import anyio
from anyio.abc import AnyByteReceiveStream, SocketAttribute, SocketStream, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream

PREFIX = "/team/mneme"
HEAD_BYTES = 65_536
END = b"\r\n\r\n"


class Asked(NamedTuple):
    """A request as it came to the proxy; names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class Proxy:
    """Answers below `PREFIX` on a port of its own, in a thread of its own."""

    def __init__(self, portal: BlockingPortal, upstream: str) -> None:
        where = urlsplit(upstream)
        assert where.hostname is not None
        assert where.port is not None
        self.asked: list[Asked] = []
        self._upstream = (where.hostname, where.port)
        self._portal = portal
        self._port = 0
        self._going: anyio.CancelScope
        self._ended: Future[None]
        self.accept()

    @property
    def url(self) -> str:
        """Where the service is for a browser; ends in a slash, so that relative addresses go below it."""
        return f"http://127.0.0.1:{self._port}{PREFIX}/"

    def accept(self) -> None:
        """Listen, on the same port every time."""
        self._ended, self._port = self._portal.start_task(self._listen)

    def refuse(self) -> None:
        """Drop every connection there is, and let nobody connect until `accept`."""
        self._portal.call(self._going.cancel)
        self._ended.result()

    async def _listen(self, *, task_status: TaskStatus[int]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        with anyio.CancelScope() as self._going:
            async with listener:
                task_status.started(listener.extra(SocketAttribute.local_port))
                await listener.serve(self._answer)

    async def _answer(self, browser: SocketStream) -> None:
        async with browser:
            try:
                await self._pass_on(browser)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return  # One of the two has gone away.

    async def _pass_on(self, browser: SocketStream) -> None:
        said = BufferedByteReceiveStream(browser)
        asked = _read((await said.receive_until(END, HEAD_BYTES)).decode("latin-1"))
        self.asked.append(asked)
        body = await said.receive_exactly(int(asked.headers.get("content-length", "0")))
        if not asked.target.startswith(f"{PREFIX}/"):
            await browser.send(_own("404 Not Found"))
            return
        try:
            service = await anyio.connect_tcp(*self._upstream)
        except OSError:
            await browser.send(_own("502 Bad Gateway"))
            return
        async with service, anyio.create_task_group() as both:

            async def watch() -> None:
                await _until_gone(said)
                both.cancel_scope.cancel()

            await service.send(_head(asked) + body)
            both.start_soon(watch)
            try:
                async for some in service:
                    await browser.send(some)
            except anyio.BrokenResourceError:
                pass  # One of the two has gone away.
            both.cancel_scope.cancel()


def _read(head: str) -> Asked:
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Asked(method, target, {name.lower(): value.strip() for name, _, value in pairs})


def _head(asked: Asked) -> bytes:
    """What the service is sent: `proxy_set_header` of everything that the documentation of proxies recommends."""
    headers = asked.headers | {
        "connection": "close",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": asked.headers["host"],
        "x-forwarded-prefix": PREFIX,
    }
    lines = [f"{asked.method} {asked.target.removeprefix(PREFIX)} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + END


def _own(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close".encode() + END


async def _until_gone(browser: AnyByteReceiveStream) -> None:
    try:
        while True:
            await browser.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of the service at `upstream`, until the block ends."""
    with start_blocking_portal() as portal:
        proxy = Proxy(portal, upstream)
        yield proxy
        proxy.refuse()
