"""The suite stays on this machine."""

from __future__ import annotations

import socket

import anyio
import pytest


def test_a_test_that_would_leave_this_machine_fails() -> None:
    with pytest.raises(AssertionError, match="stay on this machine"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with socket.socket() as plain, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        plain.connect_ex(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match=r"example\.com"):
        socket.getaddrinfo("example.com", 80)


@pytest.mark.anyio
async def test_this_machine_can_be_reached() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with await anyio.connect_tcp("localhost", port), listener:
        pass
