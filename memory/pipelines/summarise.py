"""Summaries: a text over several memories, with a link to each of them.

A summary lives no longer than its first member to go, carries every sensitivity of theirs, and says which it rests on. When a
member is replaced it is stale, and when one is deleted it leaves (memory/sweep.py); summing up again makes its next version.
Source: memos §3.12, §3.14 (L11), §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from memory import access, store
from memory.access import Access
from memory.admission import Candidate, decide, grounding_of
from memory.jobs import JobRun
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import Parts, id_of, ids_of, present, protected, written
from memory.pipelines.replies import Summary
from memory.store import NewMemory, Vectors
from memory.sweep import STALE
from memory.tx import Tx
from memory.types import Draft, MemCube, Source
from runtime.errors import InvalidInput, MalformedReply
from runtime.ids import new_id

KIND: Final = "memory.summarise"
PROMPT: Final = prompt_of("summarise")
MEMBERS: Final = 20


class Summarise:
    """Handles `memory.summarise` jobs: `memory_ids` are the members; `summary_id`, if there is one, gets the next version."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result names the summary. Raises `MalformedReply` for one that its members do not carry."""
        vault_id, ids = id_of(run.job, "vault_id"), ids_of(run.job, "memory_ids")
        if not 2 <= len(set(ids)) <= MEMBERS:
            raise InvalidInput(
                f"memory_ids: {len(set(ids))}; expected 2 to {MEMBERS} different ones", param="memory_ids"
            )
        before_id = run.job.args.get("summary_id")
        found = await present(self._parts.core, run.job.actor, [*dict.fromkeys(ids)])
        members = [
            c for c in found.values() if c.state in ("generated", "activated", "frozen") and c.vault_id == vault_id
        ]
        if len(members) < 2:
            raise InvalidInput("memory_ids: fewer than two of them are in use in that vault", param="memory_ids")
        data: list[JsonValue] = [
            {
                "id": cube.id,
                "note": cube.content,
                "at": (cube.valid_from or cube.occurred_at or cube.recorded_at).isoformat(),
            }
            for cube in members
        ]
        said, model = await self._parts.asker.ask(KIND, run.job.id, PROMPT, Summary, data)
        cited = [cube for cube in members if cube.id in said.child_ids]
        draft = _draft(said, cited, model)
        vectors = (await self._parts.vectors([draft.content]))[0]
        new = NewMemory(new_id("mem"), vault_id, draft, new_id("prv"), vectors, "summed up")

        def work(tx: Tx) -> str:
            allowed = access.vault(tx, vault_id, "write")
            cube = _put(tx, allowed, new, before_id if isinstance(before_id, str) else None, vectors)
            for member in cited:
                if store.get(tx, member.id).version != member.version:
                    raise store.stale(store.get(tx, member.id), member.version)
                store.link(tx, cube.id, member.id, "PARENT")
            written(tx, allowed, "summarise", cube, {"version": cube.version, "members": len(cited)})
            return cube.id

        return {"summary_id": await run.commit(work, done=1, total=1)}


def _draft(said: Summary, cited: Sequence[MemCube], model: str) -> Draft:
    text = " ".join(said.text.split())
    ends = [cube.expires_at for cube in cited if cube.expires_at is not None]
    draft = Draft(
        text,
        semantic_type="summary",
        title=" ".join(said.title.split()),
        data={"title": said.title, STALE: False},
        entities=tuple(dict.fromkeys(name for cube in cited for name in cube.entities))[:50],
        sensitivity=tuple(dict.fromkeys(tag for cube in cited for tag in cube.sensitivity)),
        origin="inference_extraction",
        confidence=min((cube.confidence for cube in cited), default=0.0),
        expires_at=min(ends) if ends else None,
        sources=(Source("model", model=model),),
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
    if before.semantic_type != "summary" or before.vault_id != allowed.vault.id or protected(before):
        raise InvalidInput(
            f"summary_id {before_id!r}: is no summary of that vault that may be changed", param="summary_id"
        )
    draft = new.draft
    return store.change(
        tx,
        before,
        kind="overwrite",
        reason="summed up again",
        vectors=vectors,
        sources=draft.sources,
        content=draft.content,
        title=draft.title,
        data={**before.data, **draft.data},
        entities=draft.entities,
        sensitivity=tuple(dict.fromkeys((*before.sensitivity, *draft.sensitivity))),
        confidence=draft.confidence,
        expires_at=draft.expires_at,
    )
