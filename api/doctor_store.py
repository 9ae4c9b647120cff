"""What `mneme doctor` says of the store: the encoder, the index of vectors, and what waits to get into it. Source: ours."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
from sqlalchemy import func, select

from agents.service import Check
from memory.encoders.packaged import weights_folder
from memory.encoders.registry import needed_weights, open_encoder
from memory.indices.shards import Ownership
from memory.tables import MemoryRow, OutboxRow
from runtime import migrate
from runtime.db import open_database
from runtime.settings import Settings

# Beyond this a search through every vector takes longer than it has to.
WORTH_A_GRAPH = 50_000


async def encoder(settings: Settings) -> Check:
    """Whether texts can become vectors."""
    name = needed_weights(settings)
    if name is not None:
        folder = await anyio.to_thread.run_sync(partial(weights_folder, settings.home, name))
        return Check("encoder", True, f"{name!r} at {folder}")
    opened = await open_encoder(settings)
    try:
        return Check("encoder", True, f"{opened.profile.model!r}, {opened.profile.dim} dimensions")
    finally:
        await opened.aclose()


async def index(settings: Settings) -> Check:
    """Where the vectors are searched."""
    if settings.qdrant.url is not None:
        return await _server(settings)
    if not settings.database_url.startswith("sqlite"):
        return Check(
            "index", True, "a copy in the memory of each process; for much more than 100,000 memories set QDRANT_URL"
        )
    folder = settings.home / "vectors"
    ownership = Ownership(folder)
    if not folder.exists():
        return Check("index", True, f"embedded at {folder}; it is made when the store is first opened")
    free = ownership.take()
    ownership.release()
    return Check("index", True, f"embedded at {folder}" + ("" if free else ", open in a process that is running"))


async def backlog(settings: Settings) -> Check:
    """How many memories there are, and how many wait for the index."""
    if await anyio.to_thread.run_sync(migrate.current, settings) != migrate.head():
        return Check("memories", True, "the database is not made yet")
    database = open_database(settings)
    try:
        memories = await database.read(lambda c: c.execute(select(func.count()).select_from(MemoryRow)).scalar_one())
        waiting = await database.read(lambda c: c.execute(select(func.count()).select_from(OutboxRow)).scalar_one())
        failing = await database.read(
            lambda c: c.execute(select(OutboxRow.error).where(OutboxRow.error.is_not(None)).limit(1)).scalar()
        )
    finally:
        await database.aclose()
    detail = f"{memories} memories, {waiting} waiting for the index"
    if failing is not None:
        return Check("memories", False, f"{detail}: {failing}", "mend what the text names; they are tried again")
    if memories > WORTH_A_GRAPH and settings.qdrant.url is None:
        detail += "; `mneme memory reindex` makes their search quicker"
    return Check("memories", True, detail)


async def _server(settings: Settings) -> Check:
    # Takes seconds to import, and most have no server.
    from qdrant_client import AsyncQdrantClient
    from qdrant_client.http.exceptions import ApiException

    key = settings.qdrant.api_key.get_secret_value() if settings.qdrant.api_key else None
    client = AsyncQdrantClient(url=settings.qdrant.url, api_key=key, timeout=5)
    try:
        found = await client.get_collections()
    except (ApiException, OSError) as error:
        return Check("index", False, f"{settings.qdrant.url}: {error}", "start Qdrant, or correct QDRANT_URL")
    finally:
        await client.close()
    return Check("index", True, f"{settings.qdrant.url}: {len(found.collections)} collections")
