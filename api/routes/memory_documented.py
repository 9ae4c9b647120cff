"""What the routes of memories answer, for `/openapi.json`; the conversions stand in memory_wire.py. Source: contract §4."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from api.routes.documented import Documented, Problem
from memory.types import ChangeKind, EdgeType, Kind, Origin, SemanticType, SourceKind, State, VectorState


class Uplift(Documented):
    """What showing the memory was measured to change: the mean over `n` problems and its 95 % interval."""

    n: int
    effect: float
    low: float | None
    high: float | None


class MemoryBody(Documented):
    """A memory. `content` is empty for one that was deleted or has expired."""

    id: str
    vault: str
    kind: Kind
    semantic_type: SemanticType
    content: str
    data: dict[str, JsonValue]
    title: str | None
    subject: str | None
    attribute: str | None
    speaker: str | None
    entities: list[str]
    tags: list[str]
    sensitivity: list[str]
    state: State
    version: int
    origin: Origin
    provenance: str
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
    vector_state: VectorState
    uses: int
    last_used_at: datetime | None
    heat: float
    uplift: Uplift | None


class MemoryList(Documented):
    items: list[MemoryBody]
    next: str | None


class MemoryMade(MemoryBody):
    """`created` is false when the vault already had it; `admission` says how it was taken in, `job` what follows."""

    created: bool
    admission: str
    job: str | None


class ErrorBody(Documented):
    code: str
    message: str
    param: str | None


class BatchItem(Documented):
    """What became of one memory of a batch: `memory` is there exactly when it is stored."""

    index: int
    status: int
    created: bool
    admission: str
    memory: MemoryBody | None
    error: ErrorBody | None


class MemoriesMade(Documented):
    items: list[BatchItem]
    next: None
    job: str | None


class Hit(Documented):
    memory: MemoryBody
    score: float
    scores: dict[str, float]
    ranks: dict[str, int]
    why: str


class Hits(Documented):
    """`degraded` names the indexes that could not be asked; `dropped` counts what the late check took out."""

    hits: list[Hit]
    degraded: list[str]
    dropped: int
    tokens: int


class VersionBody(Documented):
    version: int
    change: ChangeKind
    reason: str
    actor: str
    from_: datetime = Field(alias="from")
    to: datetime | None
    content: str | None
    header: dict[str, JsonValue]
    hash: str
    prev_hash: str
    redacted: bool


class VersionList(Documented):
    items: list[VersionBody]
    next: int | None


class FieldChange(Documented):
    from_: JsonValue = Field(alias="from")
    to: JsonValue


class DiffBody(Documented):
    """`content` is a unified diff of the texts, `fields` the header fields that differ."""

    id: str
    from_: int = Field(alias="from")
    to: int
    content: str
    fields: dict[str, FieldChange]


class SourceGiven(Documented):
    version: int
    kind: SourceKind
    uri: str | None
    message_id: str | None
    role: str | None
    span_start: int | None
    span_end: int | None
    quote: str | None
    occurred_at: datetime | None
    model: str | None


class EdgeBody(Documented):
    from_: str = Field(alias="from")
    to: str
    type: EdgeType
    weight: float
    at: datetime


class ProvenanceBody(Documented):
    id: str
    provenance: str
    origin: Origin
    created_by: str
    recorded_at: datetime
    sources: list[SourceGiven]
    links: list[EdgeBody]


class LinkBody(Documented):
    from_: str = Field(alias="from")
    to: str
    type: EdgeType
    weight: float


class DeletedBody(Documented):
    """A deleted memory: gone from sight at once, erased at `purge_after`."""

    id: str
    version: int
    state: State
    deleted_at: datetime | None
    purge_after: datetime | None


class ReceiptBody(Documented):
    """What an erasure removed. `pending` is still to be done by the index; `runs` read the memory and may quote it."""

    id: str
    purged: Literal[True]
    at: datetime
    removed: dict[str, int]
    stale: list[str]
    files: list[str]
    runs: list[str]
    pending: list[str]


class VersionSeen(Documented):
    version: int
    content: str | None
    header: dict[str, JsonValue]


class StaleProblem(Problem):
    """The edit was of an older version. `seen` is the one that was named, null when there is no such version."""

    seen: VersionSeen | None = None
    current: VersionSeen | None = None
    diff: DiffBody | None = None
