"""Where the index of a profile lives, and who may write to it.

    Qdrant server (`qdrant.url`)   every process has it open; relays claim
    SQLite                         the process that holds the lock of the home has the embedded index open; every other one
                                   searches a copy in its memory
    PostgreSQL without a server    every process searches such a copy; relays claim

A codec that neither keeps is searched in such a copy as well. An embedded index that cannot be opened is built again from
the stored vectors; nothing is lost with it. Source: design storage §1, §6 (3); ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from sqlalchemy import Connection, select

from memory.codecs import blob
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders import registry as encoders
from memory.encoders.base import Encoder, Role, Vectors
from memory.indices.base import IndexTaken, Vector, VectorIndex
from memory.indices.edge import EdgeIndex
from memory.indices.exact import ExactIndex
from memory.indices.followed import Followed
from memory.indices.shards import Ownership, Shards
from memory.profiles import StoredProfile
from memory.spaces import Space
from memory.tables import BlobRow, MemoryRow
from memory.upkeep.filling import fill
from runtime.errors import StorageError
from runtime.telemetry import get_logger

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

EMBEDDED: Final = ("f32", "f16", "int8")

log = get_logger(__name__)


class Lent:
    """An encoder that several spaces use: it stays open when one of them is closed."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.profile = encoder.profile

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `Encoder`."""
        return await self._encoder.encode(texts, role=role)

    async def aclose(self) -> None:
        """Give it back."""


class Placing:
    """Opens spaces for one process."""

    def __init__(self, core: Core, encoder: Encoder) -> None:
        """`encoder` is the configured one, already open; it is closed with the others."""
        self._core = core
        self._encoders = {encoder.profile: encoder}
        self._ownership = Ownership(self._folder) if self._is_embedded else None
        self._client: AsyncQdrantClient | None = None
        if self._ownership is not None:
            self._ownership.take()

    @property
    def owns(self) -> bool:
        """Whether this process has the embedded indexes; false also where there are none."""
        return self._ownership is not None and self._ownership.held

    @property
    def carries(self) -> bool:
        """Whether this process carries the outbox."""
        return self._ownership is None or self._ownership.held

    @property
    def alone(self) -> bool:
        """Whether no other process carries it."""
        return self._ownership is not None

    def step_in(self) -> bool:
        """Take the embedded indexes over when their owner has gone; True when that happened just now."""
        return self._ownership is not None and not self._ownership.held and self._ownership.take()

    def shards(self, profile: StoredProfile) -> Shards | None:
        """The folders of the profile's index, when it is an embedded one."""
        embedded = self._ownership is not None and profile.codec in EMBEDDED
        return Shards(self._folder / profile.slug) if embedded else None

    async def open_space(self, profile: StoredProfile) -> Space:
        """Encoder and index of a profile. Raises as `open_memory` does."""
        if profile.space not in self._encoders:
            self._encoders[profile.space] = await encoders.open_space(self._core.settings, profile.space)
        encoder = Lent(self._encoders[profile.space])
        shards = self.shards(profile)
        if shards is None or not self.owns:
            return Space(profile.id, profile.slug, encoder, await self._shared_index(profile))
        try:
            return Space(profile.id, profile.slug, encoder, await open_shard(shards.current(), profile))
        except IndexTaken:
            raise
        except StorageError as error:
            log.warning("index.rebuilt", profile=profile.slug, error=error.message)
            generation = shards.fresh()
            space = Space(profile.id, profile.slug, encoder, await open_shard(generation, profile))
            await fill(self._core, space)
            shards.accept(generation)
            return space

    async def remove(self, profile: StoredProfile) -> None:
        """Remove the index of a profile that nobody writes to any more; one that is gone already is no error."""
        shards = self.shards(profile)
        if shards is not None:
            await anyio.to_thread.run_sync(partial(shutil.rmtree, shards.folder, ignore_errors=True))
        elif self._core.settings.qdrant.url is not None:
            await self._server().delete_collection(f"mem__{profile.slug}")

    async def aclose(self) -> None:
        """Close the encoders, and let go of the lock and of the server."""
        for encoder in self._encoders.values():
            await encoder.aclose()
        if self._ownership is not None:
            self._ownership.release()
        if self._client is not None:
            await self._client.close()

    @property
    def _folder(self) -> Path:
        return self._core.settings.home / "vectors"

    @property
    def _is_embedded(self) -> bool:
        return self._core.settings.qdrant.url is None and self._core.db.dialect == "sqlite"

    async def _shared_index(self, profile: StoredProfile) -> VectorIndex:
        dim = profile.space.dim
        if self._core.settings.qdrant.url is not None:
            # The client takes seconds to import, which every command would pay for.
            from memory.indices.qdrant import QdrantIndex

            index = QdrantIndex(self._server(), f"mem__{profile.slug}", dim, profile.codec)
            await index.ensure()
            return index

        async def full(ids: Sequence[str]) -> Mapping[str, Vector]:
            return await self._core.db.read(lambda connection: _stored(connection, profile, ids))

        codec = codecs.restore(profile.codec, dim, profile.codec_params)
        exact = profile.codec in ("f32", "f16")
        return Followed(self._core, profile.id, dim, ExactIndex(dim, codec, None if exact else full))

    def _server(self) -> AsyncQdrantClient:
        from qdrant_client import AsyncQdrantClient

        if self._client is None:
            settings = self._core.settings.qdrant
            key = settings.api_key.get_secret_value() if settings.api_key else None
            self._client = AsyncQdrantClient(url=settings.url, api_key=key, timeout=10)
        return self._client


async def open_shard(folder: Path, profile: StoredProfile) -> EdgeIndex:
    """The embedded index in that folder."""
    return await EdgeIndex.open(folder, profile.space.dim, profile.codec)


def _stored(connection: Connection, profile: StoredProfile, ids: Sequence[str]) -> dict[str, Vector]:
    query = (
        select(MemoryRow.id, BlobRow.data, BlobRow.crc32)
        .join(BlobRow, BlobRow.memory_seq == MemoryRow.seq)
        .where(BlobRow.profile_id == profile.id, MemoryRow.id.in_(ids))
    )
    found: dict[str, Vector] = {}
    for row in connection.execute(query):
        try:
            found[row.id] = blob.decode(row.data, row.crc32, profile.space.dim)
        except StorageError as error:
            log.warning("index.damaged_vector", memory_id=row.id, error=error.message)
    return found
