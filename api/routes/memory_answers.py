"""Memories, their versions and what a search gave, as JSON; one conversion each. Source: contract §4."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath
from typing import Any, Final

from pydantic import JsonValue

from memory.erase import Receipt
from memory.types import MemCube, Recall, Version

GONE: Final = frozenset({"deleted", "expired"})


def memory_body(cube: MemCube, uplift: JsonValue = None) -> dict[str, Any]:
    """A memory on the wire; `uplift` is what showing it was measured to change, null when it was not.

    One that was deleted or has expired is shown by its header alone.
    """
    gone = cube.state in GONE
    return {
        "id": cube.id,
        "vault": cube.vault_id,
        "kind": cube.kind,
        "semantic_type": cube.semantic_type,
        "content": "" if gone else cube.content,
        "data": {} if gone else dict(cube.data),
        "title": None if gone else cube.title,
        "subject": cube.subject,
        "attribute": cube.attribute,
        "speaker": cube.speaker,
        "entities": list(cube.entities),
        "tags": list(cube.tags),
        "sensitivity": list(cube.sensitivity),
        "state": cube.state,
        "version": cube.version,
        "origin": cube.origin,
        "provenance": cube.provenance_id,
        "confidence": cube.confidence,
        "priority": cube.priority,
        "pinned": cube.pinned,
        "watermark": cube.watermark,
        "valid_from": iso(cube.valid_from),
        "valid_to": iso(cube.valid_to),
        "occurred_at": iso(cube.occurred_at),
        "recorded_at": iso(cube.recorded_at),
        "updated_at": iso(cube.updated_at),
        "superseded_at": iso(cube.superseded_at),
        "expires_at": iso(cube.expires_at),
        "session_id": cube.session_id,
        "position": cube.position,
        "created_by": cube.created_by,
        "vector_state": cube.vector_state,
        "uses": cube.uses,
        "last_used_at": iso(cube.last_used_at),
        "heat": cube.heat,
        "uplift": uplift,
    }


def version_body(version: Version) -> dict[str, Any]:
    """One link of a history; a purged one has no text."""
    return {
        "version": version.version,
        "change": version.change,
        "reason": version.reason,
        "actor": version.actor_id,
        "from": iso(version.sys_from),
        "to": iso(version.sys_to),
        "content": None if version.redacted else version.content,
        "header": dict(version.header),
        "hash": version.hash,
        "prev_hash": version.prev_hash,
        "redacted": version.redacted,
    }


def iso(moment: datetime | None) -> str | None:
    """A time on the wire."""
    return None if moment is None else moment.isoformat()


def recall_body(recall: Recall, uplifts: dict[str, JsonValue]) -> dict[str, Any]:
    """The answer of a search."""
    return {
        "hits": [
            {
                "memory": memory_body(hit.memory, uplifts.get(hit.memory.id)),
                "score": hit.score,
                "scores": dict(hit.scores),
                "ranks": dict(hit.ranks),
                "why": hit.why,
            }
            for hit in recall.hits
        ],
        "degraded": list(recall.degraded),
        "dropped": recall.dropped,
        "tokens": recall.tokens,
    }


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    """What an erasure removed."""
    return {
        "id": receipt.memory_id,
        "purged": True,
        "at": iso(receipt.at),
        "removed": dict(receipt.removed),
        "stale": list(receipt.stale),
        "files": [PurePath(file).name for file in receipt.files],
        "runs": list(receipt.runs),
        "pending": list(receipt.pending),
    }
