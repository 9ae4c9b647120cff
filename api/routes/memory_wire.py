"""What clients send about memories. Source: contract §4; memos §2.4.

The shapes are checked here, what a field may hold in the store, so that every door refuses the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag

from api.errors import FORMS
from api.openai.wire import Strict
from api.routes.memory_fields import (
    MAX_ASKED,
    MAX_BATCH,
    MAX_CONTENT,
    MemoryRef,
    Moment,
    Name,
    Names,
    Reason,
    VaultName,
    VersionNumber,
    Words,
    storable_text,
)
from memory.adding import Wait
from memory.types import (
    Change,
    Draft,
    EdgeType,
    Mode,
    Origin,
    SemanticType,
    Source,
    SourceKind,
    State,
)
from memory.types import Query as Asked
from runtime.errors import InvalidInput


class SourceBody(Strict):
    """Where a memory came from."""

    kind: SourceKind
    uri: Annotated[str, Field(max_length=4000), AfterValidator(storable_text)] | None = None
    message_id: Words | None = None
    role: Annotated[str, Field(max_length=40), AfterValidator(storable_text)] | None = None
    span_start: int | None = Field(None, ge=0, lt=2**31)
    span_end: int | None = Field(None, ge=0, lt=2**31)
    quote: Annotated[str, Field(max_length=20_000), AfterValidator(storable_text)] | None = None
    occurred_at: Moment | None = None
    model: Words | None = None

    def source(self) -> Source:
        return Source(**dict(self))


class Fields(Strict):
    """What a person may say about a memory beside its text."""

    semantic_type: SemanticType = "fact"
    data: dict[str, JsonValue] = Field({})
    subject: Name | None = None
    attribute: Name | None = None
    title: str | None = Field(None, max_length=3000)
    speaker: Name | None = None
    entities: Names = Field([])
    tags: Names = Field([])
    sensitivity: Names = Field([])
    confidence: float = Field(1.0, ge=0, le=1)
    priority: int = Field(0, ge=-2, le=2)
    pinned: bool = False
    watermark: Name | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    expires_at: Moment | None = None
    occurred_at: Moment | None = None
    session_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    position: int | None = Field(None, ge=0, lt=2**31)


class MemoryDraft(Fields):
    """A memory to be stored."""

    content: str = Field(min_length=1, max_length=MAX_CONTENT)
    kind: Literal["plaintext"] = "plaintext"
    origin: Origin = "user_input"
    sources: list[SourceBody] = Field([], max_length=100)

    def draft(self) -> Draft:
        given = {name: getattr(self, name) for name in (*Fields.model_fields, "content", "kind", "origin")}
        lists = {name: tuple(given[name]) for name in ("entities", "tags", "sensitivity")}
        return Draft(**{**given, **lists, "sources": tuple(source.source() for source in self.sources)})


class AddOne(MemoryDraft):
    """`POST /api/memories` with one memory."""

    vault: VaultName | None = Field(None, description="id, or your own name for it; default: `default`")
    wait: Wait | None = None


class AddMany(Strict):
    """`POST /api/memories` with several, which are stored together."""

    memories: list[MemoryDraft] = Field(min_length=1, max_length=MAX_BATCH)
    vault: VaultName | None = Field(None, description="id, or your own name for it; default: `default`")
    wait: Wait | None = None


def _form(body: Any) -> str:
    many = "memories" in body if isinstance(body, dict) else isinstance(body, AddMany)
    return FORMS[1] if many else FORMS[0]


AddRequest = Annotated[Annotated[AddOne, Tag(FORMS[0])] | Annotated[AddMany, Tag(FORMS[1])], Discriminator(_form)]


class EditRequest(Fields):
    """`PATCH /api/memories/{id}`: what is left out stays, null takes a value away.

    `mode`: `overwrite` replaces what is given, `append` adds `content` below the text that is there.
    """

    content: str | None = Field(None, min_length=1, max_length=MAX_CONTENT)
    mode: Literal["overwrite", "append"] = "overwrite"
    reason: Reason = ""

    def change(self) -> Change:
        """The edit. Raises `InvalidInput` when there is none."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"mode", "reason"}}
        if not given:
            raise InvalidInput("the edit is empty: expected at least one field to change", param="body")
        if given.get("content", "") is None:
            raise InvalidInput("content: cannot be taken away; delete the memory instead", param="content")
        for name in ("entities", "tags", "sensitivity"):
            if name in given:
                given[name] = tuple(given[name])
        return Change(given, "append" if self.mode == "append" else "edit", self.reason)


class SearchRequest(Strict):
    """`POST /api/memories/search`."""

    query: str = Field(min_length=1, max_length=MAX_ASKED)
    vaults: list[VaultName] = Field([], max_length=64, description="ids or your own names; empty: `default`")
    k: int = Field(10, ge=1, le=200)
    kinds: list[SemanticType] = Field([], max_length=20)
    tags: Names = Field([])
    mode: Mode = "hybrid"
    session_id: Name | None = None
    states: list[State] = Field([], max_length=10)
    as_of: Moment | None = Field(None, description="what the store believed then")
    at: Moment | None = Field(None, description="what was true then")
    max_tokens: int | None = Field(None, ge=1, le=10**7)
    min_score: float | None = Field(None, ge=0, le=10)
    diverse: bool = True
    explain: bool = False
    explore: float | None = Field(None, ge=0, le=1, description="0: measured usefulness does not rank")
    seed: int | None = Field(None, ge=0, lt=2**63, description="draw the ranking's doubt; default: its means")

    def asked(self) -> Asked:
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "query"}
        lists = {name: tuple(given[name]) for name in ("vaults", "kinds", "tags", "states")}
        return Asked(text=self.query, **{**given, **lists})


class MergeRequest(Strict):
    """`POST /api/memories/merge`: the richest stays, the others are merged into it."""

    ids: list[MemoryRef] = Field(min_length=2, max_length=50)
    content: str | None = Field(None, min_length=1, max_length=MAX_CONTENT, description="default: its own text")
    reason: Reason = ""


class RestoreRequest(Strict):
    """`POST /api/memories/{id}/restore`."""

    version: VersionNumber


class StateRequest(Strict):
    """`POST /api/memories/{id}/state`."""

    event: Literal["approve", "reject", "quarantine", "archive", "restore", "freeze", "unfreeze"]
    reason: Reason = ""


class SupersedeRequest(Strict):
    """`POST /api/memories/{id}/supersede`."""

    by: MemoryRef
    reason: Reason = ""


class LinkRequest(Strict):
    """`POST /api/memories/{id}/link`."""

    to: MemoryRef
    type: EdgeType = "RELATES"
    weight: float = Field(1.0, ge=0, le=1000)


class TransformRequest(Strict):
    """`POST /api/memories/{id}/transform`."""

    to: Literal["plaintext", "activation", "parametric"]


class FeedbackRequest(Strict):
    """`POST /api/memories/{id}/feedback`: did it help, or what is wrong with it, in words."""

    helpful: bool | None = None
    text: Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(storable_text)] | None = None
    run_id: Annotated[str, Field(max_length=100), AfterValidator(storable_text)] | None = None
