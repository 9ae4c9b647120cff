"""MCP as a client sees it: over HTTP in both protocols and over stdio, with the SDK's own client."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psutil
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from tests.api.conftest import Served, serving

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
UNKNOWN = "mem_" + "0" * 32
MEGABYTE = "".join(f"Line {n} says nothing of note.\n" for n in range(33_000))[:1_000_000]
TOOLS = [
    "search_memories",
    "get_memory",
    "add_memory",
    "update_memory",
    "delete_memory",
    "list_vaults",
    "ask_agent",
    "get_run",
]
SCRIPT = """
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten"
delay_ms = 2000
[[rule]]
contains = "broken"
fault = "400"
[[rule]]
contains = "capital"
reply = "Oslo."
"""
Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("mcp"), SCRIPT, embed__model="hashing-384") as running:
        yield running


def over_http(
    served: Served, mode: str = "auto", key: str | None = None, *, says_goodbye: bool = True
) -> AbstractAsyncContextManager[Client]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
            url = f"{served.url}/mcp"
            transport = streamable_http_client(url, http_client=http, terminate_on_close=says_goodbye)
            async with Client(transport, mode=mode) as client:
                yield client

    return connect()


def over_stdio(served: Served, mode: str = "auto", home: Path | None = None) -> AbstractAsyncContextManager[Client]:
    """A process of its own, over the same database, model server and user."""
    return Client(StdioServerParameters(**command(served, home)), mode=mode)


def command(served: Served, home: Path | None = None) -> dict[str, Any]:
    assert served.model is not None
    settings = {
        "MNEME_HOME": str(home or served.settings.home),
        "MNEME_LLM__MODEL": "scripted",
        "MNEME_LLM__BASE_URL": served.model.url,
        "MNEME_EMBED__MODEL": "hashing-384",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }
    return {"command": sys.executable, "args": ["-m", "api.cli", "mcp"], "env": settings, "cwd": str(ROOT)}


@pytest.fixture(params=["http", "http-legacy", "stdio", "stdio-legacy"])
def connect(request: pytest.FixtureRequest, served: Served) -> Connect:
    """Every way in."""
    way, _, era = str(request.param).partition("-")
    mode = era or "auto"
    return lambda: over_http(served, mode) if way == "http" else over_stdio(served, mode)


async def good(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    """What the tool gives; its text says the same."""
    result = await client.call_tool(tool, given)
    assert not result.is_error, said(result)
    assert json.loads(said(result)) == result.structured_content
    body: dict[str, Any] = result.structured_content
    return body


async def bad(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, given)
    assert result.is_error, said(result)
    body: dict[str, Any] = result.structured_content
    assert json.loads(said(result)) == body
    return body


def said(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def key_of(served: Served, user: str, *scopes: str) -> str:
    body = {"name": "mcp", "user": user, "scopes": list(scopes or ("read", "run"))}
    made = served.http.post("/api/keys", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


# -- what a client is told -----------------------------------------------------------------------------------------------


async def test_the_tools_are_the_promised_ones_and_strict(served: Served) -> None:
    async with over_http(served) as client:
        tools = (await client.list_tools()).tools
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.resources is None
    assert [tool.name for tool in tools] == TOOLS
    for tool in tools:
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert not {"user", "owner", "identity", "actor"} & tool.input_schema["properties"].keys()
    reads = [tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint]
    assert reads == ["search_memories", "get_memory", "list_vaults", "get_run"]
    for tool in tools:
        if tool.name in reads:
            assert {"limit", "max_tokens"} <= tool.input_schema["properties"].keys()
    update = next(tool for tool in tools if tool.name == "update_memory")
    # A default would be taken for the value that the memory is to get.
    defaults = {name for name, field in update.input_schema["properties"].items() if "default" in field}
    assert defaults == {"mode", "reason"}


async def test_every_tool_works_over_every_way(connect: Connect, served: Served) -> None:
    async with connect() as client:
        made = await good(
            client,
            "add_memory",
            content="Ana lives in Porto",
            subject="Ana",
            tags=["home"],
            source="https://a.example/1",
        )
        try:
            assert (made["created"], made["version"], made["state"]) == (True, 1, "activated")
            again = await good(client, "add_memory", content="Ana lives in Porto", subject="Ana")
            assert (again["id"], again["created"]) == (made["id"], False)
            found = await good(client, "search_memories", query="where does Ana live")
            assert found["hits"][0]["memory"]["id"] == made["id"]
            assert found["hits"][0]["why"]
            edit = {"content": "Ana lives in Lisbon", "reason": "she moved"}
            changed = await good(client, "update_memory", id=made["id"], version=1, **edit)
            assert changed["version"] == 2
            read = await good(client, "get_memory", id=made["id"], limit=5)
            assert (read["memory"]["content"], read["memory"]["tags"]) == ("Ana lives in Lisbon", ["home"])
            assert [(before["version"], before["content"]) for before in read["versions"]] == [
                (2, "Ana lives in Lisbon"),
                (1, "Ana lives in Porto"),
            ]
            provenance = served.http.get(f"/api/memories/{made['id']}/provenance").json()
            assert [item["uri"] for item in provenance["sources"]] == ["https://a.example/1"]
            vaults = await good(client, "list_vaults")
            assert [(vault["name"], vault["yours"]) for vault in vaults["vaults"]] == [("default", True)]
            answer = await good(client, "ask_agent", agent="direct", input="What is the capital of Norway?", seed=1)
            assert (answer["text"], answer["status"]) == ("Oslo.", "succeeded")
            assert answer["usage"]["total_tokens"] > 0
            run = await good(client, "get_run", id=answer["id"])
            assert run == answer
            await a_cancelled_call_cancels_the_run(client, served)
        finally:
            gone = await good(client, "delete_memory", id=made["id"], version=2)
        assert (gone["state"], gone["version"]) == ("deleted", 3)
        assert (await bad(client, "get_memory", id=made["id"]))["code"] == "gone"


async def a_cancelled_call_cancels_the_run(client: Client, served: Served) -> None:
    before = {run["id"] for run in served.http.get("/api/runs").json()["items"]}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "ask_agent", {"agent": "direct", "input": "count slowly"})
        run = await started(served, before)
        tasks.cancel_scope.cancel()
    ended = await anyio.to_thread.run_sync(served.ended, run)
    assert ended["status"] == "cancelled"
    assert (await good(client, "get_run", id=run))["status"] == "cancelled"


# -- faults --------------------------------------------------------------------------------------------------------------


async def test_a_stale_edit_changes_nothing_and_shows_both_versions(served: Served) -> None:
    async with over_http(served) as client:
        made = await good(client, "add_memory", content="The meeting is on Monday")
        await good(client, "update_memory", id=made["id"], version=1, content="The meeting is on Tuesday")
        for tool, more in (("update_memory", {"content": "The meeting is on Friday"}), ("delete_memory", {})):
            told = await bad(client, tool, id=made["id"], version=1, **more)
            assert told["code"] == "stale"
            assert (told["seen"]["version"], told["seen"]["content"]) == (1, "The meeting is on Monday")
            assert (told["current"]["version"], told["current"]["content"]) == (2, "The meeting is on Tuesday")
        read = await good(client, "get_memory", id=made["id"])
        assert (read["memory"]["content"], read["memory"]["version"]) == ("The meeting is on Tuesday", 2)


@pytest.mark.parametrize(
    ("tool", "given", "code", "names"),
    [
        ("search_memories", {}, "invalid_input", "query"),
        ("search_memories", {"query": ""}, "invalid_input", "query"),
        ("search_memories", {"query": "x", "user": "ann"}, "invalid_input", "user: unknown argument"),
        ("search_memories", {"query": "x", "limit": "ten"}, "invalid_input", "limit"),
        ("search_memories", {"query": "x", "max_tokens": 1}, "invalid_input", "max_tokens"),
        ("search_memories", {"query": "x", "kinds": ["thought"]}, "invalid_input", "kinds"),
        ("search_memories", {"query": "x", "as_of": "yesterday"}, "invalid_input", "as_of"),
        ("search_memories", {"query": "x", "vaults": ["nope"]}, "not_found", "nope"),
        ("get_memory", {"id": UNKNOWN}, "not_found", UNKNOWN),
        ("get_memory", {"id": "1; DROP TABLE"}, "not_found", "DROP"),
        ("add_memory", {"content": "nul \0"}, "invalid_input", "NUL"),
        ("add_memory", {"content": "x y", "vault": "nope"}, "not_found", "nope"),
        ("add_memory", {"content": "it", "semantic_type": "fact"}, "conflict", "not stored"),
        ("update_memory", {"id": UNKNOWN, "version": 1}, "invalid_input", "empty"),
        ("update_memory", {"id": UNKNOWN, "version": 1, "content": None}, "invalid_input", "content"),
        ("update_memory", {"id": UNKNOWN, "content": "x"}, "invalid_input", "version"),
        ("update_memory", {"id": UNKNOWN, "version": 1, "content": "x"}, "not_found", UNKNOWN),
        ("delete_memory", {"id": UNKNOWN, "version": 0}, "invalid_input", "version"),
        ("ask_agent", {"agent": "nobody", "input": "x"}, "not_found", "nobody"),
        ("ask_agent", {"agent": "direct", "input": "x", "config": {"depth": 3}}, "invalid_input", "depth"),
        ("ask_agent", {"agent": "direct", "input": "x", "budget": {"tokens": 0}}, "invalid_input", "budget.tokens"),
        ("get_run", {"id": "run_" + "0" * 32}, "not_found", "run_"),
        ("get_run", {"id": "nul \0"}, "not_found", "no such run"),
    ],
)
async def test_a_fault_is_told_to_the_model(
    served: Served, tool: str, given: dict[str, Any], code: str, names: str
) -> None:
    async with over_http(served) as client:
        told = await bad(client, tool, **given)
        assert told["code"] == code
        assert names in told["message"]


async def test_what_json_has_not_is_refused(served: Served) -> None:
    head = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]
    for value in ("NaN", "Infinity", json.dumps(deep)):
        call = {"name": "add_memory", "arguments": {"content": "x y z", "data": {"n": "HERE"}}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).replace('"HERE"', value)
        response = served.http.post("/mcp", content=body.encode(), headers=head)
        assert '"isError":true' in response.text or response.status_code == 400, response.text
    assert not served.http.post("/api/memories/search", json={"query": "x y z", "mode": "lexical"}).json()["hits"]


async def test_an_unknown_tool_is_an_error_of_the_protocol(served: Served) -> None:
    async with over_http(served) as client:
        with pytest.raises(MCPError, match="expected one of search_memories"):
            await client.call_tool("drop_everything", {})


async def test_a_failed_run_says_why_and_which(served: Served) -> None:
    async with over_http(served) as client:
        told = await bad(client, "ask_agent", agent="direct", input="this is broken")
        assert told["code"] == "model_rejected"
        assert told["run"]["status"] == "failed"
        assert (await good(client, "get_run", id=told["run"]["id"]))["error"]["code"] == "model_rejected"


# -- what fits -----------------------------------------------------------------------------------------------------------


async def test_an_argument_of_a_megabyte_is_stored_and_read_in_parts(served: Served) -> None:
    async with over_http(served) as client:
        made = await good(client, "add_memory", content=MEGABYTE, semantic_type="document", origin="user_input")
        first = await good(client, "get_memory", id=made["id"], max_tokens=1000)
        assert len(json.dumps(first)) < 5000
        assert "characters left out" in first["memory"]["content"]
        assert first["left_out"]["characters"] > 990_000
        got, place = "", 0
        while True:
            part = await good(client, "get_memory", id=made["id"], max_tokens=200_000, offset=place)
            shown = part["memory"]["content"]
            cut, mark, rest = shown.partition("… [")
            got += cut
            if not mark:
                break
            place = int(rest.split("offset=")[1].split("]")[0])
            assert place == len(got)
        assert got == MEGABYTE
        too_long = await bad(client, "add_memory", content=MEGABYTE + "x")
        assert (too_long["code"], too_long["param"]) == ("invalid_input", "content")
        await good(client, "delete_memory", id=made["id"], version=1)


async def test_hits_that_do_not_fit_are_left_out_and_counted(served: Served) -> None:
    vault = served.http.post("/api/vaults", json={"name": "long texts"}).json()["id"]
    async with over_http(served) as client:
        for n in range(5):
            await good(client, "add_memory", content=f"Whale number {n}. " + f"It sings {n}. " * 100, vault=vault)
        whole = await good(client, "search_memories", query="whale sings", vaults=[vault], max_tokens=100_000)
        assert len(whole["hits"]) == 5
        assert "left_out" not in whole
        part = await good(client, "search_memories", query="whale sings", vaults=[vault], max_tokens=1000)
        assert 1 <= len(part["hits"]) < 5
        assert part["left_out"]["items"] == 5 - len(part["hits"])
        assert "max_tokens=1000" in part["left_out"]["note"]
        assert "get_memory with offset=" in part["hits"][-1]["memory"]["content"]
        assert len(json.dumps(part)) <= 4 * 1100
        few = await good(client, "search_memories", query="whale sings", vaults=[vault], limit=2, max_tokens=100_000)
        assert len(few["hits"]) == 2
        names = await good(client, "list_vaults", limit=1)
        assert (len(names["vaults"]), names["left_out"]["items"] >= 1) == (1, True)
        rest = await good(client, "list_vaults", after=names["vaults"][0]["id"])
        assert names["vaults"][0]["id"] not in [vault["id"] for vault in rest["vaults"]]


# -- who calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_another_user_learns_nothing(served: Served, mode: str) -> None:
    ann, ben = key_of(served, "ann"), key_of(served, "ben")
    async with over_http(served, mode, ann) as hers, over_http(served, mode, ben) as his:
        made = await good(hers, "add_memory", content="Ann keeps the blue folder behind the piano")
        vault = made["vault"]
        run = await good(hers, "ask_agent", agent="direct", input="capital?")
        calls: list[tuple[str, dict[str, Any], str]] = [
            ("get_memory", {"id": "{}"}, made["id"]),
            ("update_memory", {"id": "{}", "version": 1, "content": "x"}, made["id"]),
            ("update_memory", {"id": "{}", "version": 9, "content": "x"}, made["id"]),
            ("delete_memory", {"id": "{}", "version": 1}, made["id"]),
            ("search_memories", {"query": "piano", "vaults": ["{}"]}, vault),
            ("add_memory", {"content": "x y z", "vault": "{}"}, vault),
            ("get_run", {"id": "{}"}, run["id"]),
        ]
        for tool, given, real in calls:
            answers = []
            for ref in (real, real[:4] + "0" * 32):
                filled = json.loads(json.dumps(given).replace("{}", ref))
                answers.append(json.dumps(await bad(his, tool, **filled)).replace(ref, "ID"))
            assert answers[0] == answers[1], tool
        assert (await good(his, "search_memories", query="blue folder piano"))["hits"] == []
        assert [item["name"] for item in (await good(his, "list_vaults"))["vaults"]] == ["default"]
        assert (await good(hers, "get_memory", id=made["id"]))["memory"]["version"] == 1


async def test_a_key_that_may_only_read_changes_nothing(served: Served) -> None:
    writer, reader = key_of(served, "cat"), key_of(served, "cat", "read")
    async with over_http(served, key=writer) as client:
        made = await good(client, "add_memory", content="Cat likes fish")
    async with over_http(served, key=reader) as client:
        assert (await good(client, "get_memory", id=made["id"]))["memory"]["content"] == "Cat likes fish"
        for tool, given in (
            ("add_memory", {"content": "Cat likes milk"}),
            ("update_memory", {"id": made["id"], "version": 1, "content": "Cat likes milk"}),
            ("delete_memory", {"id": made["id"], "version": 1}),
            ("ask_agent", {"agent": "direct", "input": "x"}),
        ):
            assert (await bad(client, tool, **given))["code"] == "forbidden"


async def test_a_wrong_key_and_a_page_of_another_site_are_refused(served: Served) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    head = {"Accept": "application/json, text/event-stream"}

    def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return served.http.post("/mcp", json=call, headers={**head, **sent}).status_code

    assert status(Authorization="Bearer mk-000000000000-" + "x" * 43) == 401
    assert status(Host="rebound.example") == 403
    assert status(Origin="https://evil.example") == 403
    revoked = served.http.post("/api/keys", json={"name": "x", "user": "ann"}).json()
    assert served.http.delete(f"/api/keys/{revoked['id']}").status_code == 200
    assert status(Authorization=f"Bearer {revoked['key']}") == 401


async def test_a_session_serves_only_the_key_that_opened_it(served: Served) -> None:
    ann, ben = key_of(served, "ann"), key_of(served, "ben")
    head = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {ann}"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    opened = served.http.post("/mcp", json=opening, headers=head)
    session = opened.headers["mcp-session-id"]
    listing = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    with_id = {**head, "mcp-session-id": session}
    assert served.http.post("/mcp", json=listing, headers=with_id).status_code == 200
    theirs = {**with_id, "Authorization": f"Bearer {ben}"}
    unknown = {**theirs, "mcp-session-id": "0" * 32}
    answers = [served.http.post("/mcp", json=listing, headers=headers) for headers in (theirs, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert served.http.delete("/mcp", headers=theirs).status_code == 404
    assert served.http.delete("/mcp", headers=with_id).status_code == 200


async def test_a_grant_for_one_app_fits_no_other(served: Served) -> None:
    dan, eve = key_of(served, "dan"), key_of(served, "eve")
    async with over_http(served, key=dan) as client:
        made = await good(client, "add_memory", content="Dan's door code is on the fridge")
    grant = {"user": "eve", "verbs": ["read"], "context": "support-bot"}
    headers = {"Authorization": f"Bearer {dan}"}
    given = served.http.post(f"/api/vaults/{made['vault']}/grants", json=grant, headers=headers)
    assert given.status_code == 201, given.text
    for context, allowed in (("support-bot", True), ("sales-bot", False), (None, False)):
        sent = {"Authorization": f"Bearer {eve}"} | ({"X-Mneme-Context": context} if context else {})
        async with (
            httpx2.AsyncClient(headers=sent, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(f"{served.url}/mcp", http_client=http)) as client,
        ):
            result = await client.call_tool("get_memory", {"id": made["id"]})
            assert result.is_error is not allowed
            asked = {"agent": "direct", "input": "capital?", "vaults": [made["vault"]], "memory": "read"}
            result = await client.call_tool("ask_agent", asked)
            assert result.is_error is not allowed, said(result)


# -- cancelling, ending, coming back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
async def test_runs_are_not_cancelled_because_the_service_stops(tmp_path: Path, workers: int) -> None:
    """The next process picks them up. One of several processes keeps no sessions, and says the same."""
    runs: set[str] = set()
    with serving(tmp_path, SCRIPT, embed__model="hashing-384", server__workers=workers) as first:
        service = psutil.Process(first.pid)
        clients = [over_http(first, mode, says_goodbye=False) for mode in ("auto", "legacy")]
        async with clients[0] as one, clients[1] as two, anyio.create_task_group() as tasks:

            async def ask(client: Client) -> None:
                # How a client tells that the answer broke off is its own affair.
                with suppress(MCPError):
                    await client.call_tool("ask_agent", {"agent": "direct", "input": "count slowly"})

            for client in (one, two):
                tasks.start_soon(ask, client)
                runs.add(await started(first, runs))
            service.terminate()
            await anyio.to_thread.run_sync(service.wait)
            tasks.cancel_scope.cancel()
        with sqlite3.connect(first.settings.home / "mneme.db") as database:
            statuses = dict(database.execute("SELECT id, status FROM runs").fetchall())
    assert statuses == dict.fromkeys(runs, "interrupted")


async def test_progress_is_reported_to_who_asks(served: Served) -> None:
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with over_http(served) as client:
        given = {"agent": "direct", "input": "capital?"}
        result = await client.call_tool("ask_agent", given, progress_callback=hear)
    assert not result.is_error
    assert [progress for progress, _ in heard] == sorted({progress for progress, _ in heard})
    assert any("direct.answer" in (message or "") for _, message in heard)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_comes_back_finds_what_it_stored(served: Served, mode: str) -> None:
    async with over_http(served, mode) as client:
        made = await good(client, "add_memory", content="The spare key is under the third stone")
    async with over_http(served, mode) as client:
        found = await good(client, "get_memory", id=made["id"])
        assert found["memory"]["content"] == "The spare key is under the third stone"
        await good(client, "delete_memory", id=made["id"], version=1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (None, 0)])
async def test_stdio_says_nothing_but_the_protocol_and_ends_when_told(
    served: Served, tmp_path: Path, number: signal.Signals | None, code: int
) -> None:
    how = command(served, tmp_path)
    process = subprocess.Popen(  # noqa: ASYNC220 - only its end is waited for, and that in a thread
        [how["command"], *how["args"]],
        env={**os.environ, **how["env"]},
        cwd=how["cwd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    long = {"name": "add_memory", "arguments": {"content": MEGABYTE, "semantic_type": "document"}}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"id": 2, "method": "tools/call", "params": long},
        {"id": 3, "method": "ping"},
    ]
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(await anyio.to_thread.run_sync(process.stdout.readline))["id"] == message["id"]
    if number is not None:
        process.send_signal(number)
    # Without a signal, the end of its input is what tells it.
    out, _ = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=30))
    assert out == b""
    assert process.returncode == code


async def started(served: Served, before: set[str]) -> str:
    """The run that was not there before."""
    with anyio.fail_after(20):
        while True:
            for run in served.http.get("/api/runs").json()["items"]:
                if run["id"] not in before and run["status"] == "running":
                    return str(run["id"])
            await anyio.sleep(0.05)
