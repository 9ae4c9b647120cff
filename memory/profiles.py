"""Which spaces of vectors there are and what each is for: the rows of `embedding_profiles`.

    building ──switch──▶ active ──switch──▶ draining ──7 days──▶ retired
                            ▲                  │
                            └─────switch───────┘   (rolling back is switching again)

One profile is active: searches go there. Every profile but the retired ones is written to. A profile is an encoder and
the codec of its index, so another codec is another profile too, and the pointer moves in one transaction: after a crash
it is the old one or the new one. Source: memos §5; embedding_storage §3 (migrate codec), §7.10; ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from memory.encoders.base import Profile
from memory.tables import BlobRow, ProfileRow
from runtime.errors import Conflict, SettingsError, UnknownName

ProfileState = Literal["building", "active", "draining", "retired"]
WRITTEN: tuple[ProfileState, ...] = ("active", "building", "draining")
DRAINING_FOR = timedelta(days=7)
DELETED_AT_A_TIME = 5000


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A row. `space` is the encoder's space, its slug included; `slug` names row, folder and collection; `cursor` is the
    last memory (its `seq`) that was embedded for it while it was built."""

    id: str
    slug: str
    space: Profile
    codec: str
    codec_params: bytes
    measured: Mapping[str, Any] | None
    state: ProfileState
    cursor: int
    drain_until: datetime | None


def slug_of(space: Profile, codec: str) -> str:
    """The name of the profile that an encoder and a codec make."""
    return f"{space.slug}.{codec}"


def every(connection: Connection) -> list[StoredProfile]:
    """All profiles, oldest first."""
    return [_stored(row) for row in connection.execute(_SELECT.order_by(ProfileRow.created_at, ProfileRow.id))]


def written(connection: Connection) -> list[StoredProfile]:
    """The profiles that every write goes to, the active one first."""
    return sorted((p for p in every(connection) if p.state in WRITTEN), key=lambda p: WRITTEN.index(p.state))


def active(connection: Connection) -> StoredProfile | None:
    """The profile that searches go to; None in a store that was never opened."""
    return next(iter(p for p in written(connection) if p.state == "active"), None)


def by_slug(connection: Connection, slug: str) -> StoredProfile:
    """The profile. Raises `UnknownName`."""
    row = connection.execute(_SELECT.where(ProfileRow.slug == slug)).one_or_none()
    if row is None:
        known = ", ".join(p.slug for p in every(connection)) or "none yet"
        raise UnknownName(f"embedding profile {slug!r}: not found; there is {known}")
    return _stored(row)


def ensure(connection: Connection, profile_id: str, space: Profile, codec: str, now: datetime) -> StoredProfile:
    """The active profile, made (with the id) when the store has none. Called at every start.

    `space` is what the configured encoder gives. It need not be the active one while it is being built or drained.
    Raises `SettingsError` when the store's vectors are of another space, or of another size under the same name.
    """
    there = active(connection)
    if there is None:
        return _add(connection, profile_id, space, codec, "active", now)
    for known in written(connection):
        if known.space.slug == space.slug:
            _require_same(known.space, space)
            return there
    raise SettingsError(
        f"embed.model: the store's vectors are of {there.space.slug!r} ({there.space.dim} dimensions), the configured "
        f"encoder makes {space.slug!r} ({space.dim}); set embed.model back, or run `mneme memory reembed` to embed "
        "every memory again while the service runs"
    )


def begin(connection: Connection, profile_id: str, space: Profile, codec: str, now: datetime) -> StoredProfile:
    """A profile to be built, or the one that is being built, drained or in use already under this name.

    Raises `SettingsError` when the name is there with another size, `Conflict` while a third one is being built.
    """
    slug = slug_of(space, codec)
    for known in every(connection):
        if known.space.slug == space.slug and known.state != "retired":
            _require_same(known.space, space)
        if known.slug == slug and known.state != "retired":
            return known
        if known.state == "building":
            raise Conflict(
                f"embedding profile {known.slug!r} is being built; let it end, or abandon it, before {slug!r}"
            )
    # What a retired profile had is gone; its name is free.
    connection.execute(delete(ProfileRow).where(ProfileRow.slug == slug, ProfileRow.state == "retired"))
    return _add(connection, profile_id, space, codec, "building", now)


