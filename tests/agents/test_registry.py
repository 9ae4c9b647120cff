"""Agents by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from structlog.testing import capture_logs

from agents import registry
from runtime.errors import MnemeError, UnknownName

OURS = ("arcmemo", "best-of-n", "direct", "self-consistency")


def test_every_agent_is_there_under_the_name_it_gives_itself() -> None:
    assert set(OURS) <= set(registry.names())
    for name in registry.names():
        spec = registry.get(name).spec
        assert spec.name == name
        assert spec.description
        assert spec.version >= 1
        assert spec.kinds
        assert spec.config.model_config.get("extra") == "forbid", "an unknown option must be an error"
        spec.config()  # every option has a default


def test_one_object_serves_every_run() -> None:
    assert registry.get("direct") is registry.get("direct")


def test_an_unknown_name_is_answered_with_those_there_are_and_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"agent 'drect': .*best-of-n.*did you mean 'direct'") as caught:
        registry.get("drect")
    assert caught.value.param == "agent"
    with pytest.raises(UnknownName) as caught:
        registry.get("zzz")
    assert "did you mean" not in caught.value.message


def test_an_agent_is_imported_when_it_is_asked_for() -> None:
    code = "import sys, agents.registry as r; r.names(); print('agents.direct.agent' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def with_packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = [
        EntryPoint("broken", "no_such_module:Agent", registry.GROUP),
        EntryPoint("theirs", "agents.direct.agent:Direct", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    registry.names.cache_clear()
    registry.get.cache_clear()
    yield
    registry.names.cache_clear()
    registry.get.cache_clear()


@pytest.mark.usefixtures("with_packages")
def test_a_package_adds_an_agent_by_an_entry_point() -> None:
    assert {"theirs", "broken"} < set(registry.names())
    assert registry.get("theirs").spec.name == "direct"
    with pytest.raises(MnemeError, match="agent 'broken' from entry point 'no_such_module:Agent'"):
        registry.get("broken")


@pytest.mark.usefixtures("with_packages")
def test_a_broken_package_is_named_in_the_log_and_the_other_agents_are_loaded() -> None:
    with capture_logs() as lines:
        registry.load()
    assert [(line["event"], line["agent"]) for line in lines] == [("agent.broken", "broken")]
    assert "no_such_module" in lines[0]["error"]
    assert registry.get.cache_info().currsize == len(registry.names()) - 1
