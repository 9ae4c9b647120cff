"""The MCP servers that the settings name: one connection each in a process, opened when first needed.

A connection belongs to one task from beginning to end, because the SDK wants its context managers entered and left in the
same one: `McpServers.run` is the parent of these tasks, and ending it closes connections and processes. A connection that
broke is opened anew by the next call. A server that cannot be reached is an answer, never an error of the run. Nothing but
what the settings name is started or asked: no proxy of the environment, no redirect to elsewhere, and no more of the
environment than the SDK's short list. Every run of every user shares the servers. Source: MCP 2025-11-25 and 2026-07-28;
contract promise 7; ours.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx2
from anyio.abc import TaskGroup, TaskStatus
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, TextContent
from mcp_types import Tool as Described
from pydantic import JsonValue

from agents.tooling.base import SEPARATOR, Call, Offer, ToolAnswer
from agents.tooling.schemas import fault_of_schema, without
from runtime.errors import MnemeError, boundary
from runtime.settings import McpServerSettings, ToolSettings
from runtime.telemetry import get_logger
from runtime.types import ToolSpec

MAX_EVENT_BYTES: Final = 16 << 20
MAX_PAGES: Final = 100
CONNECT_S: Final = 5.0
# What the model API takes as the name of a function.
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

if TYPE_CHECKING:
    from mcp.client._transport import ReadStream, TransportStreams

log = get_logger(__name__)


@dataclass(slots=True)
class _Connection:
    """One connection while it lasts; `lost` is set when it has ended or must not be used any more."""

    client: Client
    lost: anyio.Event = field(default_factory=anyio.Event)


class McpServer:
    """One server: a source of tools. `run` must be going (see `McpServers`)."""

    def __init__(self, name: str, settings: McpServerSettings, *, connect_timeout_s: float) -> None:
        self.name = name
        self._settings = settings
        self._connect_timeout_s = connect_timeout_s
        self._tasks: TaskGroup | None = None
        self._connecting = anyio.Lock()
        self._connection: _Connection | None = None

    def start_in(self, tasks: TaskGroup | None) -> None:
        """Where connections live from now on; None: nowhere any more."""
        self._tasks = tasks

    async def offers(self) -> Sequence[Offer]:
        """The tools that the server lists, without those whose name or schema cannot be used (logged). Raises `MnemeError`
        when it cannot be reached within the time of the settings."""
        with boundary(f"MCP server {self.name!r}"), anyio.move_on_after(self._connect_timeout_s):
            offers = [self._offer(described) for described in await self._listed()]
            return [offer for offer in offers if offer is not None]
        raise MnemeError(f"MCP server {self.name!r}: no list of tools within {self._connect_timeout_s:g} s")

    async def run(self, call: Call) -> ToolAnswer:
        """See `ToolSource`."""
        remote = call.name.removeprefix(self.name + SEPARATOR)
        sent = {**call.parameters, **self._settings.defaults.get(remote, {})}
        for last in (False, True):
            try:
                connection = await self._connected()
            except MnemeError as error:
                return ToolAnswer.failed("unavailable", detail=error.message)
            try:
                return _answer(await connection.client.call_tool(remote, sent))
            except MCPError as error:
                # A session that the server does not know any more: it did nothing, so the call is made in a new one.
                if error.code == INVALID_REQUEST and not last:
                    connection.lost.set()
                    continue
                down = error.code == CONNECTION_CLOSED
                return ToolAnswer.failed("unavailable" if down else "exception", detail=error.message)
        raise AssertionError("the second try returns")

    async def show(self, data: JsonValue) -> JsonValue:
        """See `ToolSource`."""
        return data

    async def _listed(self) -> list[Described]:
        client = (await self._connected()).client
        listed: list[Described] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            listed += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        return listed

    def _offer(self, described: Described) -> Offer | None:
        name = self.name + SEPARATOR + described.name
        fault = fault_of_schema(described.input_schema)
        if NAME.fullmatch(name) is None:
            fault = "expected a name of at most 64 letters, digits, - and _, with that of the server"
        if fault is not None:
            log.warning("tools.left_out", tool=name, reason=fault)
            return None
        schema = without(described.input_schema, self._settings.defaults.get(described.name, {}))
        hints = described.annotations
        idempotent = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
        return Offer(ToolSpec(name, described.description or "", schema), idempotent)

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.lost.is_set():
                if self._tasks is None:
                    raise MnemeError(f"MCP server {self.name!r}: this process opens no connections (any more)")
                self._connection = await self._tasks.start(self._own)
            return self._connection

    async def _own(self, *, task_status: TaskStatus[_Connection]) -> None:
        """Open the connection, hold it until it is lost, close it. Raises `MnemeError` when it cannot be opened; what
        happens later is logged."""
        connection: _Connection | None = None
        lost = anyio.Event()
        try:
            with boundary(f"MCP server {self.name!r}"):
                async with Client(self._transport(lost), cache=None) as client:
                    connection = _Connection(client, lost)
                    task_status.started(connection)
                    await lost.wait()
        except MnemeError as error:
            reason = f"MCP server {self.name!r} cannot be reached: {_told(error.__cause__ or error)}"
            if connection is None:
                raise MnemeError(reason) from error
            log.warning("tools.connection_lost", server=self.name, reason=reason)
        finally:
            lost.set()

    @asynccontextmanager
    async def _transport(self, lost: anyio.Event) -> AsyncIterator[TransportStreams]:
        own = self._settings
        if own.command is not None:
            environment = {name: value.get_secret_value() for name, value in own.env.items()}
            started = StdioServerParameters(command=own.command, args=own.args, env=environment, cwd=own.cwd)
            async with stdio_client(started) as (read, write):
                yield _Heard(read, lost), write
            return
        assert own.url is not None
        headers = {name: value.get_secret_value() for name, value in own.headers.items()}
        # The time of a call bounds its answer.
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as http,
            streamable_http_client(own.url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES) as (read, write),
        ):
            yield _Heard(read, lost), write


class McpServers:
    """All of them, by name."""

    def __init__(self, settings: ToolSettings) -> None:
        self.by_name: Mapping[str, McpServer] = {
            name: McpServer(name, own, connect_timeout_s=settings.connect_timeout_s)
            for name, own in settings.mcp.items()
        }

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Be the parent of the connections until cancelled; then all of them are closed."""
        try:
            async with anyio.create_task_group() as tasks:
                for server in self.by_name.values():
                    server.start_in(tasks)
                task_status.started()
                await anyio.sleep_forever()
        finally:
            for server in self.by_name.values():
                server.start_in(None)


class _Heard:
    """A stream of the SDK that says when it has ended, so that a dead server is noticed before the next call."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], ended: anyio.Event) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Heard:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._stream.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self._ended.set()
            raise

    async def __aenter__(self) -> _Heard:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


def _answer(result: CallToolResult) -> ToolAnswer:
    """Structured content as it is; else one text as a text, and several blocks as a list. What is not text is named."""
    blocks: list[JsonValue] = [
        block.text if isinstance(block, TextContent) else {"left_out": block.type} for block in result.content
    ]
    if result.is_error:
        return ToolAnswer.failed("exception", detail=blocks[0] if len(blocks) == 1 else blocks)
    if result.structured_content is not None:
        return ToolAnswer(True, result.structured_content)
    return ToolAnswer(True, blocks[0] if len(blocks) == 1 else blocks)


def _told(error: BaseException) -> str:
    """The first cause in a group of errors, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
