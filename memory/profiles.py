"""Which spaces of vectors there are and what each is for: the rows of `embedding_profiles`.

    building ──switch──▶ active ──switch──▶ draining ──7 days──▶ retired
                            ▲                  │
                            └─────switch───────┘   (rolling back is switching again)

One profile is active: searches go there. Every profile but the retired ones is written to. A profile is an encoder and
the codec of its index, so another codec, or the same one fitted again, is another profile too. The pointer moves in one
transaction: after a crash it is the old one or the new one. Source: memos §5; embedding_storage §3 (migrate codec), §7 (10);
ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import Connection, Row, delete, insert, select, text, update

from memory.codecs import registry
from memory.encoders.base import Profile
from memory.tables import BlobRow, ProfileRow
from runtime.errors import Conflict, SettingsError, UnknownName

ProfileState = Literal["building", "active", "draining", "retired"]
WRITTEN: tuple[ProfileState, ...] = ("active", "building", "draining")
DRAINING_FOR = timedelta(days=7)
DELETED_AT_A_TIME = 5000


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A row. `space` is the encoder's space, its slug included; `slug` names row, folder and collection, and is never used
    again; `cursor` is the last memory (its `seq`) that was embedded for it while it was built."""

    id: str
    slug: str
    space: Profile
    codec: str
    codec_params: bytes
    measured: Mapping[str, JsonValue] | None
    state: ProfileState
    cursor: int
    drain_until: datetime | None

    def is_of(self, space: Profile, codec: str) -> bool:
        """Whether encoder and codec are these."""
        return self.space == space and self.codec == codec


def every(connection: Connection) -> list[StoredProfile]:
    """All profiles, oldest first."""
    return [_stored(row) for row in connection.execute(_SELECT.order_by(ProfileRow.created_at, ProfileRow.id))]


def written(connection: Connection) -> list[StoredProfile]:
    """The profiles that every write goes to, the active one first."""
    return sorted((p for p in every(connection) if p.state in WRITTEN), key=lambda p: WRITTEN.index(p.state))


def written_ids(connection: Connection) -> list[str]:
    """The ids of `written`, in its order, without their parameters: cheap enough to be asked before each batch."""
    query = select(ProfileRow.id, ProfileRow.state).where(ProfileRow.state.in_(WRITTEN))
    rows = connection.execute(query.order_by(ProfileRow.created_at, ProfileRow.id)).all()
    return [row.id for row in sorted(rows, key=lambda row: WRITTEN.index(row.state))]


def active(connection: Connection) -> StoredProfile | None:
    """The profile that searches go to; None in a store that was never opened."""
    return next((p for p in written(connection) if p.state == "active"), None)


def by_slug(connection: Connection, slug: str) -> StoredProfile:
    """The profile. Raises `UnknownName`."""
    row = connection.execute(_SELECT.where(ProfileRow.slug == slug)).one_or_none()
    if row is None:
        known = ", ".join(p.slug for p in every(connection)) or "none yet"
        raise UnknownName(f"embedding profile {slug!r}: not found; there is {known}")
    return _stored(row)


def in_use(connection: Connection, space: Profile, codec: str) -> StoredProfile | None:
    """The youngest profile of this encoder and codec that is written to; None when there is none."""
    return next((p for p in reversed(every(connection)) if p.is_of(space, codec) and p.state in WRITTEN), None)


def ensure(connection: Connection, profile_id: str, space: Profile, codec: str, now: datetime) -> StoredProfile:
    """The active profile, made (with the id) when the store has none. Called at every start.

    `space` is what the configured encoder gives. It need not be the active one while it is being built or drained.
    `codec` counts for a new store only: another one is a move (memory/reembed.py). Raises `SettingsError` when the
    store's vectors are of another space, or of another size under the same name, and for a new store with a codec that
    has to be fitted first.
    """
    there = active(connection)
    if there is None:
        _alone(connection)
        there = active(connection)
    if there is None:
        if registry.needs_sample(codec):
            raise SettingsError(
                f"embed.codec {codec!r}: has to be fitted on vectors, and the store has none yet; begin with 'int8', "
                "and run `mneme memory reembed` with this codec when there are memories"
            )
        return _add(connection, profile_id, space, codec, b"", "active", now)
    for known in written(connection):
        if known.space.slug == space.slug:
            _require_same(known.space, space)
            return there
    raise SettingsError(
        f"embed.model: the store's vectors are of {there.space.slug!r} ({there.space.dim} dimensions), the configured "
        f"encoder makes {space.slug!r} ({space.dim}); set embed.model back, or run `mneme memory reembed` to embed "
        "every memory again while the service runs"
    )


def begin(
    connection: Connection,
    profile_id: str,
    space: Profile,
    codec: str,
    params: bytes,
    now: datetime,
    *,
    refit: bool = False,
) -> StoredProfile:
    """A profile to be built, or the one of this encoder and codec that is written to already (never with `refit`).

    `params` are those of the fitted codec; they never change again. Raises `SettingsError` when the encoder's name is
    there with another size, `Conflict` while another profile is being built or when the codec lacks its parameters.
    """
    _alone(connection)
    for known in written(connection):
        if known.space.slug == space.slug:
            _require_same(known.space, space)
    there = in_use(connection, space, codec)
    if there is not None and (not refit or there.state == "building"):
        return there
    building = next((p for p in written(connection) if p.state == "building"), None)
    if building is not None:
        raise Conflict(
            f"embedding profile {building.slug!r} is being built; let it end, or abandon it, before one of "
            f"{space.slug!r} with codec {codec!r}"
        )
    if registry.needs_sample(codec) and not params:
        raise Conflict(f"codec {codec!r}: has to be fitted on vectors of {space.slug!r} before a profile uses it")
    return _add(connection, profile_id, space, codec, params, "building", now)


