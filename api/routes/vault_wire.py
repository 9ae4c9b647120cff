"""What clients send about vaults. Source: contract §4; memos §2.2, §3.5, §3.9, §3.10."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import Path
from pydantic import AfterValidator, Field

from api.openai.wire import Strict
from api.routes.memory_fields import (
    MemoryRef,
    Moment,
    Names,
    Reason,
    VaultName,
    not_found,
    storable,
    storable_text,
)
from memory.types import VaultKind, Verb
from memory.vault.grants import Terms
from runtime.errors import InvalidInput

MAX_TTL_S: Final = 10**10
MAX_MIGRATED: Final = 1000


def _known_shape(kind: str, prefix: str) -> Callable[[str], str]:
    # What cannot be an id is as unknown as one that never was, and never reaches the database.
    shape = re.compile(rf"{prefix}_[0-9a-f]{{32}}")

    def check(ref: str) -> str:
        if not shape.fullmatch(ref):
            raise not_found(kind, ref)
        return ref

    return check


def _branch_ref(name: str) -> str:
    if not storable(name):
        raise not_found("branch", name)
    return name


Text = Annotated[str, AfterValidator(storable_text)]
_IsSnapshot: Final = AfterValidator(_known_shape("snapshot", "snp"))
GrantId = Annotated[str, Path(max_length=100), AfterValidator(_known_shape("grant", "grt"))]
ReviewId = Annotated[str, Path(max_length=100), AfterValidator(_known_shape("review", "rev"))]
SnapshotId = Annotated[str, Path(max_length=100), _IsSnapshot]
SnapshotRef = Annotated[str, Field(max_length=100), _IsSnapshot]
BranchPath = Annotated[str, Path(max_length=200), AfterValidator(_branch_ref)]
BranchName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_branch_ref)]
NewName = Annotated[Text, Field(min_length=1, max_length=200)]
Ttl = Annotated[int, Field(ge=1, le=MAX_TTL_S, description="seconds")]
Share = Annotated[float, Field(ge=0, le=1)]


class VaultFields(Strict):
    """What a vault is set to; `default_…` holds for memories that say nothing else."""

    kind: VaultKind = "private"
    default_ttl_s: Ttl | None = None
    default_sensitivity: Names = Field([])
    explore: Share | None = Field(None, description="share of reads in which a memory is held out, to measure it")


class VaultRequest(VaultFields):
    """`POST /api/vaults`."""

    name: NewName

    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in VaultFields.model_fields}


class VaultEdit(VaultFields):
    """`PATCH /api/vaults/{vault}`: what is left out stays. `archived` puts it out of use for writing, or back."""

    name: NewName | None = None
    archived: bool | None = None

    def changes(self) -> dict[str, object]:
        """The edit. Raises `InvalidInput` when there is none."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if not given:
            raise InvalidInput("the edit is empty: expected at least one field to change", param="body")
        for name in ("name", "archived"):
            if name in given and given[name] is None:
                raise InvalidInput(f"{name}: cannot be taken away; leave it out, or give a value", param=name)
        return given


class GrantRequest(Strict):
    """`POST /api/vaults/{vault}/grants`. `user` null: every user; `context` null: in any."""

    user: Annotated[Text, Field(min_length=1, max_length=200)] | None
    verbs: list[Verb] = Field(min_length=1, max_length=4)
    context: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    masked_tags: Names = Field([], description="memories with any of these in `sensitivity` stay hidden")
    expires_at: Moment | None = None
    max_reads: int | None = Field(None, ge=1, lt=2**31)

    def terms(self) -> Terms:
        return Terms(
            frozenset(self.verbs), self.user, self.context, tuple(self.masked_tags), self.expires_at, self.max_reads
        )


class SnapshotRequest(Strict):
    """`POST /api/vaults/{vault}/snapshots`."""

    label: Annotated[Text, Field(max_length=200)] = ""


class RollbackRequest(Strict):
    """`POST /api/vaults/{vault}/rollback`."""

    snapshot: SnapshotRef


class BranchRequest(Strict):
    """`POST /api/vaults/{vault}/branch`."""

    name: NewName


class BranchMerge(Strict):
    """`POST /api/vaults/{vault}/merge`."""

    branch: BranchName


class ComposeRequest(Strict):
    """`POST /api/vaults/compose`: the nearest vault first."""

    vaults: list[VaultName] = Field(min_length=1, max_length=64)
    limit: int = Field(50, ge=1, le=500)
    cursor: MemoryRef | None = Field(None, description="`next` of the page before")


class MigrateRequest(Strict):
    """`POST /api/vaults/{vault}/migrate`: copy this vault's memories, or those of `ids`, into the vault `to`."""

    to: VaultName
    ids: list[MemoryRef] | None = Field(None, min_length=1, max_length=MAX_MIGRATED)


class FuseRequest(Strict):
    """`POST /api/vaults/{vault}/fuse`: copy into the vault `to`, and merge there what says the same."""

    to: VaultName


class ReviewRequest(Strict):
    """`POST /api/vaults/{vault}/reviews/{review_id}`."""

    decision: Literal["accept", "reject", "dismiss"]
    reason: Reason = ""
