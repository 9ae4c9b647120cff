"""Moves the store to another encoder or codec while it is searched and written.

1. A codec that has to be fitted is fitted; then the new profile is `building`, and from here on every write embeds for it.
2. The memories that were there are embedded for it in the order of `seq`, with the place kept, so that a crash costs one
   batch. Whatever was missed (an edit while its text was being embedded) is looked for until nothing is.
3. The new index has caught up and holds every memory, and both are asked the same probes (memory/probes.py).
4. The pointer moves in one transaction. The old profile drains for seven days, still written to, so going back is the
   same move the other way.

Nothing is taken away before 4 has happened, so a search is never without an index. Source: memos §5, §7.14;
embedding_storage §3, §5.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import anyio
from sqlalchemy import Connection, exists, func, select

from memory import backlog, probes, profiles
from memory.backlog import Unembedded
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.base import Encoder
from memory.indices.base import Vector
from memory.probes import ACCEPTED_LOSS, PROBES, Figures, Probe
from memory.profiles import StoredProfile
from memory.spaces import Space, Spaces
from memory.tables import OutboxRow
from runtime.errors import Conflict, InvalidInput, ModelError, StorageError
from runtime.ids import new_id
from runtime.telemetry import get_logger

BATCH = 64
ROUNDS = 20
# Vectors that a codec is fitted on, where they are there; where they have to be made, twice as many as it needs.
FIT_SAMPLE = 50_000
FIT_FACTOR = 2
OpenSpace = Callable[[StoredProfile], Awaitable[Space]]
Progress = Callable[[int, int], None]

log = get_logger(__name__)


class Moved(NamedTuple):
    """The profile that is active now, what it was found to be, and the share of the probes that the one before found."""

    profile: StoredProfile
    figures: Figures
    old_found: float


class Reembedding:
    """Moves from one profile to another. Safe to run again after a crash, and in two processes at a time."""

    def __init__(
        self,
        core: Core,
        spaces: Spaces,
        open_space: OpenSpace,
        settle: Callable[[], Awaitable[None]],
        *,
        batch: int = BATCH,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """`open_space` opens encoder and index of a profile; `settle` returns when the outbox that was there is done.
        `progress` is told how many memories were embedded, and of how many."""
        self._core = core
        self._spaces = spaces
        self._open_space = open_space
        self._settle = settle
        self._batch = batch
        self._progress = progress

    async def begin(self, encoder: Encoder, codec: str, *, refit: bool = False, seed: int = 0) -> StoredProfile:
        """The profile of encoder and codec, made and written to from here on; with `refit` another one of the same codec.

        The encoder stays the caller's. Raises `Conflict` while another profile is being built, `InvalidInput` when there
        are too few memories to fit the codec on, `UnknownName` for a codec, `ModelError`.
        """
        space = encoder.profile
        there = await self._core.db.read(lambda c: profiles.in_use(c, space, codec))
        if there is None or (refit and there.state != "building"):
            params = await self._fitted(encoder, codec, random.Random(seed)) if codecs.needs_sample(codec) else b""
            profile_id, now = new_id("emb"), self._core.clock.now()
            there = await self._core.db.write(
                lambda c: profiles.begin(c, profile_id, space, codec, params, now, refit=refit)
            )
        await self._write_to(there)
        return there

    async def run(self, profile: StoredProfile, *, force: bool = False, seed: int = 0) -> Moved:
        """Embed what is missing, compare, switch.

        Raises `Conflict` when the new profile finds 2 points less than the old one, or its index loses as much against an
        exact search, and it is not forced; `ModelError` when the encoder fails. The profile then stays `building`, and
        `run` goes on later.
        """
        await self._write_to(profile)
        await self._catch_up(profile)
        asked = await self._core.db.read(partial(probes.sample, count=PROBES, rng=random.Random(seed)))
        old_found = await self._old_found(asked, force=force)
        figures = await probes.measure(self._core, self._space(profile.id), asked)
        kept = probes.as_json(figures, old_found=old_found, at=self._core.clock.now().isoformat())
        await self._core.db.write(lambda c: profiles.measured(c, profile.id, kept))
        if not force:
            _judge(profile, figures, old_found)
        for _ in range(ROUNDS):
            try:
                return Moved(await self.switch_to(profile), figures, old_found)
            except Conflict:
                # Another process that has not heard of the profile wrote a memory meanwhile.
                await self._catch_up(profile)
        raise _too_busy(profile)

    async def switch_to(self, profile: StoredProfile) -> StoredProfile:
        """Search in the profile from here on; so a move is taken back, too. Raises `Conflict` when memories lack a vector
        in it, or when it is retired."""
        now = self._core.clock.now()

        def work(connection: Connection) -> StoredProfile:
            after = profiles.switch(connection, profile.id, now)
            if backlog.missing(connection, profile.id, after=0, limit=1):
                raise Conflict(
                    f"embedding profile {profile.slug!r}: some memories are not embedded for it; run it again"
                )
            return after

        switched = await self._core.db.write(work)
        await follow(self._core, self._spaces, self._open_space)
        return switched

    async def abandon(self, profile: StoredProfile) -> None:
        """Give up a profile that is being built. Raises `Conflict` for another state."""
        await self._core.db.write(lambda c: profiles.abandon(c, profile.id))
        await follow(self._core, self._spaces, self._open_space)

    async def fill(self, profile: StoredProfile) -> None:
        """Embed every memory that has no vector in the profile. Raises `ModelError`, `StorageError`."""
        cursor, done = profile.cursor, 0
        total = await self._core.db.read(lambda c: backlog.count_missing(c, profile.id))
        for _ in range(ROUNDS):
            while batch := await self._missing(profile.id, cursor, self._batch):
                vectors = await self._vectors(profile, batch)
                cursor = batch[-1].seq
                await self._core.db.write(partial(backlog.keep, profile_id=profile.id, batch=batch, vectors=vectors))
                self._core.committed()
                done += len(batch)
                self._progress(done, max(done, total))
            if not await self._missing(profile.id, 0, 1):
                return
            cursor = 0
        raise _too_busy(profile)

    async def _catch_up(self, profile: StoredProfile) -> None:
        """Until every memory has its vector, and the index has every vector."""
        for _ in range(ROUNDS):
            await self.fill(profile)
            await self._settle()
            lacking = await self._not_in_index(self._space(profile.id))
            if not lacking:
                return
            log.info("memory.index_lacks", profile=profile.slug, count=len(lacking))
            await self._core.db.write(partial(backlog.enqueue, ids=lacking))
            self._core.committed()
        raise _too_busy(profile)

    async def _not_in_index(self, space: Space) -> list[str]:
        """Memories that have a vector, no point, and no entry in the outbox that would make one."""
        wanted: list[str] = []
        after = 0
        while page := await self._core.db.read(partial(backlog.indexed, profile_id=space.id, after=after)):
            wanted += [id_ for _, id_ in page]
            after = page[-1][0]
        # The points are looked at afterwards, so what is written meanwhile is not taken for missing.
        points = {point.memory_id async for point in space.index.versions() if not point.tombstone}
        return [id_ for id_ in wanted if id_ not in points]

    async def _old_found(self, asked: Sequence[Probe], *, force: bool) -> float:
        """What the active profile finds. One that cannot be asked may be the reason for the move: then force helps."""
        try:
            return await probes.found_share(self._spaces.active, asked)
        except (ModelError, StorageError) as error:
            if not force:
                raise
            log.warning("memory.old_profile_not_asked", profile=self._spaces.active.slug, error=error.message)
            return 0.0

    def _space(self, profile_id: str) -> Space:
        found = next((space for space in self._spaces.written if space.id == profile_id), None)
        if found is None:
            raise Conflict(f"embedding profile {profile_id!r}: was abandoned or retired meanwhile")
        return found

    async def _write_to(self, profile: StoredProfile) -> None:
        if all(space.id != profile.id for space in self._spaces.written):
            await follow(self._core, self._spaces, self._open_space)
        self._space(profile.id)

    async def _missing(self, profile_id: str, after: int, limit: int) -> list[Unembedded]:
        return await self._core.db.read(lambda c: backlog.missing(c, profile_id, after=after, limit=limit))

    async def _fitted(self, encoder: Encoder, codec: str, rng: random.Random) -> bytes:
        """The parameters of the codec, fitted on stored vectors of the space, or on some that are made for it."""
        space = encoder.profile
        needed = codecs.sample_size(codec, space.dim)
        rows = await self._core.db.read(partial(backlog.some_vectors, space=space, count=FIT_SAMPLE, rng=rng))
        vectors = await anyio.to_thread.run_sync(backlog.decoded, rows, space.dim)
        if len(vectors) < needed:
            texts = await self._core.db.read(partial(backlog.some_texts, count=FIT_FACTOR * needed, rng=rng))
            if len(texts) < needed:
                raise InvalidInput(
                    f"codec {codec!r}: has to be fitted on {needed} memories, there are {len(texts)}; take one that "
                    "needs no fit, such as 'int8'",
                    param="codec",
                )
            vectors = await encoder.encode(texts, role="doc")
        made = await anyio.to_thread.run_sync(codecs.make, codec, space.dim, vectors)
        return made.params()

    async def _vectors(self, profile: StoredProfile, batch: Sequence[Unembedded]) -> dict[int, Vector]:
        """By `seq`; those of a profile of the same space are taken from there instead of made again."""
        have = await self._core.db.read(
            partial(backlog.of_same_space, profile=profile, seqs=[row.seq for row in batch])
        )
        texts = {row.seq: row.content for row in batch if row.seq not in have}
        if texts:
            made = await self._space(profile.id).encoder.encode(list(texts.values()), role="doc")
            have |= dict(zip(texts, made, strict=True))
        return have


async def follow(core: Core, spaces: Spaces, open_space: OpenSpace) -> bool:
    """Make `spaces` what the database says, opening what is new; True when something changed.

    Every process calls it from time to time, and the relay before each batch, because another process may have moved
    the pointer. What is no longer written to is closed. Raises what `open_space` raises; then nothing has changed.
    """
    async with spaces.changing:
        if await core.db.read(profiles.written_ids) == [space.id for space in spaces.written]:
            return False
        stored = await core.db.read(profiles.written)
        before = {space.id: space for space in spaces.written}
        opened: dict[str, Space] = {}
        try:
            for profile in stored:
                if profile.id not in before:
                    opened[profile.id] = await open_space(profile)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for space in opened.values():
                    await space.aclose()
            raise
        active, *others = [before.get(p.id) or opened[p.id] for p in stored]
        spaces.switch(active, others)
        for gone in before.keys() - {p.id for p in stored}:
            await before[gone].aclose()
        return True


async def tidy(core: Core, spaces: Spaces, open_space: OpenSpace) -> list[StoredProfile]:
    """Retire what has drained for seven days, close it and delete its vectors. Gives every retired profile: the caller
    removes their indexes, those that are gone already too, because a crash may have come between."""
    now = core.clock.now()
    await core.db.write(lambda c: profiles.retire_drained(c, now))
    await follow(core, spaces, open_space)
    while await core.db.write(profiles.delete_retired_blobs):
        pass
    return [p for p in await core.db.read(profiles.every) if p.state == "retired"]


async def settled(core: Core, *, poll_s: float = 0.05, timeout_s: float = 600.0) -> None:
    """Return when all that is in the outbox has been done. Raises `StorageError` after `timeout_s`."""
    last = await core.db.read(lambda c: c.execute(select(func.max(OutboxRow.seq))).scalar()) or 0
    waiting = select(exists().where(OutboxRow.seq <= last))
    with anyio.move_on_after(timeout_s):
        while True:
            if not await core.db.read(lambda c: c.execute(waiting).scalar()):
                return
            await anyio.sleep(poll_s)
    raise StorageError(f"the index has not caught up within {timeout_s:g} s; see `mneme doctor`, then run it again")


def _judge(profile: StoredProfile, figures: Figures, old_found: float) -> None:
    if figures.found < old_found - ACCEPTED_LOSS:
        raise Conflict(
            f"embedding profile {profile.slug!r}: finds {figures.found:.1%} of {figures.probes} probes, the old one "
            f"{old_found:.1%}; not switched. Force the switch, or abandon the profile"
        )
    if figures.recall < 1 - ACCEPTED_LOSS:
        raise Conflict(
            f"embedding profile {profile.slug!r}: its index finds {figures.recall:.1%} of what an exact search finds "
            f"for {figures.probes} probes; not switched. Force the switch, or abandon the profile and take another codec"
        )


def _too_busy(profile: StoredProfile) -> StorageError:
    return StorageError(
        f"embedding profile {profile.slug!r}: memories change faster than they are embedded; run it again later"
    )
