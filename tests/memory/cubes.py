"""Memories out of thin air, for what needs no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from memory.types import MemCube

NOW = datetime(2030, 1, 2, tzinfo=UTC)
ANA = MemCube(
    id="mem_1",
    seq=1,
    vault_id="vlt_1",
    version=1,
    state="activated",
    content="Ana lives in Porto",
    semantic_type="fact",
    kind="plaintext",
    data={},
    subject="Ana",
    attribute="residence",
    title=None,
    speaker=None,
    entities=(),
    tags=(),
    sensitivity=(),
    origin="user_input",
    provenance_id="prv_1",
    confidence=1.0,
    priority=0,
    pinned=False,
    watermark=None,
    valid_from=NOW,
    valid_to=None,
    occurred_at=None,
    recorded_at=NOW,
    updated_at=NOW,
    superseded_at=None,
    expires_at=None,
    session_id=None,
    position=None,
    created_by="usr_ann",
    deleted_at=None,
    purge_after=None,
    vector_state="synced",
    embedded_version=1,
)


def cube(**given: Any) -> MemCube:
    """Ana lives in Porto since `NOW`, with other fields."""
    return replace(ANA, **given)
