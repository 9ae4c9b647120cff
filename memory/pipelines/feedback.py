"""Feedback: what a user says about the memory becomes corrections of it, each a new version or a new memory.

The words of the user are stored first, as a raw memory, so nothing of them is lost. A plain "replace X with Y" is done by
rule; anything else the model judges, and only what it can take from the feedback and from the memories that it was
shown is written. Frozen and pinned memories stay as they are: the correction stands beside them, and a person is asked.
Source: memos §3.3 (6), §3.4 (2), §3.14 (L5, L6).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from memory import access, reviews, rows, store
from memory.access import Access
from memory.admitting.admission import Candidate, decide, grounding_of
from memory.changes import admissible
from memory.indices import lexical
from memory.jobs import JobRun
from memory.pipelines import classify
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import (
    TRIES,
    Child,
    Parts,
    child,
    home_of,
    id_of,
    ids_of,
    present,
    protected,
    write_children,
    written,
)
from memory.pipelines.replies import Correction, Judgement
from memory.store import Vectors
from memory.tx import Tx
from memory.types import Draft, MemCube, Source, Vault
from runtime.errors import Conflict, InvalidInput, Stale
from runtime.ids import new_id

KIND: Final = "memory.feedback"
PURPOSE: Final = "memory.feedback"
PROMPT: Final = prompt_of("feedback")
SHOWN: Final = 10
FLOOR: Final = 0.2
NEAR: Final = 5
SURE: Final = 0.9
QUOTED: Final = r"[\"“”'‘’«»]([^\"“”'‘’«»\n]{1,200})[\"“”'‘’«»]"
PLAIN: Final = r"(\S+(?: \S+){0,3}?)"
BEGIN: Final = r"^\W*(?:please )?"
REPLACES: Final = tuple(
    re.compile(form, re.I)
    for form in (
        rf"{BEGIN}(?:replace|change|correct|rename)\s+{QUOTED}\s+(?:with|to|by|into)\s+{QUOTED}\W*$",
        rf"^\s*{QUOTED}\s+(?:should be|must be|has to be|is really|is spelled)\s+{QUOTED}\W*$",
        rf"{BEGIN}(?:replace|change|rename)\s+{PLAIN}\s+(?:with|to|by|into)\s+{PLAIN}\W*$",
    )
)


def arguments(vault_id: str, feedback_id: str, memory_ids: Sequence[str] = ()) -> dict[str, JsonValue]:
    """The arguments of a feedback job; without `memory_ids` it is about what is near."""
    return {"vault_id": vault_id, "feedback_id": feedback_id, "memory_ids": list(memory_ids)}


@dataclass(frozen=True, slots=True)
class Replacement:
    """Words that are to be other words, wherever they stand."""

    original: str
    target: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A memory and what it is to say."""

    seen: MemCube
    text: str
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the feedback. `beside` are corrections of memories that may not be altered, by their ids."""

    edits: tuple[Edit, ...]
    additions: tuple[Child, ...]
    beside: Mapping[str, Child]


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
    """Handles `memory.feedback` jobs: `feedback_id` is the raw memory with the user's words, `memory_ids` what they are
    about (none: what is near)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result counts the corrections, the new memories, and the questions to a person."""
        if run.job.done and run.job.result is not None:
            return run.job.result
        vault_id, feedback_id = id_of(run.job, "vault_id"), id_of(run.job, "feedback_id")
        home = await home_of(self._parts.core, run.job.actor, vault_id)
        said = (await present(self._parts.core, run.job.actor, [feedback_id])).get(feedback_id)
        if said is None:
            return {"corrected": 0, "added": 0, "asked": 0}
        for attempt in range(1, TRIES + 1):
            about = await self._about(run, vault_id, said)
            plan = await self._plan(run, home, said, about)
            try:
                return await self._write(run, vault_id, said, plan)
            except Stale:
                if attempt == TRIES:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _about(self, run: JobRun, vault_id: str, said: MemCube) -> list[MemCube]:
        ids = ids_of(run.job, "memory_ids")
        if not ids:
            made = (await self._parts.vectors([said.content]))[0]
            near = await self._parts.nearby.neighbours(run.job.actor, vault_id, made, SHOWN)
            ids = [other.id for other in near if (other.cosine or 0.0) >= FLOOR]

            def by_words(tx: Tx) -> list[str]:
                hits = lexical.search(tx.connection, said.content, [vault_id], SHOWN + 1)
                found = rows.cubes_by_seq(tx, [hit.seq for hit in hits])
                return [found[hit.seq].id for hit in hits if hit.seq in found]

            ids += await self._parts.core.read(run.job.actor, by_words)
        ids = [id_ for id_ in dict.fromkeys(ids) if id_ != said.id]
        cubes = (await present(self._parts.core, run.job.actor, ids)).values()
        return [cube for cube in cubes if cube.state in classify.IN_USE and cube.vault_id == vault_id][:SHOWN]

    async def _plan(self, run: JobRun, home: Vault, said: MemCube, about: Sequence[MemCube]) -> Plan:
        wanted = replacement(said.content)
        texts: dict[str, str] = {}
        extra: list[str] = []
        if wanted is not None:
            texts = {c.id: text for c in about if (text := replaced(c.content, wanted)) != c.content}
        else:
            for item in await self._judged(run, said, about):
                known = [cube for cube in about if cube.id in item.memory_ids]
                text = " ".join((item.corrected_text or "").split())
                if not text or not _carried(text, said, known):
                    continue
                if known:
                    texts[known[0].id] = text
                else:
                    extra.append(text)
        by_id = {cube.id: cube for cube in about}
        vectors = await self._parts.vectors([*texts.values(), *extra])
        edits: list[Edit] = []
        beside: dict[str, Child] = {}
        for (id_, text), made in zip(texts.items(), vectors, strict=False):
            if protected(by_id[id_]):
                for made_child in await self._children(run, home, said, text, made, like=by_id[id_]):
                    beside[id_] = made_child
            else:
                edits.append(Edit(by_id[id_], text, made))
        additions: list[Child] = []
        for text, made in zip(extra, vectors[len(texts) :], strict=True):
            additions += await self._children(run, home, said, text, made)
        return Plan(tuple(edits), tuple(additions), beside)

    async def _judged(self, run: JobRun, said: MemCube, about: Sequence[MemCube]) -> list[Correction]:
        data: list[JsonValue] = [{"feedback": said.content}]
        data += [{"id": cube.id, "note": cube.content} for cube in about]
        answer, _ = await self._parts.asker.ask(PURPOSE, run.job.id, PROMPT, Judgement, data)
        return [item for item in answer.items if item.validity]

    async def _children(
        self, run: JobRun, home: Vault, said: MemCube, text: str, made: Vectors, like: MemCube | None = None
    ) -> list[Child]:
        """The new memory, unless admission refuses it; about the same as `like`, if it corrects that."""
        near = await self._parts.nearby.neighbours(run.job.actor, home.id, made, NEAR)
        draft = Draft(
            text,
            origin="inference_extraction",
            confidence=SURE,
            sensitivity=said.sensitivity,
            expires_at=said.expires_at,
            sources=(_source(said),),
        )
        if like is not None:
            hidden = tuple(dict.fromkeys((*like.sensitivity, *draft.sensitivity)))
            draft = replace(draft, semantic_type=like.semantic_type, subject=like.subject, attribute=like.attribute)
            draft = replace(draft, entities=like.entities, tags=like.tags, sensitivity=hidden)
        try:
            draft = admissible(draft, home, self._parts.core.clock.now())
        except InvalidInput:
            return []
        basis = said.content if like is None else f"{said.content} {like.content}"
        verdict = decide(Candidate(draft, span=basis, quote=basis), near)
        if verdict.outcome not in ("admit", "quarantine"):
            return []
        return [child(home.id, draft, verdict, made, [said.id], f"feedback {said.id}")]

    async def _write(self, run: JobRun, vault_id: str, said: MemCube, plan: Plan) -> dict[str, JsonValue]:
        review_ids = {id_: new_id("rev") for id_ in plan.beside}
        following = new_id("job")

        def work(tx: Tx) -> dict[str, JsonValue]:
            allowed = access.vault(tx, vault_id, "write")
            for edit in sorted(plan.edits, key=lambda edit: edit.seen.id):
                _correct(tx, allowed, said, edit)
            asked = 0
            for id_, correction in plan.beside.items():
                asked += _stand_beside(tx, allowed, id_, correction, review_ids[id_])
            made = write_children(tx, allowed, "feedback", plan.additions)
            classify.enqueue(tx, following, vault_id, made)
            return {"corrected": len(plan.edits), "added": len(made), "asked": asked}

        return await run.commit(work, done=1, total=1, so_far=lambda made: made)


def _carried(text: str, said: MemCube, known: Sequence[MemCube]) -> bool:
    """Whether the correction is made of what the feedback and the memories say that it corrects."""
    basis = " ".join((said.content, *(cube.content for cube in known)))
    return grounding_of(Candidate(Draft(text, origin="inference_extraction"), span=basis, quote=basis)) == 1.0


def _correct(tx: Tx, allowed: Access, said: MemCube, edit: Edit) -> None:
    """Write the correction. When another memory says it already, the wrong one is archived: it would say the same."""
    cube, _ = access.memory(tx, edit.seen.id, "write")
    if cube.version != edit.seen.version:
        raise store.stale(cube, edit.seen.version)
    try:
        after = store.change(
            tx,
            cube,
            kind="feedback",
            reason=f"feedback {said.id}",
            vectors=edit.vectors,
            sources=(_source(said),),
            content=edit.text,
        )
    except Stale:
        raise
    except Conflict as error:
        after = store.move(tx, cube, "archive", reason=f"feedback {said.id}: {error.message}")
    written(tx, allowed, "feedback", after, {"feedback": said.id, "state": after.state})


def _stand_beside(tx: Tx, allowed: Access, memory_id: str, correction: Child, review_id: str) -> int:
    """Store the correction of a memory that may not be altered, and ask which of the two is right."""
    made = write_children(tx, allowed, "feedback", [correction])
    for cube in made:
        store.link(tx, cube.id, memory_id, "CONTRADICTS")
        reviews.ask(
            tx, review_id, "conflict", cube, "feedback about a memory that may not be altered", other_id=memory_id
        )
    return len(made)


def _source(said: MemCube) -> Source:
    return Source("message", message_id=said.id, role="user", quote=said.content[:500], occurred_at=said.recorded_at)
