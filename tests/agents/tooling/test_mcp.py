"""MCP servers as tools: over stdio and over HTTP, with real servers."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import psutil
import pytest
import uvicorn

from agents.base import Step
from agents.tooling.base import Tools
from agents.tooling.mcp import McpServers
from agents.tooling.opening import RunTooling
from runtime.settings import McpServerSettings, ToolSettings
from tests.agents.tooling.tool_server import LONG, ORDER, build
from tests.conftest import free_port

pytestmark = pytest.mark.anyio
STEP = cast(Step, None)  # servers need none
SCRIPT = Path(__file__).parent / "tool_server.py"


def over_stdio(folder: Path, **more: Any) -> McpServerSettings:
    environment = {"FOLDER": str(folder), "WORD": "xyzzy"}
    return McpServerSettings.model_validate(
        {"command": sys.executable, "args": [str(SCRIPT)], "env": environment, **more}
    )


@asynccontextmanager
async def opened(connect_timeout_s: float = 60.0, **servers: McpServerSettings) -> AsyncIterator[McpServers]:
    made = McpServers(ToolSettings(mcp=servers, connect_timeout_s=connect_timeout_s))
    async with anyio.create_task_group() as tasks:
        await tasks.start(made.run)
        yield made
        tasks.cancel_scope.cancel()


async def tools_of(servers: McpServers, result_tokens: int = 4096) -> Tools:
    run = RunTooling(servers.by_name, enabled=None, unasked=servers.by_name)
    return run.tools(await run.list(None), result_tokens=result_tokens)


@asynccontextmanager
async def http_server(folder: Path, port: int) -> AsyncIterator[str]:
    app = build(folder).streamable_http_app(stateless_http=False)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        while not server.started:
            await anyio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.should_exit = True


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


async def test_a_server_over_stdio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNEME_OF_THE_SERVICE", "a secret of the service")
    async with opened(calc=over_stdio(tmp_path, defaults={"add": {"b": 40}})) as servers:
        tools = await tools_of(servers, result_tokens=500)

        # Names carry the server; a name that no model can call is left out; a hidden parameter is not told.
        specs = {spec.name: spec for spec in tools.specs}
        names = ["add", "secret_word", "refuse", "long", "order", "wait", "die"]
        assert list(specs) == [f"calc__{name}" for name in names]
        assert specs["calc__add"].description == "Add two numbers."
        assert list(cast(Any, specs["calc__add"].parameters)["properties"]) == ["a"]

        # It is sent all the same, and the model cannot set it.
        answer = await tools.call("calc__add", {"a": 2}, timeout_s=60, step=STEP)
        assert (answer.ok, answer.data, answer.error) == (True, {"total": 42}, None)
        assert answer.elapsed_s > 0
        await tools.call("calc__add", {"a": 2, "b": 5}, timeout_s=60, step=STEP)
        assert calls(tmp_path) == ["add 2 40", "add 2 40"]

        # Parameters are checked before the call.
        answer = await tools.call("calc__add", {"a": "two"}, timeout_s=60, step=STEP)
        assert answer.result() == {"error": "invalid_parameters", "detail": "a: 'two' is not of type 'integer'"}
        assert len(calls(tmp_path)) == 2

        # The environment is what the settings name.
        answer = await tools.call("calc__secret_word", {}, timeout_s=60, step=STEP)
        assert answer.data == {"result": "xyzzy None"}

        # What the server calls an error is one.
        answer = await tools.call("calc__refuse", {"why": "no such account"}, timeout_s=60, step=STEP)
        assert (answer.ok, answer.error) == (False, "exception")
        assert "no such account" in str(answer.result())

        # A megabyte is cut and says so.
        answer = await tools.call("calc__long", {}, timeout_s=60, step=STEP)
        assert answer.truncated
        assert "of 1000000 characters left out]" in str(answer.data)
        assert str(answer.data).startswith(LONG[:1000])
        assert len(json.dumps(answer.data)) <= 2000

        # Text that gives orders is a text.
        answer = await tools.call("calc__order", {}, timeout_s=60, step=STEP)
        assert (answer.ok, answer.data) == (True, ORDER)

        # A call that takes too long is cancelled where it runs, and the next one is served.
        answer = await tools.call("calc__wait", {}, timeout_s=0.5, step=STEP)
        assert answer.result() == {"error": "timeout", "detail": "no answer within 0.5 s"}
        with anyio.fail_after(20):
            while "wait cancelled" not in calls(tmp_path):
                await anyio.sleep(0.02)
        assert (await tools.call("calc__add", {"a": 1}, timeout_s=60, step=STEP)).data == {"total": 41}


async def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    async with opened(calc=over_stdio(tmp_path)) as servers:
        tools = await tools_of(servers)
        # It says that it only reads, so the call is made once more, by a new process.
        answer = await tools.call("calc__die", {}, timeout_s=60, step=STEP)
        assert (answer.ok, answer.data) == (True, {"result": "alive"})
        assert calls(tmp_path) == ["die", "die"]


async def test_a_server_over_http_that_was_restarted_is_asked_again(tmp_path: Path) -> None:
    port = free_port()
    async with opened(calc=McpServerSettings(url=f"http://127.0.0.1:{port}/mcp")) as servers:
        async with http_server(tmp_path, port):
            tools = await tools_of(servers)
            answer = await tools.call("calc__add", {"a": 2, "b": 3}, timeout_s=60, step=STEP)
            assert (answer.ok, answer.data) == (True, {"total": 5})
            answer = await tools.call("calc__long", {}, timeout_s=60, step=STEP)
            assert (answer.ok, answer.truncated) == (True, True)
            answer = await tools.call("calc__wait", {}, timeout_s=0.3, step=STEP)
            assert answer.error == "timeout"
        answer = await tools.call("calc__add", {"a": 2, "b": 3}, timeout_s=60, step=STEP)
        assert (answer.ok, answer.error) == (False, "unavailable")
        async with http_server(tmp_path, port):
            answer = await tools.call("calc__add", {"a": 2, "b": 4}, timeout_s=60, step=STEP)
            assert (answer.ok, answer.data) == (True, {"total": 6})


async def test_a_server_that_is_not_there_is_left_out_and_an_answer(tmp_path: Path) -> None:
    absent = McpServerSettings(command=str(tmp_path / "absent"))
    down = McpServerSettings(url=f"http://127.0.0.1:{free_port()}/mcp")
    async with opened(absent=absent, down=down) as servers:
        run = RunTooling(servers.by_name, enabled=None, unasked=servers.by_name)
        listed = cast(dict[str, Any], await run.list(None))
        assert listed["tools"] == []
        assert {name: reason.split(":")[0] for name, reason in listed["missing"].items()} == {
            "absent": "MCP server 'absent' cannot be reached",
            "down": "MCP server 'down' cannot be reached",
        }
        spec = {"name": "down__add", "description": "", "parameters": {"type": "object"}, "idempotent": False}
        tools = run.tools({"tools": [spec]}, result_tokens=4096)
        answer = await tools.call("down__add", {}, timeout_s=5, step=STEP)
        assert (answer.ok, answer.error) == (False, "unavailable")
        assert "cannot be reached" in str(answer.data)


async def test_a_server_that_says_nothing_is_left_out_in_time_and_ended() -> None:
    silent = McpServerSettings(command=sys.executable, args=["-c", "import sys; sys.stdin.read()"])
    async with opened(0.3, silent=silent) as servers:
        listed = await RunTooling(servers.by_name, enabled=None, unasked=servers.by_name).list(None)
    assert listed["missing"] == {"silent": "MCP server 'silent': no list of tools within 0.3 s"}
    me = psutil.Process()
    assert not [child for child in me.children() if "sys.stdin.read()" in " ".join(child.cmdline())]
