"""Settings: flags over environment over file over defaults, each value with its origin, and nothing unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.errors import SettingsError
from runtime.settings import Settings, known_keys, load


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder without a `mneme.toml`."""
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = toml(tmp_path, "[server]\nport = 1\nhost = '127.0.0.2'\nworkers = 3\n")
    env = {"MNEME_SERVER__PORT": "2", "MNEME_SERVER__HOST": "127.0.0.3"}
    settings, origins = load({"server.port": 3, "server.workers": None}, env=env, toml=file)
    assert (settings.server.port, settings.server.host, settings.server.workers) == (3, "127.0.0.3", 3)
    assert settings.server.root_path == ""
    assert origins == {"server.port": "flag", "server.host": "environment", "server.workers": str(file)}


def test_the_variables_of_others_stand_below_our_own() -> None:
    env = {"DATABASE_URL": "postgresql://db/x", "OPENAI_BASE_URL": "http://a/v1", "OPENAI_API_KEY": "sk"}
    settings = load(env=env).settings
    assert settings.database_url == "postgresql+psycopg://db/x"
    assert settings.llm.base_url == "http://a/v1"
    assert settings.llm.api_key is not None
    assert settings.llm.api_key.get_secret_value() == "sk"
    ours = load(env={**env, "MNEME_LLM__BASE_URL": "http://b/v1"}).settings
    assert ours.llm.base_url == "http://b/v1"


def test_the_file_is_found_in_the_folder_or_named_by_the_environment(tmp_path: Path) -> None:
    named = toml(tmp_path, "[runs]\nconcurrency = 2\n")
    (tmp_path / "mneme.toml").write_text("[runs]\nconcurrency = 1\n")
    assert load(env={}).settings.runs.concurrency == 1
    assert load(env={"MNEME_CONFIG": str(named)}).settings.runs.concurrency == 2


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MNEME_SERVER__PROT": "1"}, ["MNEME_SERVER__PROT", "unknown", "did you mean 'MNEME_SERVER__PORT'"]),
        ({"MNEME_A_THING_OF_THE_PAST": "1"}, ["MNEME_A_THING_OF_THE_PAST", "unknown", "mneme doctor"]),
        ({"MNEME_SERVER__PORT": "many"}, ["server.port", "environment", "integer", "'many'"]),
        ({"MNEME_SERVER__PORT": "70000"}, ["server.port", "65535"]),
        ({"MNEME_SERVER": "{not json"}, ["environment", "JSON"]),
        ({"MNEME_CONFIG": "/nowhere/x.toml"}, ["/nowhere/x.toml", "not found"]),
        ({"DATABASE_URL": "mysql://root:pw@db/x"}, ["database.url", "postgresql://", "sqlite:///", "root:***@"]),
        ({"DATABASE_URL": "sqlite://"}, ["database.url", "sqlite:///path/of/a/file"]),
        ({"DATABASE_URL": "sqlite:///:memory:"}, ["database.url", "file"]),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it(env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(env=env)
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1", ["server.prot", "some.toml", "unknown", "did you mean 'server.port'"]),
        ("[sever]\nport = 1", ["sever", "unknown"]),
        ("[server]\nport = 'x'", ["server.port", "some.toml", "integer"]),
        ("[server", ["some.toml", "TOML"]),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(env={}, toml=toml(tmp_path, text))
    for word in words:
        assert word in caught.value.message


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"server\.prot.*flag.*unknown"):
        load({"server.prot": 1}, env={})


def test_secrets_are_in_no_error_and_no_text() -> None:
    env = {"MNEME_LLM__API_KEY": "sk-hidden", "DATABASE_URL": "postgresql://u:pw-hidden@db/x"}
    settings = load(env=env).settings
    assert "sk-hidden" not in repr(settings)
    for wrong in ({"llm.api_key": ["sk-hidden"]}, {"database.url": "oracle://u:pw-hidden@db/x"}):
        with pytest.raises(SettingsError) as caught:
            load(wrong, env={})
        assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "in_force"),
    [
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:////data/m.db", "sqlite+aiosqlite:////data/m.db"),
    ],
)
def test_the_database_url_has_an_async_driver(url: str, in_force: str) -> None:
    assert load({"database.url": url}, env={}).settings.database_url == in_force


def test_without_any_source_everything_is_below_home_and_on_loopback(tmp_path: Path) -> None:
    settings = load({"home": str(tmp_path)}, env={}).settings
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/mneme.db"
    assert settings.llm_base_url == "http://127.0.0.1:8643/v1"
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8642)
    assert settings.loopback
    assert not settings.auth_required


def test_home_is_absolute(tmp_path: Path) -> None:
    assert load({"home": "here"}, env={}).settings.home == tmp_path / "here"
    assert load({"home": "~/x"}, env={}).settings.home == Path.home() / "x"


@pytest.mark.parametrize(
    ("host", "required", "expected"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("10.0.0.1", None, True),
        ("10.0.0.1", False, False),
        ("127.0.0.1", True, True),
    ],
)
def test_keys_are_required_off_loopback_unless_set(host: str, required: bool | None, expected: bool) -> None:
    settings = load({"server.host": host, "auth.required": required}, env={}).settings
    assert settings.auth_required is expected


def test_settings_do_not_change_and_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNEME_SERVER__PORT", "1")
    settings = Settings()
    assert settings.server.port == 8642
    with pytest.raises(ValidationError):
        settings.server.port = 3  # type: ignore[misc]


def test_every_known_key_can_be_set_by_its_variable() -> None:
    values: dict[str, Any] = {"MNEME_" + key.upper().replace(".", "__"): "?" for key in known_keys()}
    with pytest.raises(SettingsError) as caught:
        load(env={**values, "MNEME_ENGINE__EXTRA_ARGS": json.dumps(["--x"])})
    assert "unknown" not in caught.value.message
