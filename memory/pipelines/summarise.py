"""Summaries: a text over several memories, with a link to each of them.

A summary lives no longer than its first member to go, carries every sensitivity of theirs, and says which it rests on.
When a member is replaced it is stale, and when one is deleted it leaves (memory/upkeep/sweep.py); summing up again
makes its next version and brings it back. Source: memos §3.12, §3.14 (L11), §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import delete

from memory import access, store
from memory.access import Access
from memory.admitting.admission import Candidate, decide, grounding_of
from memory.changes import admissible
from memory.jobs import JobRun
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import Parts, home_of, id_of, ids_of, present, protected, written
from memory.pipelines.replies import Summary
from memory.store import NewMemory, Vectors
from memory.tables import EdgeRow
from memory.tx import Tx
from memory.types import Draft, MemCube, Source
from memory.upkeep.sweep import STALE
from runtime.errors import InvalidInput, MalformedReply
from runtime.ids import new_id

KIND: Final = "memory.summarise"
PURPOSE: Final = "memory.summarise"
PROMPT: Final = prompt_of("summarise")
MEMBERS: Final = 20
IN_USE: Final = frozenset({"generated", "activated", "frozen"})


def arguments(vault_id: str, memory_ids: Sequence[str], summary_id: str | None = None) -> dict[str, JsonValue]:
    """The arguments of a summarising job."""
    return {"vault_id": vault_id, "memory_ids": list(memory_ids), "summary_id": summary_id}


class Summarise:
    """Handles `memory.summarise` jobs: `memory_ids` are the members; `summary_id`, if there is one, is written anew."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result names the summary. Raises `MalformedReply` for one that its members do not carry."""
        if run.job.done and run.job.result is not None:
            return run.job.result
        core, vault_id = self._parts.core, id_of(run.job, "vault_id")
        home = await home_of(core, run.job.actor, vault_id)
        found = await present(core, run.job.actor, ids_of(run.job, "memory_ids"))
        members = [cube for cube in found.values() if cube.state in IN_USE and cube.vault_id == vault_id]
        if not 2 <= len(members) <= MEMBERS:
            raise InvalidInput(
                f"memory_ids: {len(members)} of them are in use in that vault; expected 2 to {MEMBERS}",
                param="memory_ids",
            )
        before_id = None if run.job.args.get("summary_id") is None else id_of(run.job, "summary_id")
        said, model = await self._parts.asker.ask(PURPOSE, run.job.id, PROMPT, Summary, [_shown(c) for c in members])
        cited = [cube for cube in members if cube.id in said.child_ids]
        draft = admissible(_draft(said, cited, model), home, core.clock.now())
        vectors = (await self._parts.vectors([draft.content]))[0]
        new = NewMemory(new_id("mem"), vault_id, draft, new_id("prv"), vectors, "summed up")

        def work(tx: Tx) -> dict[str, JsonValue]:
            allowed = access.vault(tx, vault_id, "write")
            for member in cited:
                now, _ = access.memory(tx, member.id, "write")
                if now.version != member.version:
                    raise store.stale(now, member.version)
            cube = _put(tx, allowed, new, before_id, vectors)
            _cite(tx, cube.id, [member.id for member in cited])
            written(tx, allowed, "summarise", cube, {"members": [member.id for member in cited]})
            return {"summary_id": cube.id}

        return await run.commit(work, done=1, total=1, so_far=lambda made: made)


def _shown(cube: MemCube) -> JsonValue:
    at = cube.valid_from or cube.occurred_at or cube.recorded_at
    return {"id": cube.id, "note": cube.content, "at": at.isoformat()}


def _draft(said: Summary, cited: Sequence[MemCube], model: str) -> Draft:
    text = " ".join(said.text.split())
    ends = [cube.expires_at for cube in cited if cube.expires_at is not None]
    draft = Draft(
        text,
        semantic_type="summary",
        title=" ".join(said.title.split()),
        data={STALE: False},
        entities=tuple(dict.fromkeys(name for cube in cited for name in cube.entities))[:50],
        sensitivity=tuple(dict.fromkeys(tag for cube in cited for tag in cube.sensitivity)),
        origin="inference_extraction",
        confidence=min((cube.confidence for cube in cited), default=0.0),
        expires_at=min(ends) if ends else None,
        sources=(Source("model", model=model), *(Source("document", uri=f"memory:{cube.id}") for cube in cited)),
    )
    basis = " ".join(cube.content for cube in cited)
    carried = len(cited) >= 2 and grounding_of(Candidate(draft, span=basis, quote=basis)) == 1.0
    if not carried or decide(Candidate(draft)).outcome != "admit":
        raise MalformedReply(
            "memory.summarise: the summary is not carried by the memories that it names; nothing was written"
        )
    return draft


def _put(tx: Tx, allowed: Access, new: NewMemory, before_id: str | None, vectors: Vectors) -> MemCube:
    if before_id is None:
        return store.insert_all(tx, [new])[0].cube
    before, _ = access.memory(tx, before_id, "write")
    usable = before.state in ("activated", "quarantined") and before.vault_id == allowed.vault.id
    if before.semantic_type != "summary" or not usable or protected(before):
        raise InvalidInput(
            f"summary_id {before_id!r}: is no summary of that vault that may be changed", param="summary_id"
        )
    draft = new.draft
    told: dict[str, Any] = {
        "content": draft.content,
        "title": draft.title,
        "data": {**before.data, **draft.data},
        "entities": draft.entities,
        "sensitivity": tuple(dict.fromkeys((*before.sensitivity, *draft.sensitivity))),
        "confidence": draft.confidence,
        "expires_at": draft.expires_at,
    }
    if before.state == "quarantined":
        before = store.move(tx, before, "approve", reason="summed up again, without what was deleted")
    return store.change(
        tx, before, kind="overwrite", reason="summed up again", vectors=vectors, sources=draft.sources, **told
    )


def _cite(tx: Tx, summary_id: str, member_ids: Sequence[str]) -> None:
    """Link the summary to what its current text rests on; that of earlier versions stands among their sources."""
    mine = (EdgeRow.src_id == summary_id, EdgeRow.type == "PARENT")
    tx.connection.execute(delete(EdgeRow).where(*mine, EdgeRow.dst_id.not_in(member_ids)))
    for member_id in member_ids:
        store.link(tx, summary_id, member_id, "PARENT")
