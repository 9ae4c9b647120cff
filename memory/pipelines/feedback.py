"""Feedback: what a user says about the memory becomes corrections of it, each a new version or a new memory.

The words of the user are stored first, as a raw memory, so nothing of them is lost. A plain "replace X with Y" is done by
rule; anything else the model judges, and only what it can take from the feedback and from the memories that it was
shown is written. Frozen and pinned memories stay; a person is asked instead. Source: memos §3.4 (2), §3.14 (L5, L6).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from memory import access, reviews, rows, store
from memory.access import Access
from memory.admission import Candidate, Other, decide, grounding_of
from memory.indices import lexical
from memory.jobs import JobRun
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import TRIES, Child, Parts, child, id_of, ids_of, present, protected, write_children, written
from memory.pipelines.replies import Correction, Judgement
from memory.store import Vectors
from memory.tx import Tx
from memory.types import Draft, MemCube, Source
from runtime.errors import Stale
from runtime.ids import new_id

KIND: Final = "memory.feedback"
PROMPT: Final = prompt_of("feedback")
SHOWN: Final = 10
FLOOR: Final = 0.2
QUOTED: Final = r"[\"“”'‘’«»]([^\"“”'‘’«»\n]{1,200})[\"“”'‘’«»]"
PLAIN: Final = r"(\S+(?: \S+){0,3}?)"
REPLACES: Final = tuple(
    re.compile(form, re.I)
    for form in (
        rf"\b(?:replace|change|correct|rename)\s+{QUOTED}\s+(?:with|to|by|into)\s+{QUOTED}",
        rf"{QUOTED}\s+(?:should be|must be|has to be|is really|is spelled)\s+{QUOTED}",
        rf"^\W*(?:please )?(?:replace|change|rename)\s+{PLAIN}\s+(?:with|to|by|into)\s+{PLAIN}\W*$",
    )
)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Words that are to be other words, wherever they stand."""

    original: str
    target: str


def note(text: str) -> Draft:
    """The raw memory that keeps a feedback."""
    return Draft(text, semantic_type="document", state="generated", tags=("feedback",))


def replacement(text: str) -> Replacement | None:
    """The replacement that the feedback asks for, when that is all it says; None when it must be judged."""
    for form in REPLACES:
        found = form.search(text)
        if found is not None and found[1].strip() != found[2].strip():
            return Replacement(found[1].strip(), found[2].strip())
    return None


def replaced(text: str, wanted: Replacement) -> str:
    """The text with every whole-word occurrence replaced."""
    return re.sub(rf"(?<!\w){re.escape(wanted.original)}(?!\w)", lambda _: wanted.target, text, flags=re.I)


