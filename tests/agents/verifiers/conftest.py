"""One sandbox for the tests of a module: its worker takes longer to start than a program to run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agents.verifiers.programs import Programs
from runtime.sandbox.pool import open_sandbox
from runtime.settings import Settings


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def programs(anyio_backend: str) -> AsyncIterator[Programs]:
    async with open_sandbox(Settings()) as sandbox:
        yield Programs(sandbox)
