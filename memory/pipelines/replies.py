"""The objects that a model answers with, and what is made sure of before anything is done with them.

The fields are those of memos §3.14; an unknown one is refused, and the model is asked again. Times are read leniently,
because a model that knows only the year should say only the year. Signs that no text has become spaces.
Source: memos §3.14 (L1 to L6, L11).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from memory.types import SemanticType

MOMENT: Final = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Reply(BaseModel):
    """Closed to unknown fields, so that the server may bind the model to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, said: Any) -> Any:
        return _without_control(said)


class Span(Reply):
    """Characters `[start, end)` of one message."""

    message_id: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Extracted(Reply):
    """One claim of L1."""

    key: str
    text: str = Field(min_length=1, max_length=2000)
    kind: Literal["long_term", "user"]
    tags: list[str] = Field(default=[], max_length=20)
    subject: str | None = Field(default=None, max_length=300)
    attribute: str | None = Field(default=None, max_length=300)
    valid_from: str | None = None
    confidence: float = Field(ge=0.0, le=1.0)
    span: Span


class Extraction(Reply):
    """L1: what is worth remembering in a window. A summary may be given; the raw memory itself is kept."""

    memories: list[Extracted] = Field(max_length=50)
    summary: str = ""


class Period(Reply):
    """A time that a question asks about."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    since: str | None = Field(default=None, alias="from")
    until: str | None = Field(default=None, alias="to")


class ParsedQuery(Reply):
    """L2: a question as it is searched for."""

    queries: list[str] = Field(max_length=3)
    entities: list[str] = []
    time: Period = Field(default_factory=Period)
    kinds: list[SemanticType] = []
    intent: str = ""


Label = Literal["contradictory", "redundant", "temporal_update", "independent"]


class PairLabel(Reply):
    """L3: how two memories relate, with a quote from each."""

    label: Label
    reason: str
    quotes: list[str] = Field(min_length=2, max_length=2)
    newer: Literal["a", "b", "unknown"]


class Fusion(Reply):
    """L4: the one statement that is right, or that nothing settles it."""

    resolved: bool
    text: str
    kept_claims: list[str] = []
    dropped_claims: list[str] = []


class Correction(Reply):
    """One thing that follows from a feedback."""

    validity: bool
    attitude: Literal["satisfied", "dissatisfied", "neutral"]
    corrected_text: str | None = Field(default=None, max_length=2000)
    memory_ids: list[str] = []


class Judgement(Reply):
    """L6: everything that follows from a feedback."""

    items: list[Correction] = Field(max_length=20)


class Summary(Reply):
    """L11: a text over several memories."""

    title: str = Field(min_length=1, max_length=300)
    text: str = Field(min_length=1, max_length=4000)
    child_ids: list[str] = Field(min_length=1)


def _without_control(said: Any) -> Any:
    match said:
        case str():
            return CONTROL.sub(" ", said)
        case list():
            return [_without_control(item) for item in said]
        case dict():
            return {key: _without_control(value) for key, value in said.items()}
        case _:
            return said


def moment(text: str | None) -> datetime | None:
    """A time as a model writes it: full, or a date, a month or a year (then their beginning, in UTC); else None."""
    if not text:
        return None
    plain = text.strip()
    try:
        parts = MOMENT.fullmatch(plain)
        if parts is not None:
            return datetime(int(parts[1]), int(parts[2] or 1), int(parts[3] or 1), tzinfo=UTC)
        found = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
