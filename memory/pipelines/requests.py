"""Asking for a pipeline: the access decision now, the work as a job, both in one transaction.

What a caller may not see or change is refused here and audited; the job decides again when it writes, because a grant may
have ended meanwhile. Source: memos §3.1, §3.4, §3.7, §3.12; ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from memory import access, audit, jobs, store
from memory.access import Access
from memory.admitting.admission import Candidate, decide
from memory.changes import admissible
from memory.core import Core
from memory.jobs import Job
from memory.pipelines import classify, extract, feedback, summarise
from memory.store import NewMemory
from memory.tx import Tx
from memory.types import Actor, MemCube
from runtime.errors import Conflict, Gone, InvalidInput
from runtime.ids import new_id

MAX_IDS: Final = 500
Arguments = Callable[[Tx, Access], Mapping[str, JsonValue]]


class Learning:
    """Enqueues the jobs of the pipelines. Every method raises `Hidden`, `Refused`, `InvalidInput`, `Conflict` and
    `TooManyJobs`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def extract(self, actor: Actor, vault: str | None, ids: Sequence[str], injected: Sequence[str] = ()) -> Job:
        """Draw claims from memories of the vault. `injected`: memories that stood in the prompts of that conversation, so
        that what a model repeats of them is not taken for news."""
        known = list(dict.fromkeys(injected))
        if len(known) > MAX_IDS:
            raise InvalidInput(f"injected: {len(known)} ids; expected at most {MAX_IDS}", param="injected")

        def work(tx: Tx, home: Access) -> Mapping[str, JsonValue]:
            for memory_id in known:
                access.memory(tx, memory_id, "read")
            return extract.arguments(home.vault.id, _wanted(ids), known)

        return await self._enqueue(actor, vault, _wanted(ids), extract.KIND, work)

    async def classify(self, actor: Actor, vault: str | None, ids: Sequence[str]) -> Job:
        """Compare memories of the vault with those near them, and settle what is redundant, outdated or contradictory."""

        def work(tx: Tx, home: Access) -> Mapping[str, JsonValue]:
            return classify.arguments(home.vault.id, _wanted(ids))

        return await self._enqueue(actor, vault, _wanted(ids), classify.KIND, work)

    async def summarise(
        self, actor: Actor, vault: str | None, ids: Sequence[str], summary_id: str | None = None
    ) -> Job:
        """Sum up memories of the vault, as a new memory or as the next version of `summary_id`."""
        members = _wanted(ids)
        if not 2 <= len(members) <= summarise.MEMBERS:
            raise InvalidInput(
                f"memories: {len(members)} different ones; expected 2 to {summarise.MEMBERS}", param="memories"
            )

        def work(tx: Tx, home: Access) -> Mapping[str, JsonValue]:
            if summary_id is not None:
                before = _member(tx, home, summary_id, "summary_id")
                if before.semantic_type != "summary":
                    raise InvalidInput(f"summary_id {summary_id!r}: is no summary", param="summary_id")
            return summarise.arguments(home.vault.id, members, summary_id)

        return await self._enqueue(actor, vault, members, summarise.KIND, work, total=1)

    async def feedback(self, actor: Actor, memory_id: str, text: str) -> Job:
        """Correct a memory by what a person says about it. The words themselves are kept as a raw memory beside it."""
        job_id, note_id, provenance_id = new_id("job"), new_id("mem"), new_id("prv")

        def work(tx: Tx) -> Job:
            about, allowed = access.memory(tx, memory_id, "write")
            if about.state in ("deleted", "expired"):
                raise Gone(f"memory {memory_id!r} was deleted or has expired")
            draft = admissible(feedback.note(text), allowed.vault, tx.now)
            verdict = decide(Candidate(draft))
            if verdict.outcome != "admit":
                raise Conflict(f"text: {'; '.join(verdict.reasons)}; say it without", param="text")
            new = NewMemory(note_id, about.vault_id, draft, provenance_id, reason=f"feedback about {memory_id}")
            said = store.insert_all(tx, [new])[0]
            store.link(tx, said.cube.id, memory_id, "RELATES")
            job = jobs.enqueue(
                tx,
                job_id,
                feedback.KIND,
                feedback.arguments(about.vault_id, said.cube.id, [memory_id]),
                total=1,
            )
            audit.record(
                tx, "feedback", "memory", memory_id, chain=about.vault_id, rule=allowed.rule, detail={"job": job_id}
            )
            return job

        return await self._core.write(actor, work)

    async def _enqueue(
        self,
        actor: Actor,
        vault: str | None,
        ids: Sequence[str],
        kind: str,
        arguments: Arguments,
        *,
        total: int | None = None,
    ) -> Job:
        job_id = new_id("job")
        if vault in (None, access.DEFAULT):
            await self._core.default_vault(actor)

        def work(tx: Tx) -> Job:
            home = access.vault(tx, vault or access.DEFAULT, "write")
            if home.vault.archived_at is not None:
                raise Conflict(f"vault {home.vault.name!r} is archived; restore it before you write", param="vault")
            for memory_id in ids:
                _member(tx, home, memory_id, "memories")
            job = jobs.enqueue(tx, job_id, kind, arguments(tx, home), total=len(ids) if total is None else total)
            detail: dict[str, object] = {"kind": kind, "count": len(ids)}
            audit.record(tx, "ask", "job", job_id, chain=home.vault.id, rule=home.rule, detail=detail)
            return job

        return await self._core.write(actor, work)


def _wanted(ids: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys(ids))
    if not 1 <= len(known) <= MAX_IDS:
        raise InvalidInput(f"memories: {len(known)} ids; expected 1 to {MAX_IDS}", param="memories")
    return known


def _member(tx: Tx, home: Access, memory_id: str, param: str) -> MemCube:
    cube, _ = access.memory(tx, memory_id, "write")
    if cube.vault_id != home.vault.id:
        raise InvalidInput(f"memory {memory_id!r}: is in another vault than {home.vault.name!r}", param=param)
    if cube.state in ("deleted", "expired"):
        raise Gone(f"memory {memory_id!r} was deleted or has expired")
    return cube
