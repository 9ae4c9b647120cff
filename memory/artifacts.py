"""Files that were made from a memory: KV blocks, adapters. What they are and whether they still fit its text.

Source: memos §2.2 (artefacts); design ui (Memory).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from memory import access
from memory.core import Core
from memory.tables import ArtifactRow
from memory.tx import Tx
from memory.types import Actor


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file, without its place; `version` is that of the memory from which it was made."""

    id: str
    kind: str
    version: int
    bytes: int
    sha256: str
    state: str
    created_at: datetime


async def artifacts(core: Core, actor: Actor, memory_id: str) -> list[Artifact]:
    """The files of a memory, the newest first. Raises `UnknownName`."""

    def work(tx: Tx) -> list[Artifact]:
        access.memory(tx, memory_id, "read")
        query = select(ArtifactRow.__table__).where(ArtifactRow.memory_id == memory_id)
        found = tx.connection.execute(query.order_by(ArtifactRow.created_at.desc()))
        return [
            Artifact(row.id, row.kind, row.memory_version, row.bytes, row.sha256, row.state, row.created_at)
            for row in found
        ]

    return await core.read(actor, work)
