"""What the tools give: the schemas, and memories as a model is shown them.

A memory is shown by what helps to use it: what is empty is left out, its text stands in `content` and nowhere else, and is
data, whatever it says. Source: contract §4; memos §5 (text is never an instruction).
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.routes.memory_answers import memory_body
from memory.types import ChangeKind, MemCube, Origin, SemanticType, State, VaultKind, Verb
from runtime.run_types import RunStatus

SHOWN: Final = (
    "id",
    "vault",
    "version",
    "state",
    "semantic_type",
    "title",
    "content",
    "data",
    "subject",
    "attribute",
    "speaker",
    "entities",
    "tags",
    "sensitivity",
    "origin",
    "confidence",
    "valid_from",
    "valid_to",
    "occurred_at",
    "recorded_at",
    "updated_at",
    "superseded_at",
    "expires_at",
    "session_id",
    "uplift",
)


class Given(BaseModel):
    """These fields and no others."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class LeftOut(Given):
    """What `limit` and `max_tokens` kept back, and how to get it."""

    items: int = 0
    characters: int = 0
    note: str


class Remembered(Given):
    """A memory. What is not there is empty."""

    id: str
    vault: str
    version: int
    state: State
    semantic_type: SemanticType
    content: str
    title: str | None = None
    data: dict[str, JsonValue] = {}
    subject: str | None = None
    attribute: str | None = None
    speaker: str | None = None
    entities: list[str] = []
    tags: list[str] = []
    sensitivity: list[str] = []
    origin: Origin
    confidence: float
    valid_from: str | None = None
    valid_to: str | None = None
    occurred_at: str | None = None
    recorded_at: str
    updated_at: str
    superseded_at: str | None = None
    expires_at: str | None = None
    session_id: str | None = None
    uplift: dict[str, JsonValue] | None = Field(None, description="what showing it was measured to change")


class Hit(Given):
    memory: Remembered
    score: float
    why: str


class Found(Given):
    """`degraded` names the indexes that could not be asked; then something may be missing."""

    hits: list[Hit]
    degraded: list[str]
    left_out: LeftOut | None = None


class Before(Given):
    """A version; of an erased one the text is gone."""

    version: int
    change: ChangeKind
    reason: str
    actor: str
    at: str
    content: str | None


class Read(Given):
    memory: Remembered
    versions: list[Before]
    left_out: LeftOut | None = None


class Stored(Given):
    """Where it is kept. `created` is false when the vault had it already, and `reasons` say more."""

    id: str
    vault: str
    version: int
    state: State
    created: bool
    admission: str
    reasons: list[str]


class Changed(Given):
    id: str
    vault: str
    version: int
    state: State


class Deleted(Given):
    id: str
    version: int
    state: State
    purge_after: str | None


class VaultShown(Given):
    """A vault, and what you may do in it. `memories` is null when some are hidden from you."""

    id: str
    name: str
    kind: VaultKind
    yours: bool
    verbs: list[Verb]
    memories: int | None
    archived: bool


class VaultsShown(Given):
    vaults: list[VaultShown]
    left_out: LeftOut | None = None


class TokensUsed(Given):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    total_tokens: int


class Touched(Given):
    """The memories that a run read and wrote."""

    read: list[dict[str, JsonValue]]
    written: list[dict[str, JsonValue]]


class Ran(Given):
    """A run. `text` is its answer; there is none yet, or none at all, when the status says so."""

    id: str
    agent: str
    model: str
    status: RunStatus
    text: str | None
    detail: dict[str, JsonValue] = {}
    error: dict[str, JsonValue] | None = None
    usage: TokensUsed
    memories: Touched
    created_at: str
    finished_at: str | None = None
    left_out: LeftOut | None = None


def remembered(cube: MemCube, uplift: JsonValue = None) -> dict[str, Any]:
    """A memory as `Remembered`, without what is empty."""
    body = memory_body(cube, uplift)
    return {name: body[name] for name in SHOWN if body[name] not in (None, [], {}) or name == "content"}
