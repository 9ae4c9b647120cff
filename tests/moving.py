"""A process of the store for tests of moves: its spaces as the database says, real exact indexes, the real relay.

Encoders hash words, so that nothing is fetched; they can be slow, fail, and do something while they encode.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
from sqlalchemy import select

from memory import profiles, store
from memory.backlog import StoredVector, intact
from memory.codecs.registry import restore
from memory.core import Core
from memory.encoders.base import Profile, Role, Vectors, unit_rows
from memory.encoders.hashing import Hashing
from memory.indices.base import Filter, Vector, VectorHit
from memory.indices.exact import ExactIndex
from memory.profiles import StoredProfile
from memory.reembed import Reembedding, follow, settled
from memory.spaces import Space, Spaces
from memory.tables import BlobRow, MemoryRow
from memory.types import Actor, Draft, MemCube
from memory.upkeep.outbox import Relay
from runtime.errors import ModelUnavailable
from runtime.ids import new_id


class Encoder:
    """Hashing into `dim` buckets. `blind` maps every text to nearly the same vector, as a bad model would."""

    def __init__(self, dim: int, *, delay_s: float = 0.0, blind: bool = False) -> None:
        self._inner = Hashing(dim)
        self.profile: Profile = self._inner.profile
        self.delay_s = delay_s
        self.blind = blind
        self.documents: list[str] = []
        self.calls_left: int | None = None
        self.meanwhile: Callable[[Sequence[str]], Awaitable[None]] | None = None
        self.closed = False

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        if role == "doc":
            if self.calls_left == 0:
                raise ModelUnavailable("the embedding server went away")
            self.calls_left = None if self.calls_left is None else self.calls_left - 1
            self.documents += texts
            await anyio.sleep(self.delay_s)
            if self.meanwhile is not None:
                await self.meanwhile(texts)
        vectors = self._inner.vectors(texts)
        return unit_rows(1 + vectors * np.float32(0.001)) if self.blind else vectors

    async def aclose(self) -> None:
        self.closed = True


class Process:
    """What one process has open. `encoders`: by size; a size that is not there cannot be opened."""

    def __init__(self, core: Core, encoders: Mapping[int, Encoder]) -> None:
        self.core = core
        self.encoders = dict(encoders)
        self.opened: list[Space] = []
        self.spaces: Spaces

    async def open_space(self, profile: StoredProfile) -> Space:
        dim = profile.space.dim
        if dim not in self.encoders:
            raise ModelUnavailable(f"no encoder of {dim} dimensions on this machine")

        async def full(ids: Sequence[str]) -> Mapping[str, Vector]:
            return await self.vectors(profile, ids)

        index = ExactIndex(dim, restore(profile.codec, dim, profile.codec_params), full)
        space = Space(profile.id, profile.slug, self.encoders[dim], index)
        self.opened.append(space)
        return space

    def moving(self, *, batch: int = 64, settle: Callable[[], Awaitable[None]] | None = None) -> Reembedding:
        async def all_done() -> None:
            await settled(self.core, poll_s=0.01, timeout_s=60)

        return Reembedding(self.core, self.spaces, self.open_space, settle or all_done, batch=batch)

    async def add(self, actor: Actor, vault_id: str, *contents: str, **fields: Any) -> list[MemCube]:
        """Store memories as the service does: embedded for every space this process knows."""
        made = await self.spaces.documents(contents)
        new = [
            store.NewMemory(new_id("mem"), vault_id, Draft(content, **fields), new_id("prv"), vectors)
            for content, vectors in zip(contents, made, strict=True)
        ]
        return [item.cube for item in await self.core.write(actor, lambda tx: store.insert_all(tx, new))]

    async def edit(self, actor: Actor, cube: MemCube, text: str) -> MemCube:
        (vectors,) = await self.spaces.documents([text])
        return await self.core.write(
            actor, lambda tx: store.change(tx, store.get(tx, cube.id), kind="edit", vectors=vectors, content=text)
        )

    async def ask(self, question: str, vault_id: str, limit: int = 10) -> list[VectorHit]:
        return await self.spaces.nearest(question, limit, Filter((vault_id,)))

    async def vectors(self, profile: StoredProfile, ids: Sequence[str] | None = None) -> dict[str, Vector]:
        """The intact stored vectors of a profile, by memory."""
        query = (
            select(MemoryRow.id, MemoryRow.seq, BlobRow.data, BlobRow.crc32)
            .join(BlobRow, BlobRow.memory_seq == MemoryRow.seq)
            .where(BlobRow.profile_id == profile.id)
        )
        if ids is not None:
            query = query.where(MemoryRow.id.in_(ids))
        rows = await self.core.db.read(lambda c: c.execute(query).all())
        decoded = {row.id: intact(StoredVector(row.seq, row.data, row.crc32), profile.space.dim) for row in rows}
        return {id_: vector for id_, vector in decoded.items() if vector is not None}


@asynccontextmanager
async def running(core: Core, *encoders: Encoder, codec: str = "int8") -> AsyncIterator[Process]:
    """A process over the store, its relay at work; the first encoder is the configured one."""
    process = Process(core, {encoder.profile.dim: encoder for encoder in encoders})
    now, made = core.clock.now(), new_id("emb")
    profile = await core.db.write(lambda c: profiles.ensure(c, made, encoders[0].profile, codec, now))
    process.spaces = Spaces(await process.open_space(profile))
    async with anyio.create_task_group() as background:
        relay = Relay(
            core,
            process.spaces,
            name="relay",
            alone=True,
            follow=lambda: follow(core, process.spaces, process.open_space),
        )
        background.start_soon(relay.run)
        yield process
        background.cancel_scope.cancel()
    await process.spaces.aclose()


def texts(count: int, seed: int = 0) -> list[str]:
    """Different short texts of made-up words, each found by its own."""
    rng = np.random.default_rng(seed)
    syllables = ["ka", "lo", "mi", "ter", "su", "ven", "dor", "pi", "ras", "ulm", "gex", "bo"]

    def word() -> str:
        return "".join(syllables[i] for i in rng.integers(0, len(syllables), 3))

    return [" ".join(word() for _ in range(9)) + f" number{n}" for n in range(count)]
