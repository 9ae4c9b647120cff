"""Every test of a pipeline has a lab."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memory.core import Core
from tests.memory.laboratory import Lab, laboratory


@pytest.fixture
async def lab(core: Core, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(core, tmp_path) as made:
        yield made
