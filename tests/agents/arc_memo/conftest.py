"""One trial for all tests of a module, emptied for each; only modules that ask for it open it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.empirical_mcts import world
from tests.trial import open_trial


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def arena(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> AsyncIterator[None]:
    home = tmp_path_factory.mktemp("arena")
    shutil.copy(migrated_file, home)
    async with open_trial(home) as trial:
        world.shared.append(trial)
        yield
        world.shared.clear()
