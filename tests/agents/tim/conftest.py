"""One trial for all tests of a module: to open one takes longer than most trees do."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.tim.world import World
from tests.trial import Trial, open_trial


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def trial(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> AsyncIterator[Trial]:
    home = tmp_path_factory.mktemp("trial")
    shutil.copy(migrated_file, home)
    async with open_trial(home) as opened:
        yield opened


@pytest.fixture
def world(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> World:
    """A model and a tool that follow a tree."""
    return World(trial, monkeypatch)
