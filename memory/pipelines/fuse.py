"""Fusion: one statement out of two that contradict each other, or the admission that nothing settles it.

What the model writes must be made of the words of the two; then it is a new memory that inherits their links, and both
are merged into it, from where a restore brings them back. Source: memos §3.3 (5), §3.14 (L4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from sqlalchemy import select

from memory import merging, store
from memory.admitting.admission import Candidate, decide, grounding_of
from memory.changes import admissible
from memory.jobs import JobRun
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import Parts
from memory.pipelines.replies import Fusion
from memory.store import NewMemory
from memory.tables import SourceRow
from memory.tx import Tx
from memory.types import Draft, MemCube, Source, Vault
from runtime.errors import InvalidInput
from runtime.ids import new_id

PURPOSE: Final = "memory.fuse"
PROMPT: Final = prompt_of("fuse")


@dataclass(frozen=True, slots=True)
class Fused:
    """The memory that takes the place of two."""

    new: NewMemory


async def fuse(parts: Parts, run: JobRun, home: Vault, a: MemCube, b: MemCube) -> Fused | None:
    """Ask for the statement that is right; None when nothing settles it. Raises `ModelError`."""
    sources = await parts.core.read(run.job.actor, lambda tx: {cube.id: _quotes(tx, cube) for cube in (a, b)})
    data: list[JsonValue] = [
        {
            "note": name,
            "text": cube.content,
            "recorded_at": cube.recorded_at.isoformat(),
            "valid_from": cube.valid_from.isoformat() if cube.valid_from else None,
            "origin": cube.origin,
            "confidence": cube.confidence,
            "sources": [*sources[cube.id]],
        }
        for name, cube in (("a", a), ("b", b))
    ]
    said, model = await parts.asker.ask(PURPOSE, run.job.id, PROMPT, Fusion, data)
    text = " ".join(said.text.split())
    if not said.resolved or not text:
        return None
    try:
        draft = admissible(_draft(text, a, b, model), home, parts.core.clock.now())
    except InvalidInput:
        return None
    basis = " ".join((a.content, b.content, *(quote for quotes in sources.values() for quote in quotes)))
    carried = grounding_of(Candidate(draft, span=basis, quote=basis)) == 1.0
    if not carried or decide(Candidate(draft)).outcome != "admit":
        return None
    vectors = (await parts.vectors([text]))[0]
    return Fused(NewMemory(new_id("mem"), a.vault_id, draft, new_id("prv"), vectors, f"fused from {a.id} and {b.id}"))


def put_fused(tx: Tx, fused: Fused, a: MemCube, b: MemCube) -> MemCube:
    """Store the new memory, move the two into it, and hand their links on. Raises `Stale`."""
    # First the two leave: while they are live, the new one may have the very words of one of them.
    for cube in (a, b):
        store.move(tx, cube, "fuse", reason=f"fused into {fused.new.id}")
    made = store.insert_all(tx, [fused.new])[0].cube
    merging.hand_on(tx, {a.id, b.id}, made.id)
    for cube in (a, b):
        store.link(tx, cube.id, made.id, "MERGED_TO")
    return made


def _draft(text: str, a: MemCube, b: MemCube, model: str) -> Draft:
    ends = [cube.expires_at for cube in (a, b) if cube.expires_at is not None]
    times = [cube.valid_from for cube in (a, b) if cube.valid_from is not None]
    same = a.subject == b.subject
    return Draft(
        text,
        semantic_type=a.semantic_type if a.semantic_type == b.semantic_type else "fact",
        subject=a.subject if same else None,
        attribute=a.attribute if same and a.attribute == b.attribute else None,
        entities=tuple(dict.fromkeys((*a.entities, *b.entities))),
        tags=tuple(dict.fromkeys((*a.tags, *b.tags))),
        sensitivity=tuple(dict.fromkeys((*a.sensitivity, *b.sensitivity))),
        origin="inference_extraction",
        confidence=min(a.confidence, b.confidence),
        priority=max(a.priority, b.priority),
        watermark=a.watermark or b.watermark,
        valid_from=max(times) if times else None,
        expires_at=min(ends) if ends else None,
        sources=(Source("model", model=model), *(Source("document", uri=f"memory:{cube.id}") for cube in (a, b))),
    )


def _quotes(tx: Tx, cube: MemCube) -> list[str]:
    query = select(SourceRow.quote).where(SourceRow.memory_id == cube.id, SourceRow.quote.is_not(None))
    return [str(quote) for quote in tx.connection.execute(query.order_by(SourceRow.id).limit(5)).scalars()]
