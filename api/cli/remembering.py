"""The store for a command: opened over the migrated database, as the user of this machine. Source: ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import anyio.to_thread
import typer

from runtime.settings import load

if TYPE_CHECKING:
    from memory.service import Memory
    from memory.types import Actor

T = TypeVar("T")
InVault = Annotated[str | None, typer.Option("--vault", help="Id, or your own name for it; default: `default`.")]


def with_memory(work: Callable[[Memory, Actor], Awaitable[T]]) -> T:
    """Run `work` on the store, and close it behind."""
    from runtime import telemetry

    settings = load().settings
    telemetry.configure(settings)

    async def run() -> T:
        async with opened() as (memory, actor):
            return await work(memory, actor)

    return anyio.run(run)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Memory, Actor]]:
    """The store and the user of this machine."""
    from memory.opening import open_memory
    from memory.types import Actor
    from runtime.db import open_database
    from runtime.ids import SYSTEM
    from runtime.keys import KeyStore
    from runtime.migrate import upgrade

    settings = load().settings
    await anyio.to_thread.run_sync(upgrade, settings)
    database = open_database(settings)
    try:
        local = await KeyStore(database, SYSTEM).local()
        async with open_memory(settings, database, SYSTEM) as memory:
            yield memory, Actor(local.user_id, None, admin=True)
    finally:
        await database.aclose()