class Feedback:
    """Handles `memory.feedback` jobs: `feedback_id` is the raw memory with the user's words, `memory_ids` what they are about
    (none: what is near)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result counts the corrections and the new memories."""
        vault_id, feedback_id = id_of(run.job, "vault_id"), id_of(run.job, "feedback_id")
        said = (await present(self._parts.core, run.job.actor, [feedback_id])).get(feedback_id)
        if said is None or run.job.done:
            return {"corrected": 0, "added": 0}
        for attempt in range(1, TRIES + 1):
            about = await self._about(run, vault_id, said)
            edits, additions = await self._plan(run, vault_id, said, about)
            try:
                return await self._write(run, vault_id, said, edits, additions)
            except Stale:
                if attempt == TRIES:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _about(self, run: JobRun, vault_id: str, said: MemCube) -> list[MemCube]:
        ids = ids_of(run.job, "memory_ids")
        if not ids:
            made = (await self._parts.vectors([said.content]))[0]
            near = await self._parts.nearby.neighbours(run.job.actor, vault_id, made)
            ids = [other.id for other in near if (other.cosine or 0.0) >= FLOOR]

            def by_words(tx: Tx) -> list[str]:
                hits = lexical.search(tx.connection, said.content, [vault_id], SHOWN)
                found = rows.cubes_by_seq(tx, [hit.seq for hit in hits])
                return [found[hit.seq].id for hit in hits if hit.seq in found]

            ids += await self._parts.core.read(run.job.actor, by_words)
        ids = [id_ for id_ in dict.fromkeys(ids) if id_ != said.id][: 2 * SHOWN]
        cubes = (await present(self._parts.core, run.job.actor, ids)).values()
        return [cube for cube in cubes if cube.state in ("activated", "frozen") and cube.vault_id == vault_id][:SHOWN]

    async def _plan(
        self, run: JobRun, vault_id: str, said: MemCube, about: Sequence[MemCube]
    ) -> tuple[dict[str, tuple[MemCube, str, Vectors]], list[Child]]:
        """New texts by memory, and new memories."""
        wanted = replacement(said.content)
        texts: dict[str, str] = {}
        extra: list[str] = []
        if wanted is not None:
            texts = {c.id: text for c in about if (text := replaced(c.content, wanted)) != c.content}
        else:
            for item in await self._judged(run, said, about):
                text = " ".join((item.corrected_text or "").split())
                known = [cube.id for cube in about if cube.id in item.memory_ids]
                basis = " ".join((said.content, *(cube.content for cube in about if cube.id in known)))
                proposal = Candidate(Draft(text, origin="inference_extraction"), span=basis, quote=basis)
                if text and grounding_of(proposal) == 1.0:
                    texts.update({known[0]: text} if known else {})
                    extra += [] if known else [text]
        vectors = await self._parts.vectors([*texts.values(), *extra])
        by_id = {cube.id: cube for cube in about}
        edits = {id_: (by_id[id_], text, made) for (id_, text), made in zip(texts.items(), vectors, strict=False)}
        additions: list[Child] = []
        for text, made in zip(extra, vectors[len(texts) :], strict=True):
            near = await self._parts.nearby.neighbours(run.job.actor, vault_id, made)
            additions += _addition(vault_id, said, text, made, [other for other in near if other.id != said.id])
        return edits, additions

    async def _judged(self, run: JobRun, said: MemCube, about: Sequence[MemCube]) -> list[Correction]:
        data: list[JsonValue] = [{"feedback": said.content}]
        data += [{"id": cube.id, "note": cube.content} for cube in about]
        answer, _ = await self._parts.asker.ask(KIND, run.job.id, PROMPT, Judgement, data)
        return [item for item in answer.items if item.validity]

    async def _write(
        self,
        run: JobRun,
        vault_id: str,
        said: MemCube,
        edits: Mapping[str, tuple[MemCube, str, Vectors]],
        additions: Sequence[Child],
    ) -> dict[str, JsonValue]:
        review_ids = {id_: new_id("rev") for id_ in edits}

        def work(tx: Tx) -> dict[str, JsonValue]:
            allowed = access.vault(tx, vault_id, "write")
            corrected = 0
            for id_ in sorted(edits):
                corrected += _correct(tx, allowed, said, *edits[id_], review_ids[id_])
            return {"corrected": corrected, "added": len(write_children(tx, allowed, "feedback", additions))}

        return await run.commit(work, done=1, total=1)


def _correct(tx: Tx, allowed: Access, said: MemCube, seen: MemCube, text: str, vectors: Vectors, review_id: str) -> int:
    cube, _ = access.memory(tx, seen.id, "write")
    if cube.version != seen.version:
        raise store.stale(cube, seen.version)
    if protected(cube):
        reviews.ask(
            tx, review_id, "conflict", said, f"feedback about {cube.id}, which may not be altered", other_id=cube.id
        )
        return 0
    source = Source("message", message_id=said.id, role="user", quote=said.content[:500], occurred_at=said.recorded_at)
    after = store.change(
        tx, cube, kind="feedback", reason=f"feedback {said.id}", vectors=vectors, sources=(source,), content=text
    )
    written(tx, allowed, "feedback", after, {"version": after.version, "feedback": said.id})
    return 1


def _addition(vault_id: str, said: MemCube, text: str, made: Vectors, near: Sequence[Other]) -> list[Child]:
    source = Source("message", message_id=said.id, role="user", quote=said.content[:500], occurred_at=said.recorded_at)
    draft = Draft(
        text,
        origin="inference_extraction",
        confidence=0.9,
        sensitivity=said.sensitivity,
        expires_at=said.expires_at,
        sources=(source,),
    )
    verdict = decide(Candidate(draft, span=said.content, quote=said.content), near)
    if verdict.outcome not in ("admit", "quarantine"):
        return []
    return [child(vault_id, draft, verdict, made, [said.id], f"feedback {said.id}")]
