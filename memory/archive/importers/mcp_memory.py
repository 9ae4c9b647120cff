"""The memory server of the Model Context Protocol: its JSONL file, or the graph that its `read_graph` gives.

Each observation of an entity becomes a fact about it, named in the text, because an observation alone ("likes tea") says
nothing; a relation becomes a fact with both entities. An entity without observations and relations becomes the fact
what it is. Pure. Source: the file format of the reference memory server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from memory.archive.importers.base import (
    BOM,
    Found,
    bad,
    checked_object,
    json_lines,
    names_of,
    text_in,
    text_of,
    texts_in,
)
from memory.archive.importers.located import items
from memory.text import normalise
from memory.types import Draft, Source


def drafts(data: bytes, *, name: str) -> Iterator[Found]:
    """One draft for each observation and each relation. Raises `InvalidInput` that names the line."""
    records = list(_records(data))
    related = {
        end
        for line, kind, item in records
        if kind == "relation"
        for end in (text_in(line, item, "from"), text_in(line, item, "to"))
    }
    for line, kind, item in records:
        made = _relation(line, item) if kind == "relation" else _entity(line, item, related)
        yield from (Found(line, draft) for draft in made)


def _records(data: bytes) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    if data.strip() and not is_lines(data):
        kinds = {"entities": "entity", "relations": "relation"}
        for key, line, value in items(text_of(data)):
            if key in kinds:
                yield line, kinds[key], checked_object(line, value)
        return
    for line, item in json_lines(data):
        kind = item.get("type")
        if kind not in ("entity", "relation"):
            raise bad(line, f"'type' is {kind!r}; expected 'entity' or 'relation'")
        yield line, kind, item


def is_lines(data: bytes) -> bool:
    """Whether it is one object in each line, and not one document."""
    try:
        first = orjson.loads(data.removeprefix(BOM.encode()).lstrip().split(b"\n", 1)[0])
    except orjson.JSONDecodeError:
        return False
    return isinstance(first, dict) and first.get("type") in ("entity", "relation")


def _entity(line: int, item: Mapping[str, Any], related: set[str | None]) -> Iterator[Draft]:
    name = text_in(line, item, "name") or ""
    kind = text_in(line, item, "entityType", needed=False)
    observations = texts_in(line, item, "observations")
    told = [_told(name, text) for text in observations if text.strip()]
    if not told and name not in related:
        told = [f"{name} is a {kind}" if kind else name]
    for content in told:
        yield Draft(
            content=content,
            subject=name,
            entities=names_of((name,)),
            tags=names_of((kind,) if kind else ()),
            origin="import",
            sources=(Source("document", uri=f"mcp-memory:{name}"),),
        )


def _told(name: str, observation: str) -> str:
    known = f" {normalise(name)} " in f" {normalise(observation)} "
    return observation if known else f"{name}: {observation}"


def _relation(line: int, item: Mapping[str, Any]) -> Iterator[Draft]:
    start, end = text_in(line, item, "from") or "", text_in(line, item, "to") or ""
    link = text_in(line, item, "relationType") or ""
    yield Draft(
        content=f"{start} {link.replace('_', ' ')} {end}",
        data={"relation": {"from": start, "type": link, "to": end}},
        subject=start,
        entities=names_of((start, end)),
        origin="import",
        sources=(Source("document", uri="mcp-memory:relations"),),
    )
