"""What the routes of vaults answer, for `/openapi.json`; the conversions stand in vault_answers.py. Source: contract §4."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from api.routes.documented import Documented, Problem
from api.routes.memory_documented import MemoryBody
from memory.reviews import ReviewKind, ReviewState
from memory.types import State, VaultKind, Verb


class VaultBody(Documented):
    """A vault. `verbs`: what you may do in it; `memories`: how many are live, null when some are hidden from you.
    `locked_by`: the job that changes all of it."""

    id: str
    name: str
    owner: str
    kind: VaultKind
    default_ttl_s: int | None
    default_sensitivity: list[str]
    explore: float | None
    version: int
    verbs: list[Verb]
    memories: int | None
    locked_by: str | None
    created_at: datetime
    archived_at: datetime | None


class VaultList(Documented):
    items: list[VaultBody]
    next: str | None


class VaultStale(Problem):
    """The change was of an older version; `current` is the vault as it is."""

    current: VaultBody | None = None


class VaultErased(Documented):
    """What was erased. With `job` the memories are still to be erased, and the job's result says the rest.

    `stale`: memories of other vaults that were made from erased ones; `runs` read them and may quote them; `pending`: what
    goes a moment later.
    """

    id: str
    deleted: bool
    at: datetime
    memories: int
    removed: dict[str, int]
    stale: list[str]
    runs: list[str]
    pending: list[str]
    job: str | None


class GrantBody(Documented):
    """What a user may do in a vault. `user` null: every user; `context` null: in any."""

    id: str
    vault: str
    user: str | None
    context: str | None
    verbs: list[Verb]
    masked_tags: list[str]
    expires_at: datetime | None
    max_reads: int | None
    reads_used: int
    created_at: datetime
    created_by: str


class GrantList(Documented):
    items: list[GrantBody]
    next: None


class Revoked(Documented):
    """The grants that ended: the one that was named, and what was given on its strength."""

    revoked: list[str]


class SnapshotBody(Documented):
    """A moment of a vault. `digest` covers ids, contents and states, so it is the same again after a rollback."""

    id: str
    vault: str
    label: str
    parent: str | None
    at: datetime
    created_by: str
    digest: str


class SnapshotList(Documented):
    items: list[SnapshotBody]
    next: str | None


class SnapshotItem(Documented):
    memory: str
    version: int
    state: State


class SnapshotShown(SnapshotBody):
    """A snapshot with a page of its memories."""

    items: list[SnapshotItem]
    next: str | None


class SnapshotDifference(Documented):
    """A memory that is not as it was: changed, new since then, or purged and gone for good."""

    memory: str
    what: Literal["changed", "new", "purged"]
    then: SnapshotItem | None
    now: SnapshotItem


class SnapshotDiff(Documented):
    items: list[SnapshotDifference]
    next: str | None


class RolledBack(Documented):
    """What a rollback did. With `job` it is still to be done, and the job's result says the rest.

    `purged` cannot come back, the lifetime of `expired` is over; `equal`: the digest of the snapshot holds again.
    """

    snapshot: str
    restored: int
    archived: int
    purged: list[str]
    expired: list[str]
    equal: bool
    job: str | None


class BranchBody(Documented):
    """A what-if branch; `edits` memories are other there than in its base."""

    name: str
    vault: str
    base: str
    at: datetime
    created_by: str
    edits: int


class BranchList(Documented):
    items: list[BranchBody]
    next: None


class BranchDeleted(Documented):
    id: str
    branch: str
    deleted: Literal[True]


class BranchStale(Problem):
    """The edit was of an older version; `current` is the memory as it is on the branch."""

    current: MemoryBody | None = None


class MergedBody(Documented):
    """A merged branch: the memories that changed, came, went, and those that `main` had already."""

    branch: str
    changed: list[str]
    added: list[str]
    deleted: list[str]
    settled: list[str]


class ClashBody(Documented):
    """Why a memory cannot be merged, with its version in the base, on the branch and on `main`."""

    memory: str
    base: int | None
    branch: int
    main: int | None
    why: str


class MergeProblem(Problem):
    """Nothing was merged, because of these."""

    conflicts: list[ClashBody] | None = None


class MigratedBody(Documented):
    """What was copied. `ids` leads from each old id to the new one; `duplicates` were in the target already, `merged` say
    the same as one that was there; `revoked` are grants of the target that do not hold for both vaults.

    With `job` it is still to be done, and the job's result has the counts.
    """

    from_: str = Field(alias="from")
    to: str
    copied: int
    duplicates: int
    merged: int
    ids: dict[str, str] | None
    revoked: list[str]
    job: str | None


class ReviewBody(Documented):
    """Something that a person decides. In a conflict `memory` is the newcomer and `other` the one it contradicts."""

    id: str
    vault: str
    kind: ReviewKind
    memory: str
    other: str | None
    reason: str
    evidence: dict[str, JsonValue]
    state: ReviewState
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None


class ReviewList(Documented):
    items: list[ReviewBody]
    next: str | None
