"""Moves the store to another encoder or codec while it is searched and written.

1. The new profile is `building`; from here on every write embeds for it too.
2. The memories that were there are embedded for it in the order of `seq`, with the place kept, so that a crash costs one
   batch. Whatever was missed (an edit while its text was being embedded) is looked for until nothing is.
3. The new index has caught up, and both are asked the same probes: the first words of a memory must find it.
4. The pointer moves in one transaction. The old profile drains for seven days, still written to, so going back is the
   same move the other way.

Nothing is taken away before 4 has happened, so a search is never without an index. Source: memos §5, §7.14;
embedding_storage §3, §5.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from memory import profiles
from memory.codecs import blob
from memory.codecs import registry as codecs
from memory.core import Core
from memory.indices.base import Filter
from memory.profiles import StoredProfile
from memory.spaces import Space, Spaces
from memory.tables import BlobRow, MemoryRow, OutboxRow
from memory.types import INDEXED, SEARCHABLE
from runtime.errors import Conflict, StorageError
from runtime.ids import new_id

BATCH = 64
PROBES = 200
PROBE_WORDS = 12
TOP = 10
# A new profile whose recall on the probes is lower by more than this is not switched to without being told to.
ACCEPTED_LOSS = 0.02
ROUNDS = 20
Vector = NDArray[np.float32]
# Quarantined memories are embedded too: what is approved must be found at once.
EMBEDDED = INDEXED | {"quarantined"}


@dataclass(frozen=True, slots=True)
class Probed:
    """Share of the probes that were answered within the first ten, by the old and by the new profile."""

    probes: int
    old_recall: float
    new_recall: float


class Reembedding:
    """One move to one profile. Safe to run again after a crash, and in two processes at a time (one of them in vain)."""

    def __init__(
        self,
        core: Core,
        spaces: Spaces,
        open_space: Callable[[StoredProfile], Awaitable[Space]],
        settle: Callable[[], Awaitable[None]],
        *,
        batch: int = BATCH,
    ) -> None:
        """`open_space` opens encoder and index of a profile; `settle` returns when the outbox that was there is done."""
        self._core = core
        self._spaces = spaces
        self._open_space = open_space
        self._settle = settle
        self._batch = batch

    async def begin(self, encoder_space: Any, codec: str) -> StoredProfile:
        """Make the profile, fit its codec if it has to be fitted, open it and write to it from here on."""
        profile_id, now = new_id("emb"), self._core.clock.now()
        made = await self._core.db.write(lambda c: profiles.begin(c, profile_id, encoder_space, codec, now))
        if codecs.needs_sample(codec) and not made.codec_params:
            made = await self._fit(made)
        await self._write_to(made)
        return made

    async def run(self, profile: StoredProfile, *, force: bool = False, seed: int = 0) -> Probed:
        """Embed what is missing, compare, switch. Raises `Conflict` when recall falls by more than 2 points and it is not
        forced, `ModelError` when the encoder fails; the profile then stays `building` and `run` goes on later."""
        await self._write_to(profile)
        await self.fill(profile)
        await self._settle()
        probed = await self.probe(profile, random.Random(seed))
        await self._core.db.write(lambda c: profiles.measured(c, profile.id, asdict(probed)))
        if probed.new_recall < probed.old_recall - ACCEPTED_LOSS and not force:
            raise Conflict(
                f"embedding profile {profile.slug!r}: finds {probed.new_recall:.1%} of {probed.probes} probes, the old "
                f"one {probed.old_recall:.1%}; not switched. Force the switch, or abandon the profile"
            )
        await self.switch_to(profile)
        return probed

    async def fill(self, profile: StoredProfile) -> None:
        """Embed every memory that has no vector in the profile."""
        cursor = profile.cursor
        for _ in range(ROUNDS):
            while batch := await self._core.db.read(
                lambda c, after=cursor: _missing(c, profile.id, after, self._batch)
            ):  # type: ignore[misc]
                vectors = await self._vectors(profile, batch)
                cursor = batch[-1].seq
                await self._core.db.write(
                    lambda c, b=batch, v=vectors, at=cursor: _store(c, profile.id, b, v, at)  # type: ignore[misc]
                )
                self._core.committed()
            if not await self._core.db.read(lambda c: _missing(c, profile.id, 0, 1)):
                return
            cursor = 0
        raise StorageError(
            f"embedding profile {profile.slug!r}: memories change faster than they are embedded; run it again later"
        )

    async def probe(self, profile: StoredProfile, rng: random.Random) -> Probed:
        """Ask both indexes for memories by their first words."""
        old, new = self._spaces.active, self._open(profile.id)
        rows = await self._core.db.read(lambda c: _sample(c, PROBES, rng))
        texts = [" ".join(row.content.split()[:PROBE_WORDS]) for row in rows]
        found = []
        for space in (old, new):
            vectors = await space.encoder.encode(texts, role="query")
            hits = 0
            for row, vector in zip(rows, vectors, strict=True):
                answers = await space.index.search(vector, TOP, Filter(vault_ids=(row.vault_id,), states=SEARCHABLE))
                hits += any(answer.memory_id == row.id for answer in answers)
            found.append(hits / max(1, len(rows)))
        return Probed(len(rows), *found)

    async def switch_to(self, profile: StoredProfile) -> None:
        """Search in the profile from here on. Raises `Conflict` when memories lack a vector in it."""
        now = self._core.clock.now()

        def work(connection: Connection) -> None:
            if _missing(connection, profile.id, 0, 1):
                raise Conflict(
                    f"embedding profile {profile.slug!r}: some memories are not embedded for it; run it again"
                )
            profiles.switch(connection, profile.id, now)

        await self._core.db.write(work)
        await follow(self._core, self._spaces, self._open_space)

    def _open(self, profile_id: str) -> Space:
        return next(space for space in self._spaces.written if space.id == profile_id)

    async def _write_to(self, profile: StoredProfile) -> None:
        if all(space.id != profile.id for space in self._spaces.written):
            await follow(self._core, self._spaces, self._open_space)

    async def _fit(self, profile: StoredProfile) -> StoredProfile:
        """Fit the codec on vectors of the active profile when they are of the same space."""
        vectors = await self._core.db.read(lambda c: _sample_of_vectors(c, profile.space.slug))
        params = codecs.make(profile.codec, profile.space.dim, vectors).params()
        await self._core.db.write(lambda c: profiles.fitted(c, profile.id, params))
        return replace(profile, codec_params=params)

    async def _vectors(self, profile: StoredProfile, batch: Sequence[Row[Any]]) -> dict[int, Vector]:
        """By `seq`; those of a profile of the same space are taken from there instead of made again."""
        have = await self._core.db.read(lambda c: _kept(c, profile, [row.seq for row in batch]))
        texts = {row.seq: row.content for row in batch if row.seq not in have}
        if texts:
            made = await self._open(profile.id).encoder.encode(list(texts.values()), role="doc")
            have |= dict(zip(texts, made, strict=True))
        return have


async def follow(core: Core, spaces: Spaces, open_space: Callable[[StoredProfile], Awaitable[Space]]) -> bool:
    """Make `spaces` what the database says, opening what is new; True when something changed.

    Every process calls it from time to time, because another one may have moved the pointer. What is no longer written
    to is closed.
    """
    stored = await core.db.read(profiles.written)
    before = {space.id: space for space in spaces.written}
    if [p.id for p in stored] == list(before):
        return False
    opened = [before.get(p.id) or await open_space(p) for p in stored]
    spaces.switch(opened[0], opened[1:])
    for gone in before.keys() - {p.id for p in stored}:
        await before[gone].index.aclose()
        await before[gone].encoder.aclose()
    return True


async def settled(core: Core, *, poll_s: float = 0.05, timeout_s: float = 600.0) -> None:
    """Return when all that is in the outbox has been done. Raises `StorageError` after `timeout_s`."""
    last = await core.db.read(lambda c: c.execute(select(func.max(OutboxRow.seq))).scalar()) or 0
    waiting = select(exists().where(OutboxRow.seq <= last))
    with anyio.move_on_after(timeout_s):
        while await core.db.read(lambda c: c.execute(waiting).scalar()):
            await anyio.sleep(poll_s)
        return
    raise StorageError(f"the index has not caught up within {timeout_s:g} s; see `mneme doctor`, then run it again")


def _lacks(profile_id: str) -> ColumnElement[bool]:
    there = exists().where(BlobRow.memory_seq == MemoryRow.seq, BlobRow.profile_id == profile_id)
    return and_(MemoryRow.state.in_(EMBEDDED), MemoryRow.content != "", ~there)


def _missing(connection: Connection, profile_id: str, after: int, limit: int) -> list[Row[Any]]:
    query = (
        select(MemoryRow.seq, MemoryRow.id, MemoryRow.version, MemoryRow.content)
        .where(MemoryRow.seq > after, _lacks(profile_id))
        .order_by(MemoryRow.seq)
        .limit(limit)
    )
    return list(connection.execute(query))


def _store(
    connection: Connection, profile_id: str, batch: Sequence[Row[Any]], vectors: Mapping[int, Vector], cursor: int
) -> None:
    """Keep the vectors of the memories that are still what was embedded, and tell the relay."""
    query = select(MemoryRow.seq, MemoryRow.version).where(MemoryRow.seq.in_([row.seq for row in batch]))
    # On PostgreSQL the rows are held, so that no edit comes between this look and the write.
    versions = {row.seq: row.version for row in connection.execute(query.with_for_update(read=True))}
    same = [row for row in batch if versions.get(row.seq) == row.version]
    if same:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = []
        for row in same:
            data, crc32 = blob.encode(vectors[row.seq])
            kept = {"memory_seq": row.seq, "profile_id": profile_id, "version": row.version}
            values.append({**kept, "data": data, "crc32": crc32})
        connection.execute(make(BlobRow).on_conflict_do_nothing(), values)
        entries = [{"memory_id": row.id, "op": "sync", "version": row.version, "attempts": 0} for row in same]
        connection.execute(insert(OutboxRow), entries)
    profiles.advance(connection, profile_id, cursor)


def _kept(connection: Connection, profile: StoredProfile, seqs: Sequence[int]) -> dict[int, Vector]:
    same = [p.id for p in profiles.written(connection) if p.space == profile.space and p.id != profile.id]
    query = select(BlobRow.memory_seq, BlobRow.data, BlobRow.crc32).where(
        BlobRow.memory_seq.in_(seqs), BlobRow.profile_id.in_(same)
    )
    return {row.memory_seq: blob.decode(row.data, row.crc32, profile.space.dim) for row in connection.execute(query)}


def _sample(connection: Connection, count: int, rng: random.Random) -> list[Row[Any]]:
    """Some memories that a search may find, anywhere in the order of `seq`."""
    searchable = MemoryRow.state.in_(SEARCHABLE), MemoryRow.content != ""
    seqs = list(connection.execute(select(MemoryRow.seq).where(*searchable)).scalars())
    chosen = sorted(rng.sample(seqs, min(count, len(seqs))))
    query = select(MemoryRow.id, MemoryRow.vault_id, MemoryRow.content).where(MemoryRow.seq.in_(chosen))
    return list(connection.execute(query.order_by(MemoryRow.seq)))
