"""The words of the store: a MemCube and its header, what is written, what is asked, what comes back.

Frozen values without behaviour; the tables hold the same facts (memory/tables.py), the wire has its own models beside
the routes. All times carry the UTC zone. Source: memos §2; contract §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

Kind = Literal["plaintext", "activation", "parametric"]
SemanticType = Literal[
    "fact",
    "preference",
    "event",
    "document",
    "summary",
    "skill",
    "tool_trace",
    "task_prompt",
    "experience",
    "concept",
    "lesson",
    "note",
    "file",
    "memory_point",
]
Origin = Literal["user_input", "inference_extraction", "external_retrieval", "finetune", "import"]
State = Literal["generated", "quarantined", "activated", "merged", "archived", "frozen", "expired", "deleted"]
EdgeType = Literal["MERGED_TO", "SUPERSEDES", "DERIVED_FROM", "PARENT", "CONTRADICTS", "RELATES"]
ChangeKind = Literal["create", "append", "merge", "overwrite", "feedback", "conflict", "restore", "state", "edit"]
SourceKind = Literal["message", "document", "url", "tool", "model", "run"]
Verb = Literal["read", "write", "share", "delete"]
Mode = Literal["hybrid", "dense", "lexical", "graph"]
VectorState = Literal["pending", "synced", "failed", "none"]
VaultKind = Literal["private", "shared", "expert", "pipeline_cache"]

LIVE: frozenset[State] = frozenset({"generated", "quarantined", "activated", "frozen"})
SEARCHABLE: frozenset[State] = frozenset({"generated", "activated", "frozen"})
# What `as_of` in the past may still have to find: these keep their points in the index.
INDEXED: frozenset[State] = frozenset({"generated", "activated", "frozen", "merged", "archived"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and in which context (an agent, app or session label that a grant may be bound to)."""

    user_id: str
    context: str | None = None
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a memory came from: one span of one message, document or run."""

    kind: SourceKind
    uri: str | None = None
    message_id: str | None = None
    role: str | None = None
    span_start: int | None = None
    span_end: int | None = None
    quote: str | None = None
    occurred_at: datetime | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A memory that somebody wants stored. `entities` become nodes of the hypergraph.

    `session_id` and `position` say where in a conversation or document it stands: neighbours are context for recall.
    Left out, the position is the next one of the session.
    """

    content: str
    semantic_type: SemanticType = "fact"
    kind: Kind = "plaintext"
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    subject: str | None = None
    attribute: str | None = None
    title: str | None = None
    speaker: str | None = None
    entities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sensitivity: tuple[str, ...] = ()
    origin: Origin = "user_input"
    confidence: float = 1.0
    priority: int = 0
    pinned: bool = False
    watermark: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    occurred_at: datetime | None = None
    session_id: str | None = None
    position: int | None = None
    state: State = "activated"
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class MemCube:
    """One memory with its header, as it is now or as it was (`version`)."""

    id: str
    seq: int
    vault_id: str
    version: int
    state: State
    content: str
    semantic_type: SemanticType
    kind: Kind
    data: Mapping[str, JsonValue]
    subject: str | None
    attribute: str | None
    title: str | None
    speaker: str | None
    entities: tuple[str, ...]
    tags: tuple[str, ...]
    sensitivity: tuple[str, ...]
    origin: Origin
    provenance_id: str
    confidence: float
    priority: int
    pinned: bool
    watermark: str | None
    valid_from: datetime | None
    valid_to: datetime | None
    occurred_at: datetime | None
    recorded_at: datetime
    updated_at: datetime
    superseded_at: datetime | None
    expires_at: datetime | None
    session_id: str | None
    position: int | None
    created_by: str
    deleted_at: datetime | None
    purge_after: datetime | None
    vector_state: VectorState
    embedded_version: int | None
    uses: int = 0
    last_used_at: datetime | None = None
    heat: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit changes; a field left out (None in `fields`' keys: absent) stays. Keys are those of `Draft`."""

    fields: Mapping[str, object]
    kind: ChangeKind = "edit"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One link of a memory's history. `redacted` after a purge: the digests stay, so the chain still verifies."""

    memory_id: str
    version: int
    content: str
    header: Mapping[str, JsonValue]
    change: ChangeKind
    actor_id: str
    reason: str
    sys_from: datetime
    sys_to: datetime | None
    prev_hash: str
    hash: str
    redacted: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """A typed link from one memory to another."""

    src_id: str
    dst_id: str
    type: EdgeType
    weight: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Vault:
    """A named set of memories with one owner."""

    id: str
    owner_id: str
    name: str
    kind: VaultKind
    default_ttl_s: int | None
    default_sensitivity: tuple[str, ...]
    explore: float | None
    version: int
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody else may do in a vault; `None` for user or context means any."""

    id: str
    vault_id: str
    grantee_id: str | None
    context: str | None
    verbs: frozenset[Verb]
    masked_tags: tuple[str, ...]
    expires_at: datetime | None
    max_reads: int | None
    reads_used: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. `vaults` are ids or the caller's own names; empty means the caller's `default` vault.

    `as_of`: what the store believed then (system time). `at`: what was true then (world time).
    `max_tokens` bounds the text that is handed on; None: only `k` does. `explore` 0: measured usefulness does not rank;
    None: as the vault says. `seed` makes the ranking draw from the posteriors (Thompson); None: their means.
    """

    text: str
    vaults: tuple[str, ...] = ()
    k: int = 10
    mode: Mode = "hybrid"
    kinds: tuple[SemanticType, ...] = ()
    tags: tuple[str, ...] = ()
    session_id: str | None = None
    states: tuple[State, ...] = ()
    as_of: datetime | None = None
    at: datetime | None = None
    max_tokens: int | None = None
    min_score: float | None = None
    diverse: bool = True
    explain: bool = False
    explore: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class RecallHit:
    """A memory that was found, with its score, the score and rank of each part, and a reason in words."""

    memory: MemCube
    score: float
    scores: Mapping[str, float]
    ranks: Mapping[str, int]
    why: str


@dataclass(frozen=True, slots=True)
class Recall:
    """What a search gave. `degraded` names the indexes that could not be asked; `dropped` counts hits that the late
    check refused (expired, out of scope, not true at that time)."""

    hits: tuple[RecallHit, ...]
    degraded: tuple[str, ...] = ()
    dropped: int = 0
    tokens: int = 0
