"""What doctor says of the MCP servers in the settings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from api.doctor import examine
from runtime.settings import load
from tests.agents.tooling import tool_server
from tests.conftest import free_port

pytestmark = pytest.mark.anyio


async def test_every_configured_mcp_server_has_a_line_and_its_secrets_are_masked(tmp_path: Path) -> None:
    servers = {
        "calc": {"command": sys.executable, "args": [tool_server.__file__], "env": {"FOLDER": str(tmp_path)}},
        "down": {"url": f"http://127.0.0.1:{free_port()}/mcp", "headers": {"Authorization": "Bearer hidden"}},
    }
    flags = {"home": str(tmp_path), "llm.model": "scripted/echo", "embed.model": "hashing-384", "tools.mcp": servers}
    found = await examine(load(flags, env={}))
    checks = {check.name: check for check in found.checks if check.name.startswith("tools ")}
    assert list(checks) == ["tools calc", "tools down"]
    assert checks["tools calc"].ok
    assert checks["tools calc"].detail.startswith("calc__add, calc__secret_word, ")
    assert not checks["tools down"].ok
    assert "MCP server 'down' cannot be reached" in checks["tools down"].detail
    assert checks["tools down"].fix == "correct or start `tools.mcp.down`"
    (row,) = [row for row in found.settings if row.key == "tools.mcp"]
    assert row.origin == "flag"
    assert row.value["down"]["headers"] == {"Authorization": "••••"}
    assert row.value["calc"]["env"] == {"FOLDER": "••••"}
    assert "hidden" not in str(found.to_json())
