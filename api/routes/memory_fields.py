"""Fields that several requests share: ids, names, times. What a field may hold in the end is the store's to say.

Source: contract §4.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from runtime.errors import UnknownName

MAX_CONTENT = 1_000_000
MAX_ASKED = 10_000
MAX_BATCH = 500
_MEMORY_ID = re.compile(r"mem_[0-9a-f]{32}")


def not_found(kind: str, ref: str) -> UnknownName:
    """The same words for what never was and for what is somebody else's."""
    return UnknownName(f"{kind} {ref!r}: not found; check the id, and that this key may read it")


def _memory_id(memory_id: str) -> str:
    # What cannot be an id is as unknown as one that never was, and never reaches the database.
    if not _MEMORY_ID.fullmatch(memory_id):
        raise not_found("memory", memory_id)
    return memory_id


def _vault_ref(ref: str) -> str:
    if not storable(ref):
        raise not_found("vault", ref)
    return ref


def storable(text: str) -> bool:
    """Whether every database holds this text as it is: no NUL, no half of a surrogate pair."""
    try:
        return "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def storable_text(text: str) -> str:
    """Refuse what no database holds as it is, as a model validator does."""
    if not storable(text):
        raise ValueError("expected text without NUL and without half of a surrogate pair")
    return text


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("expected a time as text, such as 2027-01-31T09:00:00Z")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{error}; expected a time such as 2027-01-31T09:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("has no zone; append 'Z' for UTC")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Names = Annotated[list[Name], Field(max_length=100)]
Words = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(storable_text)]
Reason = Annotated[str, Field(max_length=2000), AfterValidator(storable_text)]
VersionNumber = Annotated[int, Field(ge=1, le=10**9)]
MemoryId = Annotated[str, Path(max_length=100), AfterValidator(_memory_id)]
MemoryRef = Annotated[str, Field(max_length=100), AfterValidator(_memory_id)]
VaultRef = Annotated[str, Path(max_length=200, description="id, or your own name for it"), AfterValidator(_vault_ref)]
VaultName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_vault_ref)]
VaultQuery = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="id, or your own name for it; default: `default`"),
]
PageSize = Annotated[int, Query(ge=1, le=500)]