def fitted(connection: Connection, profile_id: str, params: bytes) -> None:
    """Keep the codec's parameters; they never change again. Raises `Conflict` when there are others."""
    done = connection.execute(
        update(ProfileRow)
        .where(ProfileRow.id == profile_id, ProfileRow.codec_params.is_(None) | (ProfileRow.codec_params == params))
        .values(codec_params=params)
    )
    if done.rowcount != 1:
        raise Conflict(
            f"embedding profile {profile_id!r}: its codec is fitted already; make another profile for a refit"
        )


def advance(connection: Connection, profile_id: str, cursor: int) -> None:
    """Every memory up to this `seq` is embedded."""
    connection.execute(
        update(ProfileRow).where(ProfileRow.id == profile_id, ProfileRow.cursor < cursor).values(cursor=cursor)
    )


def measured(connection: Connection, profile_id: str, figures: Mapping[str, Any]) -> None:
    """Keep what was measured before a switch."""
    connection.execute(update(ProfileRow).where(ProfileRow.id == profile_id).values(measured=dict(figures)))


def switch(connection: Connection, profile_id: str, now: datetime) -> tuple[StoredProfile, StoredProfile]:
    """Make the profile the active one and let the other drain; both as they are afterwards, the active one first.

    Switching to the active one changes nothing. Raises `Conflict` for a profile that is retired.
    """
    # On PostgreSQL the lock makes two switches at a time one after the other.
    locked = connection.execute(_SELECT.with_for_update()).all()
    rows = {row.id: _stored(row) for row in locked}
    new = rows.get(profile_id)
    old = next((p for p in rows.values() if p.state == "active"), None)
    if new is None or old is None:
        raise UnknownName(f"embedding profile {profile_id!r}: not found, or there is no active one to switch from")
    if new.state == "active":
        return new, old
    if new.state == "retired":
        raise Conflict(f"embedding profile {new.slug!r} is retired; its vectors are gone, build it again")
    until = now + DRAINING_FOR
    _set(connection, old.id, state="draining", drain_until=until)
    _set(connection, new.id, state="active", activated_at=now, drain_until=None)
    return replace(new, state="active", drain_until=None), replace(old, state="draining", drain_until=until)


def abandon(connection: Connection, profile_id: str) -> None:
    """Give up a profile that is being built. Raises `Conflict` for another state."""
    done = connection.execute(
        update(ProfileRow)
        .where(ProfileRow.id == profile_id, ProfileRow.state == "building")
        .values(state="retired", cursor=0)
    )
    if done.rowcount != 1:
        raise Conflict(f"embedding profile {profile_id!r}: is not being built; there is nothing to abandon")


def retire_drained(connection: Connection, now: datetime) -> list[StoredProfile]:
    """Retire what has drained long enough; gives those profiles, whose indexes can be removed."""
    over = [
        p for p in every(connection) if p.state == "draining" and p.drain_until is not None and p.drain_until <= now
    ]
    for profile in over:
        _set(connection, profile.id, state="retired", drain_until=None, cursor=0)
    return over


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


def _add(
    connection: Connection, profile_id: str, space: Profile, codec: str, state: ProfileState, now: datetime
) -> StoredProfile:
    connection.execute(
        insert(ProfileRow).values(
            id=profile_id,
            slug=slug_of(space, codec),
            provider=space.provider,
            model=space.model,
            revision=space.revision,
            dim=space.dim,
            metric=space.metric,
            normalise=space.normalise,
            prefix_doc=space.prefix_doc,
            prefix_query=space.prefix_query,
            codec=codec,
            state=state,
            cursor=0,
            created_at=now,
            activated_at=now if state == "active" else None,
        )
    )
    return by_slug(connection, slug_of(space, codec))


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
        slug=row.slug.removesuffix(f".{row.codec}"),
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