def advance(connection: Connection, profile_id: str, cursor: int) -> None:
    """Every memory up to this `seq` is embedded."""
    connection.execute(
        update(ProfileRow).where(ProfileRow.id == profile_id, ProfileRow.cursor < cursor).values(cursor=cursor)
    )


def measured(connection: Connection, profile_id: str, figures: Mapping[str, JsonValue]) -> None:
    """Keep what was measured before a switch."""
    connection.execute(update(ProfileRow).where(ProfileRow.id == profile_id).values(measured=dict(figures)))


def switch(connection: Connection, profile_id: str, now: datetime) -> StoredProfile:
    """Make the profile the active one and let the one before drain; the profile as it is afterwards.

    Switching to the active one changes nothing. Raises `UnknownName`, and `Conflict` for a profile that is retired.
    """
    _alone(connection)
    there = {p.id: p for p in every(connection)}
    new = there.get(profile_id)
    old = next((p for p in there.values() if p.state == "active"), None)
    if new is None or old is None:
        raise UnknownName(f"embedding profile {profile_id!r}: not found, or there is no active one to switch from")
    if new.state == "active":
        return new
    if new.state == "retired":
        raise Conflict(f"embedding profile {new.slug!r} is retired; its vectors are gone, build it again")
    _set(connection, old.id, state="draining", drain_until=now + DRAINING_FOR)
    _set(connection, new.id, state="active", activated_at=now, drain_until=None)
    return replace(new, state="active", drain_until=None)


def abandon(connection: Connection, profile_id: str) -> None:
    """Give up a profile that is being built. Raises `Conflict` for another state."""
    done = connection.execute(
        update(ProfileRow).where(ProfileRow.id == profile_id, ProfileRow.state == "building").values(state="retired")
    )
    if done.rowcount != 1:
        raise Conflict(f"embedding profile {profile_id!r}: is not being built; there is nothing to abandon")


def retire_drained(connection: Connection, now: datetime) -> int:
    """Retire what has drained long enough; how many."""
    over = (ProfileRow.state == "draining", ProfileRow.drain_until <= now)
    return connection.execute(update(ProfileRow).where(*over).values(state="retired", drain_until=None)).rowcount


def delete_retired_blobs(connection: Connection) -> int:
    """Delete a part of the vectors of retired profiles; how many. Called again until it is 0."""
    some = (
        select(BlobRow.memory_seq, BlobRow.profile_id)
        .join(ProfileRow, ProfileRow.id == BlobRow.profile_id)
        .where(ProfileRow.state == "retired")
        .limit(DELETED_AT_A_TIME)
    )
    chosen = connection.execute(some).all()
    for profile_id in {row.profile_id for row in chosen}:
        seqs = [row.memory_seq for row in chosen if row.profile_id == profile_id]
        connection.execute(delete(BlobRow).where(BlobRow.profile_id == profile_id, BlobRow.memory_seq.in_(seqs)))
    return len(chosen)


_SELECT = select(*ProfileRow.__table__.columns)


def _alone(connection: Connection) -> None:
    """One change of the pointer at a time. On SQLite whoever writes is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE embedding_profiles IN SHARE ROW EXCLUSIVE MODE"))


def _add(
    connection: Connection,
    profile_id: str,
    space: Profile,
    codec: str,
    params: bytes,
    state: ProfileState,
    now: datetime,
) -> StoredProfile:
    slug = _free_slug(connection, f"{space.slug}.{codec}")
    connection.execute(
        insert(ProfileRow).values(
            id=profile_id,
            slug=slug,
            provider=space.provider,
            model=space.model,
            revision=space.revision,
            dim=space.dim,
            metric=space.metric,
            normalise=space.normalise,
            prefix_doc=space.prefix_doc,
            prefix_query=space.prefix_query,
            codec=codec,
            codec_params=params or None,
            state=state,
            cursor=0,
            created_at=now,
            activated_at=now if state == "active" else None,
        )
    )
    return by_slug(connection, slug)


def _free_slug(connection: Connection, name: str) -> str:
    """A slug is never used twice, or a new profile would find the folder of a retired one with its old vectors."""
    taken = set(connection.execute(select(ProfileRow.slug)).scalars())
    return next(slug for n in count(1) if (slug := name if n == 1 else f"{name}.{n}") not in taken)


def _set(connection: Connection, profile_id: str, **values: Any) -> None:
    connection.execute(update(ProfileRow).where(ProfileRow.id == profile_id).values(**values))


def _require_same(known: Profile, given: Profile) -> None:
    if known == given:
        return
    raise SettingsError(
        f"embedding profile {known.slug!r}: the store has {known.dim} dimensions of {known.model!r} "
        f"{known.revision}, the configured encoder gives {given.dim} of {given.model!r} {given.revision}; vectors of "
        "two models are never mixed. Set embed.* back, or give the new encoder another name"
    )


def _stored(row: Row[Any]) -> StoredProfile:
    space = Profile(
        slug=row.slug.rpartition(f".{row.codec}")[0],
        provider=row.provider,
        model=row.model,
        revision=row.revision,
        dim=row.dim,
        metric=row.metric,
        normalise=row.normalise,
        prefix_doc=row.prefix_doc,
        prefix_query=row.prefix_query,
    )
    return StoredProfile(
        id=row.id,
        slug=row.slug,
        space=space,
        codec=row.codec,
        codec_params=row.codec_params or b"",
        measured=row.measured,
        state=row.state,
        cursor=row.cursor,
        drain_until=row.drain_until,
    )
