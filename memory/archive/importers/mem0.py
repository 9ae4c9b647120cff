"""mem0: what `get_all` gives, `{"results": [...], "relations": [...]}`, or the list alone, as it is exported.

Each memory becomes a fact with its tags, its times and whose it was; a relation of its graph becomes a fact with both
entities. Ids and metadata of mem0 stay in `data.mem0`. Pure. Source: the memory item of mem0 (versions 0.1 to 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import JsonValue

from memory.archive.importers.base import Found, bad, checked_object, names_of, text_in, text_of, texts_in, time_in
from memory.archive.importers.located import items
from memory.types import Draft, Source

MEMORIES: Final = ("", "results", "memories")
KEPT: Final = ("id", "user_id", "agent_id", "app_id", "run_id", "actor_id", "role", "attributed_to", "hash")


def drafts(data: bytes, *, name: str) -> Iterator[Found]:
    """One draft for each memory and each relation. Raises `InvalidInput` that names the line."""
    for key, line, value in items(text_of(data)):
        if key in MEMORIES:
            yield Found(line, _memory(line, checked_object(line, value)))
        elif key == "relations":
            yield Found(line, _relation(line, checked_object(line, value)))


def _memory(line: int, item: Mapping[str, Any]) -> Draft:
    content = text_in(line, item, "memory", "text", "data")
    metadata = item.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad(line, "'metadata' is no object")
    told: dict[str, JsonValue] = {key: value for key in KEPT if (value := text_in(line, item, key, needed=False))}
    if metadata:
        told["metadata"] = metadata
    created = time_in(line, item, "created_at")
    changed = time_in(line, item, "updated_at")
    return Draft(
        content=content or "",
        data={"mem0": told},
        tags=names_of(texts_in(line, item, "categories")),
        speaker=text_in(line, item, "actor_id", needed=False),
        origin="import",
        occurred_at=created,
        expires_at=time_in(line, item, "expiration_date"),
        session_id=text_in(line, item, "run_id", needed=False),
        sources=(Source("document", uri=f"mem0:{told.get('id', '')}", occurred_at=changed or created),),
    )


def _relation(line: int, item: Mapping[str, Any]) -> Draft:
    start = text_in(line, item, "source") or ""
    link = text_in(line, item, "relationship") or ""
    end = text_in(line, item, "target", "destination") or ""
    return Draft(
        content=f"{start} {link.replace('_', ' ')} {end}",
        data={"relation": {"from": start, "type": link, "to": end}},
        subject=start,
        entities=names_of((start, end)),
        origin="import",
        sources=(Source("document", uri="mem0:relations"),),
    )
