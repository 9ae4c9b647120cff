"""Moves of the whole store to another encoder or codec, as whoever runs the installation asks for them.

What a move is stands in memory/reembed.py; here are who may ask, the audit, and the encoder that the settings name. All
of a move can be asked for again: what is there already is not made twice. Source: memos §5, §3.10; ours.
"""

from __future__ import annotations

from functools import partial

from memory import audit, profiles
from memory.core import Core
from memory.encoders.registry import open_encoder
from memory.profiles import StoredProfile
from memory.reembed import Moved, OpenSpace, Progress, Reembedding, settled
from memory.spaces import Spaces
from memory.types import Actor
from runtime.errors import Conflict, Forbidden
from runtime.settings import EmbedSettings


class Moves:
    """Every call is for administrators. Raises `Forbidden` for others."""

    def __init__(self, core: Core, spaces: Spaces, open_space: OpenSpace) -> None:
        self._core = core
        self._spaces = spaces
        self._open_space = open_space

    async def profiles(self, actor: Actor) -> list[StoredProfile]:
        """Every profile there is and was, oldest first."""
        _require_admin(actor)
        return await self._core.db.read(profiles.every)

    async def to(
        self,
        actor: Actor,
        embed: EmbedSettings | None = None,
        *,
        codec: str | None = None,
        refit: bool = False,
        force: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Moved:
        """Embed every memory with the encoder of `embed` (the configured one), keep the index as `codec` (the configured
        one), and search there; with `refit` a codec of the same name is fitted anew.

        Raises as `Reembedding.begin` and `run` do, and as `open_encoder` does.
        """
        _require_admin(actor)
        settings = self._core.settings.model_copy(update={"embed": embed or self._core.settings.embed})
        encoder = await open_encoder(settings)
        try:
            moving = self._moving(progress)
            profile = await moving.begin(encoder, codec or settings.embed.codec, refit=refit)
            await self._audit(actor, "reembed.begin", profile)
            moved = await moving.run(profile, force=force)
            await self._audit(actor, "reembed.switch", moved.profile)
            return moved
        finally:
            await encoder.aclose()

    async def back(self, actor: Actor) -> StoredProfile:
        """Search in the profile that drains, the youngest of several. Raises `Conflict` when none does."""
        _require_admin(actor)
        draining = [p for p in await self._core.db.read(profiles.written) if p.state == "draining"]
        if not draining:
            raise Conflict(
                "no embedding profile is draining: the last move was more than seven days ago, or there was none"
            )
        last = max(draining, key=lambda profile: profile.drain_until or self._core.clock.now())
        switched = await self._moving().switch_to(last)
        await self._audit(actor, "reembed.back", switched)
        return switched

    async def abandon(self, actor: Actor) -> StoredProfile:
        """Give up the profile that is being built. Raises `Conflict` when none is."""
        _require_admin(actor)
        building = next((p for p in await self._core.db.read(profiles.written) if p.state == "building"), None)
        if building is None:
            raise Conflict("no embedding profile is being built; there is nothing to abandon")
        await self._moving().abandon(building)
        await self._audit(actor, "reembed.abandon", building)
        return building

    def _moving(self, progress: Progress = lambda done, total: None) -> Reembedding:
        settle = partial(settled, self._core)
        return Reembedding(self._core, self._spaces, self._open_space, settle, progress=progress)

    async def _audit(self, actor: Actor, action: str, profile: StoredProfile) -> None:
        await self._core.write(
            actor, lambda tx: audit.record(tx, action, "profile", profile.slug, chain=actor.user_id, rule="admin")
        )


def _require_admin(actor: Actor) -> None:
    if not actor.admin:
        raise Forbidden("embedding profiles: only an administrator may look at them and move the store")
