"""The section `tools` of the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import SettingsError
from runtime.settings import load

GOOD = """
[tools]
enabled = ["python", "files__read", "web"]
[tools.mcp.files]
command = "mcp-server-files"
args = ["/srv"]
env = { "A.B" = "hidden" }
[tools.mcp.web]
url = "https://tools.example/mcp"
headers = { Authorization = "Bearer hidden" }
defaults = { find = { project = "x", limit = 3 } }
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mneme.toml"
    path.write_text(text)
    return path


def test_servers_are_tables_and_their_secrets_are_in_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    settings, origins = load(env={}, toml=path)
    files, web = settings.tools.mcp["files"], settings.tools.mcp["web"]
    assert (files.command, files.args, files.env["A.B"].get_secret_value()) == ("mcp-server-files", ["/srv"], "hidden")
    assert web.headers["Authorization"].get_secret_value() == "Bearer hidden"
    assert web.defaults == {"find": {"project": "x", "limit": 3}}
    assert settings.tools.enabled == ["python", "files__read", "web"]
    assert origins == {"tools.enabled": str(path), "tools.mcp": str(path)}
    assert "hidden" not in repr(settings)


def test_the_environment_takes_the_place_of_the_whole_table(tmp_path: Path) -> None:
    given = json.dumps({"mail": {"command": "mcp-server-mail"}})
    env = {"MNEME_TOOLS__MCP": given, "MNEME_TOOLS__ENABLED": '["mail"]'}
    settings, origins = load(env=env, toml=written(tmp_path, GOOD))
    assert list(settings.tools.mcp) == ["mail"]
    assert origins["tools.mcp"] == "environment"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tools.mcp.files]", "expected either `command` or `url`"),
        ('[tools.mcp.files]\ncommand = "a"\nurl = "http://hidden"', "expected either `command` or `url`"),
        ('[tools.mcp.files]\nurl = "ftp://hidden"', "'tools.mcp.files.url'"),
        ('[tools.mcp.files]\ncommand = "a"\nheaders = { A = "hidden" }', "`headers` go with `url`"),
        ('[tools.mcp.files]\nurl = "http://a"\nenv = { A = "hidden" }', "go with `command`"),
        ('[tools.mcp.files]\ncomand = "hidden"', "setting 'tools.mcp.files.comand'"),
        ('[tools.mcp.a__b]\ncommand = "a"', "server name 'a__b'"),
        ('[tools.mcp.python]\ncommand = "a"', "server name 'python'"),
        ('[tools]\nenabled = ["pyhton"]', "tool 'pyhton' is unknown; expected one of python, memory_search, or SERVER"),
        ('[tools]\nenabled = ["files__read"]', "tool 'files__read' is unknown"),
        ('[tools]\nenabled = ["files__"]\n[tools.mcp.files]\ncommand = "hidden"', "tool 'files__' is unknown"),
    ],
)
def test_a_wrong_setting_names_itself_and_its_origin_and_no_secret(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        load(env={}, toml=path)
    assert words in refused.value.message
    assert str(path) in refused.value.message
    assert "hidden" not in refused.value.message
