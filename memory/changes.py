"""Drafts and edits as they may be stored: every field checked, defaults of the vault filled in. Pure.

Every writer comes through here, a model no less than a person. Source: memos §2.1, §2.2; contract §4.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from memory.payloads import checked
from memory.types import LIVE, Change, Draft, Kind, MemCube, Origin, SemanticType, Vault
from runtime.errors import InvalidInput

MAX_CONTENT = 1_000_000
MAX_NAME = 300
MAX_SESSION = 200
MAX_ITEMS = 100
EDITABLE = frozenset(item.name for item in fields(Draft)) - {"sources", "state", "origin", "kind"}
REQUIRED = frozenset(
    {"content", "semantic_type", "data", "entities", "tags", "sensitivity", "confidence", "priority", "pinned"}
)
NAMES = ("subject", "attribute", "speaker", "watermark")
LISTS = ("entities", "tags", "sensitivity")
TIMES = ("valid_from", "valid_to", "expires_at", "occurred_at")


def admissible(draft: Draft, vault: Vault, now: datetime) -> Draft:
    """The draft with the defaults of its vault. Raises `InvalidInput` naming the field."""
    draft = replace(draft, **_checked({item.name: getattr(draft, item.name) for item in fields(Draft)}))
    _one_of("semantic_type", draft.semantic_type, get_args(SemanticType))
    _one_of("origin", draft.origin, get_args(Origin))
    _one_of("kind", draft.kind, get_args(Kind))
    _one_of("state", draft.state, sorted(LIVE))
    expires = draft.expires_at
    if expires is None and vault.default_ttl_s is not None:
        expires = now + timedelta(seconds=vault.default_ttl_s)
    sensitivity = tuple(dict.fromkeys((*draft.sensitivity, *vault.default_sensitivity)))
    data = checked(draft.semantic_type, draft.data)
    _ordered(draft.valid_from, draft.valid_to)
    return replace(draft, expires_at=expires, sensitivity=sensitivity, data=data)


def applied(cube: MemCube, change: Change) -> dict[str, Any]:
    """The fields that the edit gives the memory. Raises `InvalidInput` for an unknown or unusable one."""
    unknown = sorted(change.fields.keys() - EDITABLE)
    if unknown:
        raise InvalidInput(f"{unknown[0]!r}: cannot be changed; expected some of {sorted(EDITABLE)}", param=unknown[0])
    if not change.fields:
        raise InvalidInput("the edit is empty: expected at least one field to change", param="fields")
    new = _checked(dict(change.fields))
    if change.kind == "append" and "content" in new:
        new["content"] = plain("content", f"{cube.content}\n{new['content']}", MAX_CONTENT)
    semantic_type = new.get("semantic_type", cube.semantic_type)
    _one_of("semantic_type", semantic_type, get_args(SemanticType))
    if "data" in new or "semantic_type" in new:
        new["data"] = checked(semantic_type, new.get("data", cube.data))
    _ordered(new.get("valid_from", cube.valid_from), new.get("valid_to", cube.valid_to))
    return new


def _one_of(param: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise InvalidInput(f"{param} {value!r}: expected one of {list(known)}", param=param)


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(values)
    for name in sorted(REQUIRED & out.keys()):
        if out[name] is None:
            raise InvalidInput(f"{name}: cannot be taken away; expected a value", param=name)
    if "content" in out:
        out["content"] = plain("content", out["content"], MAX_CONTENT)
        if not out["content"].strip():
            raise InvalidInput("content: is empty; expected the text of the memory", param="content")
    if out.get("title") is not None:
        out["title"] = plain("title", out["title"], 10 * MAX_NAME)
    for name in NAMES:
        if out.get(name) is not None:
            out[name] = plain(name, out[name], MAX_NAME).strip()
            if not out[name]:
                raise InvalidInput(f"{name}: is empty; expected a name, or leave it out", param=name)
    if out.get("session_id") is not None:
        out["session_id"] = plain("session_id", out["session_id"], MAX_SESSION)
    for name in LISTS:
        if name in out:
            out[name] = _names(name, out[name])
    for name in TIMES:
        if out.get(name) is not None:
            out[name] = _utc(name, out[name])
    if "confidence" in out and not 0.0 <= out["confidence"] <= 1.0:
        raise InvalidInput(f"confidence {out['confidence']!r}: expected a number from 0 to 1", param="confidence")
    if "priority" in out and not -2 <= out["priority"] <= 2:
        raise InvalidInput(f"priority {out['priority']!r}: expected a whole number from -2 to 2", param="priority")
    place = out.get("position")
    if place is not None and not 0 <= place < 2**31:
        raise InvalidInput(f"position {place!r}: expected a whole number from 0 on", param="position")
    return out


def plain(param: str, value: str, longest: int) -> str:
    """Text that both databases hold as it is. Raises `InvalidInput`."""
    if len(value) > longest:
        raise InvalidInput(f"{param}: {len(value)} characters; expected at most {longest}; split it", param=param)
    if "\x00" in value:
        raise InvalidInput(f"{param}: holds a NUL character, which no text has; remove it", param=param)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{param}: half of a surrogate pair at {error.start}; send whole characters", param=param
        ) from error
    return value


def _names(param: str, values: Any) -> tuple[str, ...]:
    kept = tuple(dict.fromkeys(plain(param, name, MAX_NAME).strip() for name in values))
    if len(kept) > MAX_ITEMS or not all(kept):
        raise InvalidInput(f"{param}: expected at most {MAX_ITEMS} names, none of them empty", param=param)
    if any(unicodedata.category(sign) == "Cc" for name in kept for sign in name):
        raise InvalidInput(f"{param}: holds a control character; expected names of one line", param=param)
    return kept


def _utc(param: str, value: datetime) -> datetime:
    if value.tzinfo is None:
        raise InvalidInput(f"{param} {value.isoformat()!r}: has no zone; append 'Z' for UTC", param=param)
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{param} {value.isoformat()!r}: outside of the years 1 to 9999", param=param) from error


def _ordered(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end < start:
        raise InvalidInput(
            f"valid_to {end.isoformat()!r} lies before valid_from {start.isoformat()!r}; expected the later time",
            param="valid_to",
        )
