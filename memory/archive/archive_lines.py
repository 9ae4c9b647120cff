"""What stands in an archive, line by line: the schema that is written and that is checked before anything is imported.

    manifest.json        what the archive is of, and the digest of every file
    memories.jsonl       a memory as it is, one in each line, the oldest first
    versions.jsonl       its versions, the oldest first; the last one has no text, because that stands in memories.jsonl
    sources.jsonl        where each version came from
    edges.jsonl          links between memories of the archive
    grants.jsonl         who else might do what in the vault; for people to read, never applied
    artifacts.jsonl      files made from a memory, with their digests; the files lie under artifacts/
    vectors.safetensors  `lines`: numbers (from 0) of lines of memories.jsonl; `vectors`: one float16 row for each

All files but the first are in the order of memories.jsonl, so they are read beside each other. Times are in UTC.
Source: memos §3.11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from memory.types import ChangeKind, EdgeType, Kind, Origin, SemanticType, SourceKind, State, VaultKind, Verb

FORMAT: Final = "mneme-archive"
FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MEMORIES: Final = "memories.jsonl"
VERSIONS: Final = "versions.jsonl"
SOURCES: Final = "sources.jsonl"
EDGES: Final = "edges.jsonl"
GRANTS: Final = "grants.jsonl"
ARTIFACTS: Final = "artifacts.jsonl"
VECTORS: Final = "vectors.safetensors"
LINES: Final = (MEMORIES, VERSIONS, SOURCES, EDGES, GRANTS, ARTIFACTS)
ARTIFACT_FILE: Final = r"artifacts/art_[0-9a-f]{32}\.safetensors"
ID: Final = r"mem_[0-9a-f]{32}"


def _utc(value: object) -> datetime:
    # One time is written in one way only, or the header of a version would change by being read and written.
    if not isinstance(value, str):
        raise ValueError("expected a time as text, such as 2027-01-31T09:00:00+00:00")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None or moment.astimezone(UTC).isoformat() != value:
        raise ValueError("expected a time in UTC, such as 2027-01-31T09:00:00+00:00")
    return moment


Time = Annotated[datetime, BeforeValidator(_utc)]
Id = Annotated[str, Field(pattern=f"^{ID}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=300)]
Number = Annotated[int, Field(ge=1, lt=2**31)]


class Line(BaseModel):
    """These fields, of these types, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Header(Line):
    """What a version keeps of a memory beside its text (memory/rows.py: `HEADER`)."""

    state: State
    semantic_type: SemanticType
    kind: Kind
    data: dict[str, JsonValue]
    subject: Name | None
    attribute: Name | None
    title: str | None
    speaker: Name | None
    entities: list[Name]
    tags: list[Name]
    sensitivity: list[Name]
    origin: Origin
    confidence: Annotated[float, Field(ge=0.0, le=1.0)]
    priority: Annotated[int, Field(ge=-2, le=2)]
    pinned: bool
    watermark: Name | None
    valid_from: Time | None
    valid_to: Time | None
    occurred_at: Time | None
    superseded_at: Time | None
    expires_at: Time | None
    session_id: Annotated[str, Field(max_length=200)] | None
    position: Annotated[int, Field(ge=0, lt=2**31)] | None
    deleted_at: Time | None
    purge_after: Time | None

    def told(self) -> dict[str, JsonValue]:
        """The header as a version row keeps it."""
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in self}


class MemoryLine(Line):
    """A memory as it is."""

    id: Id
    version: Number
    content: str
    header: Header
    placed: bool
    created_by: Annotated[str, Field(max_length=40)]
    uses: Annotated[int, Field(ge=0, lt=2**31)]
    last_used_at: Time | None


class VersionLine(Line):
    """A version. `content` and `header` are null in the last one, and in one that was `redacted`."""

    memory: Id
    version: Number
    content: str | None
    header: Header | None
    change: ChangeKind
    actor: Annotated[str, Field(max_length=40)]
    reason: str
    sys_from: Time
    sys_to: Time | None
    hash: Sha256
    redacted: bool


class SourceLine(Line):
    """Where a version came from."""

    memory: Id
    version: Number
    kind: SourceKind
    uri: str | None
    message_id: Name | None
    role: Annotated[str, Field(max_length=40)] | None
    span_start: Annotated[int, Field(ge=0, lt=2**31)] | None
    span_end: Annotated[int, Field(ge=0, lt=2**31)] | None
    quote: str | None
    occurred_at: Time | None
    model: Name | None


class EdgeLine(Line):
    """A link between two memories of the archive."""

    src: Id
    dst: Id
    type: EdgeType
    weight: Annotated[float, Field(allow_inf_nan=False)]
    at: Time


class GrantLine(Line):
    """What somebody else might do in the vault; null: anybody, or in any context."""

    user: str | None
    context: str | None
    verbs: list[Verb]
    masked_tags: list[str]
    expires_at: Time | None
    max_reads: int | None


class ArtifactLine(Line):
    """A file made from a version of a memory; it lies in the archive under artifacts/."""

    id: Annotated[str, Field(pattern="^art_[0-9a-f]{32}$")]
    memory: Id
    version: Number
    kind: Annotated[str, Field(max_length=20)]
    identity: dict[str, JsonValue]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class FileEntry(Line):
    """A file of the archive. `blocks` are crc32 of every hundred lines: they tell where a damaged file is damaged."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256
    lines: Annotated[int, Field(ge=0)] | None = None
    blocks: list[int] = []


class VaultEntry(Line):
    """The vault that was exported."""

    id: Annotated[str, Field(max_length=40)]
    name: str
    kind: VaultKind
    default_ttl_s: int | None
    default_sensitivity: list[str]


class ProfileEntry(Line):
    """The space of the vectors."""

    slug: str
    model: str
    revision: str
    dim: Annotated[int, Field(ge=1)]


class Manifest(Line):
    """What the archive is. `digest` covers all of it but `made_at` and itself; `signature` tells whoever has the key of the
    installation that the archive was made there."""

    format: Literal["mneme-archive"]
    version: Literal[1]
    made_at: Time
    vault: VaultEntry
    profile: ProfileEntry | None
    counts: dict[str, int]
    files: dict[str, FileEntry]
    digest: Sha256
    signature: Sha256
