"""What is known of our own model server outside the process that watches it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from api.model_server import check, is_own, own_url, probe, seen, with_base_url, with_model_server
from runtime.settings import EngineSettings, LLMSettings, Settings

pytestmark = pytest.mark.anyio
DEAD = 2**22 + 1


def write(settings: Settings, watcher: int, phase: str) -> None:
    folder = settings.home / "engines" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    state = {"phase": phase, "detail": "because", "log": "the.log", "restarts": 2, "watcher": watcher}
    (folder / f"{settings.engine.port}.{watcher}.state").write_text(json.dumps(state))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, engine=EngineSettings(port=8799))


def test_without_a_watcher_nothing_is_known_and_the_check_says_so(settings: Settings) -> None:
    assert seen(settings) is None
    assert not check(settings).ok
    assert "mneme serve" in check(settings).fix


@pytest.mark.parametrize(
    ("phase", "ok", "fix"), [("ready", True, ""), ("starting", False, "wait"), ("failed", False, "log")]
)
def test_the_check_says_the_phase_and_what_to_do(settings: Settings, phase: str, ok: bool, fix: str) -> None:
    write(settings, os.getpid(), phase)
    found = check(settings)
    assert found.ok is ok
    assert fix in found.fix
    assert phase in found.detail


def test_the_word_of_a_dead_watcher_does_not_count(settings: Settings) -> None:
    write(settings, DEAD, "ready")
    assert seen(settings) is None


def test_of_several_watchers_the_one_that_sees_it_ready_counts(settings: Settings) -> None:
    write(settings, os.getpid(), "starting")
    write(settings, os.getppid(), "ready")
    state = seen(settings)
    assert state is not None
    assert state.phase == "ready"


@pytest.mark.parametrize(
    ("llm", "own"),
    [({}, True), ({"base_url": "http://elsewhere/v1"}, False), ({"model": "scripted/echo"}, False)],
)
def test_a_server_is_ours_when_none_is_configured(tmp_path: Path, llm: dict[str, Any], own: bool) -> None:
    settings = Settings(home=tmp_path, llm=LLMSettings(**llm))
    assert is_own(settings) is own
    assert (probe(settings) is not None) is own


def test_our_own_server_is_named_and_gets_no_key_of_another(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, llm=LLMSettings.model_validate({"api_key": "sk-of-another-server"}))
    ready = with_base_url(settings)
    assert ready.llm.base_url == own_url(settings) == "http://127.0.0.1:8643/v1"
    assert ready.llm.api_key is None
    assert is_own(ready)


async def test_a_configured_server_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, llm=LLMSettings(base_url="http://127.0.0.1:9/v1"))
    async with with_model_server(settings) as ready:
        assert ready == settings
        assert seen(settings) is None
