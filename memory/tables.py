"""The tables of the store: the truth, from which every index can be built again.

`memories` holds what is current, `memory_versions` everything that ever was current. Each change of a memory writes its
row, version, incidence, vector, full text and outbox entry in one transaction (memory/store.py). The full-text table
is made by the migration, because it differs between the databases (memory/indices/lexical.py). Source: memos §2.2,
embedding_storage §2; ours where marked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from runtime.tables import Base, Json, UtcTime

# SQLite counts up only in a plain INTEGER key.
Counter = BigInteger().with_variant(Integer, "sqlite")
IS_LIVE = text("content_hash IS NOT NULL")


class VaultRow(Base):
    """A named set of memories; the tenant unit."""

    __tablename__ = "vaults"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    default_ttl_s: Mapped[int | None] = mapped_column(Integer)
    default_sensitivity: Mapped[list[str]] = mapped_column(Json)
    explore: Mapped[float | None] = mapped_column(Float)
    ranking: Mapped[dict[str, float] | None] = mapped_column(Json)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    archived_at: Mapped[datetime | None] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    locked_by: Mapped[str | None] = mapped_column(String(40))
    __table_args__ = (UniqueConstraint("owner_id", "name"),)


class GrantRow(Base):
    """What another user may do in a vault."""

    __tablename__ = "vault_grants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), index=True)
    grantee_id: Mapped[str | None] = mapped_column(String(40), index=True)
    context: Mapped[str | None] = mapped_column(String(200))
    can_read: Mapped[bool] = mapped_column(Boolean)
    can_write: Mapped[bool] = mapped_column(Boolean)
    can_share: Mapped[bool] = mapped_column(Boolean)
    can_delete: Mapped[bool] = mapped_column(Boolean)
    masked_tags: Mapped[list[str]] = mapped_column(Json)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    max_reads: Mapped[int | None] = mapped_column(Integer)
    reads_used: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(40))


class MemoryRow(Base):
    """A memory as it is now. `version` is the optimistic lock; `seq` is the short key of the indexes.

    `content_hash` (of the normalised text) is set while the memory is live, so exact duplicates cannot race; the
    digests that stay behind after a purge are keyed with `digest_key`, which a purge destroys. `placed`: the writer gave
    the position, so the same words at another place are another memory.
    """

    __tablename__ = "memories"
    seq: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"))
    version: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(12))
    content: Mapped[str] = mapped_column(Text)
    content_hash: Mapped[str | None] = mapped_column(String(64))
    simhash: Mapped[int | None] = mapped_column(BigInteger)
    digest_key: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    kind: Mapped[str] = mapped_column(String(20))
    semantic_type: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    subject: Mapped[str | None] = mapped_column(String(300))
    attribute: Mapped[str | None] = mapped_column(String(300))
    title: Mapped[str | None] = mapped_column(Text)
    speaker: Mapped[str | None] = mapped_column(String(300))
    entities: Mapped[list[str]] = mapped_column(Json)
    tags: Mapped[list[str]] = mapped_column(Json)
    sensitivity: Mapped[list[str]] = mapped_column(Json)
    origin: Mapped[str] = mapped_column(String(30))
    provenance_id: Mapped[str] = mapped_column(String(40), index=True)
    confidence: Mapped[float] = mapped_column(Float)
    priority: Mapped[int] = mapped_column(Integer)
    pinned: Mapped[bool] = mapped_column(Boolean)
    watermark: Mapped[str | None] = mapped_column(String(300))
    valid_from: Mapped[datetime | None] = mapped_column(UtcTime)
    valid_to: Mapped[datetime | None] = mapped_column(UtcTime)
    occurred_at: Mapped[datetime | None] = mapped_column(UtcTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    superseded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    session_id: Mapped[str | None] = mapped_column(String(200))
    position: Mapped[int | None] = mapped_column(Integer)
    placed: Mapped[bool] = mapped_column(Boolean)
    created_by: Mapped[str] = mapped_column(String(40))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    purge_after: Mapped[datetime | None] = mapped_column(UtcTime)
    vector_state: Mapped[str] = mapped_column(String(10))
    embedded_version: Mapped[int | None] = mapped_column(Integer)
    __table_args__ = (
        Index(
            "ux_memories_content",
            "vault_id",
            "content_hash",
            unique=True,
            sqlite_where=IS_LIVE,
            postgresql_where=IS_LIVE,
        ),
        Index("ix_memories_state", "vault_id", "state", "expires_at"),
        Index("ix_memories_subject", "vault_id", "subject", "attribute"),
        Index("ix_memories_type", "vault_id", "semantic_type", "seq"),
        Index("ix_memories_session", "vault_id", "session_id", "position"),
        Index("ix_memories_expires", "expires_at"),
    )


class MemoryUse(Base):
    """How often a memory was used; beside the memory, so that reading does not disturb an editor. Source: memos §2.2."""

    __tablename__ = "memory_uses"
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    uses: Mapped[int] = mapped_column(Integer)
    last_used_at: Mapped[datetime] = mapped_column(UtcTime)


class EffectRow(Base):
    """The sums of what showing a memory changed, in one of its lives, by kind of outcome and agent. Source: ours."""

    __tablename__ = "memory_effects"
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    life: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    agent: Mapped[str] = mapped_column(String(100), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"))
    n: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(BigInteger)
    squares: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (Index("ix_memory_effects_vault", "vault_id", "kind"),)


class MeasureRow(Base):
    """What one run said about a memory: the number that went into the sums, and the outcomes on each side. Source: ours."""

    __tablename__ = "memory_measures"
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"))
    agent: Mapped[str] = mapped_column(String(100))
    life: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    p: Mapped[float] = mapped_column(Float)
    units: Mapped[int] = mapped_column(Integer)
    shown: Mapped[int] = mapped_column(Integer)
    outcome_shown: Mapped[float | None] = mapped_column(Float)
    outcome_held_out: Mapped[float | None] = mapped_column(Float)
    x: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcTime)
    __table_args__ = (Index("ix_memory_measures_run", "run_id"),)


class MeasuredRunRow(Base):
    """A run whose outcome of a kind was counted; its key is why none is counted twice. Source: ours."""

    __tablename__ = "measured_runs"
    run_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    agent: Mapped[str] = mapped_column(String(100))
    suite: Mapped[str] = mapped_column(String(200))
    vaults: Mapped[list[str]] = mapped_column(Json)
    units: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[int] = mapped_column(BigInteger)
    lift: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcTime)


class OutcomeMeanRow(Base):
    """The sum of the outcomes that an agent had in runs that read a vault; the centre of runs of one unit. Source: ours."""

    __tablename__ = "outcome_means"
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), primary_key=True)
    agent: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    n: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(BigInteger)


class LiftRow(Base):
    """The sums of outcome with memories less outcome without, over the runs that kept one unit free. Source: ours."""

    __tablename__ = "memory_lifts"
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), primary_key=True)
    agent: Mapped[str] = mapped_column(String(100), primary_key=True)
    suite: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    n: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(BigInteger)
    squares: Mapped[int] = mapped_column(BigInteger)


class VersionRow(Base):
    """What was current from `sys_from` to `sys_to` (null: it still is)."""

    __tablename__ = "memory_versions"
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    content: Mapped[str] = mapped_column(Text)
    header: Mapped[dict[str, Any]] = mapped_column(Json)
    change: Mapped[str] = mapped_column(String(12))
    actor_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text)
    sys_from: Mapped[datetime] = mapped_column(UtcTime)
    sys_to: Mapped[datetime | None] = mapped_column(UtcTime)
    content_digest: Mapped[str] = mapped_column(String(64))
    header_digest: Mapped[str] = mapped_column(String(64))
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    redacted: Mapped[bool] = mapped_column(Boolean, default=False)


class EdgeRow(Base):
    """A typed link between two memories; after a purge it keeps the id as a stub."""

    __tablename__ = "memory_edges"
    src_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    dst_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True, index=True)
    type: Mapped[str] = mapped_column(String(20), primary_key=True)
    weight: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(UtcTime)


class SourceRow(Base):
    """Where a version of a memory came from."""

    __tablename__ = "memory_sources"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), index=True)
    version: Mapped[int] = mapped_column(Integer)
    provenance_id: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    uri: Mapped[str | None] = mapped_column(Text)
    message_id: Mapped[str | None] = mapped_column(String(300))
    role: Mapped[str | None] = mapped_column(String(40))
    span_start: Mapped[int | None] = mapped_column(Integer)
    span_end: Mapped[int | None] = mapped_column(Integer)
    quote: Mapped[str | None] = mapped_column(Text)
    occurred_at: Mapped[datetime | None] = mapped_column(UtcTime)
    model: Mapped[str | None] = mapped_column(String(300))
    digest: Mapped[str] = mapped_column(String(64))


class EntityRow(Base):
    """A node of the hypergraph: a name within one vault, with the number of memories that it is in."""

    __tablename__ = "entities"
    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"))
    key: Mapped[str] = mapped_column(String(300))
    name: Mapped[str] = mapped_column(String(300))
    degree: Mapped[int] = mapped_column(Integer)
    __table_args__ = (UniqueConstraint("vault_id", "key"),)


class IncidenceRow(Base):
    """A memory is a hyperedge over its entities: one row for each of them."""

    __tablename__ = "incidence"
    memory_seq: Mapped[int] = mapped_column(ForeignKey("memories.seq"), primary_key=True, autoincrement=False)
    entity_id: Mapped[int] = mapped_column(ForeignKey("entities.id"), primary_key=True, autoincrement=False)
    role: Mapped[str] = mapped_column(String(40))
    weight: Mapped[float] = mapped_column(Float)
    __table_args__ = (Index("ix_incidence_entity", "entity_id", "memory_seq"),)


class ProfileRow(Base):
    """A space of vectors: which encoder made them, and how the index keeps them."""

    __tablename__ = "embedding_profiles"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    slug: Mapped[str] = mapped_column(String(100), unique=True)
    provider: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(300))
    revision: Mapped[str] = mapped_column(String(100))
    dim: Mapped[int] = mapped_column(Integer)
    metric: Mapped[str] = mapped_column(String(20))
    normalise: Mapped[bool] = mapped_column(Boolean)
    prefix_doc: Mapped[str] = mapped_column(String(300))
    prefix_query: Mapped[str] = mapped_column(String(300))
    codec: Mapped[str] = mapped_column(String(20))
    codec_params: Mapped[bytes | None] = mapped_column(LargeBinary)
    measured: Mapped[dict[str, Any] | None] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(10))
    cursor: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    activated_at: Mapped[datetime | None] = mapped_column(UtcTime)
    drain_until: Mapped[datetime | None] = mapped_column(UtcTime)


class BlobRow(Base):
    """The vector of one version of a memory in one profile: float16, little-endian, no header."""

    __tablename__ = "embedding_blobs"
    memory_seq: Mapped[int] = mapped_column(ForeignKey("memories.seq"), primary_key=True, autoincrement=False)
    profile_id: Mapped[str] = mapped_column(ForeignKey("embedding_profiles.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    crc32: Mapped[int] = mapped_column(BigInteger)


class OutboxRow(Base):
    """An index operation that is still to be done; the relay reads the current row, not the event."""

    __tablename__ = "outbox"
    seq: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    memory_id: Mapped[str] = mapped_column(String(40), index=True)
    op: Mapped[str] = mapped_column(String(10))
    version: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)
    claimed_by: Mapped[str | None] = mapped_column(String(40))
    claimed_until: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str | None] = mapped_column(Text)
    # A number is never used twice, although done rows are deleted: followers go by it.
    __table_args__ = ({"sqlite_autoincrement": True},)


class ArtifactRow(Base):
    """A file made from a memory (KV blocks, an adapter); stale as soon as the memory changes."""

    __tablename__ = "artifacts"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), index=True)
    memory_version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(20))
    identity: Mapped[dict[str, Any]] = mapped_column(Json)
    location: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class SnapshotRow(Base):
    """A named moment of a vault, or the base of a branch."""

    __tablename__ = "snapshots"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), index=True)
    label: Mapped[str] = mapped_column(String(200))
    parent_id: Mapped[str | None] = mapped_column(String(40))
    branch: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(40))
    digest: Mapped[str] = mapped_column(String(64))


class SnapshotItemRow(Base):
    """Which version and state a memory had in a snapshot."""

    __tablename__ = "snapshot_items"
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(12))


class BranchRow(Base):
    """An edit on a what-if branch: it lies over the memory and is not seen on `main`. Source: memos §3.5."""

    __tablename__ = "branch_rows"
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    memory_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    base_version: Mapped[int | None] = mapped_column(Integer)
    draft: Mapped[dict[str, Any]] = mapped_column(Json)
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    at: Mapped[datetime] = mapped_column(UtcTime)


class ReviewRow(Base):
    """Something a person should decide: a quarantined memory, a conflict, a proposed retirement."""

    __tablename__ = "reviews"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    memory_id: Mapped[str] = mapped_column(ForeignKey("memories.id"), index=True)
    other_id: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    decided_by: Mapped[str | None] = mapped_column(String(40))


class JobRow(Base):
    """Work on the store that takes longer than a request; executed on the durable queue."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(30))
    args: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(10), index=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class AuditRow(Base):
    """Who did what, or was refused. Each chain (a vault, or a user) is linked by hashes."""

    __tablename__ = "audit_log"
    seq: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    chain: Mapped[str] = mapped_column(String(40))
    n: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcTime)
    actor_id: Mapped[str] = mapped_column(String(40), index=True)
    context: Mapped[str | None] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(40))
    object_type: Mapped[str] = mapped_column(String(20))
    object_id: Mapped[str] = mapped_column(String(200))
    decision: Mapped[str] = mapped_column(String(5))
    rule: Mapped[str] = mapped_column(String(60))
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    __table_args__ = (UniqueConstraint("chain", "n"),)


class AuditHead(Base):
    """The last link of a chain; its row is the lock that keeps the chain one line."""

    __tablename__ = "audit_heads"
    chain: Mapped[str] = mapped_column(String(40), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


class SubscriptionRow(Base):
    """Somebody follows the changes of a vault from a cursor on."""

    __tablename__ = "subscriptions"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id"), index=True)
    subscriber_id: Mapped[str] = mapped_column(String(40))
    filter: Mapped[dict[str, Any]] = mapped_column(Json)
    cursor: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
