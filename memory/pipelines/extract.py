"""Extraction: claims out of raw memories, each one checked against the words it comes from.

The raw memories stay as they are and stay searchable. What the model gives is only a proposal: its span must stand in
the message, its dates must hold without the message, it must not repeat what stood in the same prompt, and then it
meets the admission like everything else. One raw memory is one unit of the job: its claims and the progress are one
transaction. When the model fails nothing is written. Source: memos §3.1 (4 to 6), §3.14 (L1), §5.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pydantic import JsonValue

from memory import access, store
from memory.admitting.admission import CARRIED, Candidate, Other, Verdict, content_words, decide
from memory.changes import admissible
from memory.jobs import JobRun
from memory.pipelines import classify, dates
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import GONE, Child, Parts, child, counted, home_of, id_of, ids_of, present, write_children
from memory.pipelines.replies import Extracted, Extraction, Span, moment
from memory.pipelines.windows import EXTERNAL_ROLES, WRITTEN_BY_MODELS, Turn, turns_of
from memory.store import Vectors
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube, Source, Vault
from runtime.errors import InvalidInput
from runtime.ids import new_id

KIND: Final = "memory.extract"
PURPOSE: Final = "memory.extract"
PROMPT: Final = prompt_of("extract")
PASSED: Final = frozenset({"admit", "quarantine"})
OUTCOMES: Final = ("admit", "quarantine", "drop", "duplicate")
NEAR: Final = 5
SENTENCE: Final = re.compile(r"[^\s.!?][^.!?\n]*[.!?]*")


def arguments(vault_id: str, memory_ids: Sequence[str], injected: Sequence[str] = ()) -> dict[str, JsonValue]:
    """The arguments of an extraction job. `injected`: memories that stood in the prompt of this conversation."""
    return {"vault_id": vault_id, "memory_ids": list(memory_ids), "injected": list(injected)}


class Proposal(NamedTuple):
    """A claim as it would be stored, and as it is judged: what an outsider said is judged as his."""

    draft: Draft
    candidate: Candidate


class Extract:
    """Handles `memory.extract` jobs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result counts what became of the claims."""
        job, actor = run.job, run.job.actor
        vault_id, ids = id_of(job, "vault_id"), ids_of(job, "memory_ids")
        home = await home_of(self._parts.core, actor, vault_id)
        injected = list((await present(self._parts.core, actor, ids_of(job, "injected"), "read")).values())
        counts = counted(job, OUTCOMES)
        for place in range(job.done, len(ids)):
            raw = (await present(self._parts.core, actor, [ids[place]])).get(ids[place])
            judged: list[Child] = []
            # What waits for a person is not read by a model.
            if raw is not None and raw.vault_id == vault_id and raw.state != "quarantined":
                proposals, unusable = await self._propose(run, home, raw, injected)
                counts["drop"] += unusable
                judged = await self._judge(actor, raw, proposals, injected)
            counts = await self._write(run, vault_id, raw, judged, counts, done=place + 1, total=len(ids))
        return {**counts}

    async def _propose(
        self, run: JobRun, home: Vault, raw: MemCube, injected: Sequence[MemCube]
    ) -> tuple[list[Proposal], int]:
        """What the model proposes, and how many of its claims no memory can hold."""
        turns = turns_of(raw)
        shown: list[JsonValue] = [{"known": cube.content} for cube in injected]
        shown += [_shown(turn) for turn in turns]
        now = self._parts.core.clock.now()
        said, model = await self._parts.asker.ask(
            PURPOSE, run.job.id, PROMPT, Extraction, shown, now=now.date().isoformat()
        )
        proposals: list[Proposal] = []
        for item in said.memories:
            draft, candidate = _proposal(raw, turns, item, model)
            try:
                draft = admissible(draft, home, now)
            except InvalidInput:
                continue
            proposals.append(Proposal(draft, candidate))
        return proposals, len(said.memories) - len(proposals)

    async def _judge(
        self, actor: Actor, raw: MemCube, proposals: Sequence[Proposal], injected: Sequence[MemCube]
    ) -> list[Child]:
        vectors = await self._parts.vectors([draft.content for draft, _ in proposals])
        echoes = await self._parts.vectors([cube.content for cube in injected]) if proposals else []
        judged: list[Child] = []
        for (draft, candidate), made in zip(proposals, vectors, strict=True):
            near = await self._parts.nearby.neighbours(actor, raw.vault_id, made, NEAR + 1)
            others = [other for other in near if other.id != raw.id]
            # What an earlier claim of the same window says is not in the index yet.
            others += [
                Other(item.new.id, item.new.draft.content, _cosine(made, item.new.vectors), item.new.draft.subject)
                for item in judged
                if item.verdict.outcome in PASSED
            ]
            seen = [Other(c.id, c.content, _cosine(made, v)) for c, v in zip(injected, echoes, strict=True)]
            verdict = _dated(decide(candidate, others, seen), draft)
            judged.append(child(raw.vault_id, draft, verdict, made, [raw.id], f"extracted from {raw.id}"))
        return judged

    async def _write(
        self,
        run: JobRun,
        vault_id: str,
        raw: MemCube | None,
        judged: Sequence[Child],
        counts: Mapping[str, int],
        *,
        done: int,
        total: int,
    ) -> dict[str, int]:
        """Store what has passed and return the counts with it."""
        following = new_id("job")
        passed = [item for item in judged if item.verdict.outcome in PASSED]

        def work(tx: Tx) -> list[MemCube]:
            allowed = access.vault(tx, vault_id, "write")
            # The raw memory may have been deleted while the model was reading it.
            if raw is None or store.get(tx, raw.id).state in GONE:
                return []
            made = write_children(tx, allowed, "extract", passed)
            classify.enqueue(tx, following, vault_id, made)
            return made

        def counting(made: Sequence[MemCube]) -> dict[str, int]:
            became: Counter[str] = Counter(i.verdict.outcome for i in judged if i.verdict.outcome not in PASSED)
            became.update("quarantine" if cube.state == "quarantined" else "admit" for cube in made)
            became["duplicate"] += len(passed) - len(made)
            return {name: count + became[name] for name, count in counts.items()}

        made = await run.commit(work, done=done, total=total, so_far=lambda made: {**counting(made)})
        return counting(made)


def _dated(verdict: Verdict, draft: Draft) -> Verdict:
    _, settled = dates.absolute(draft.content, None)
    if verdict.outcome != "admit" or settled:
        return verdict
    return replace(verdict, outcome="quarantine", reasons=("its date depends on when it was said",))


def _shown(turn: Turn) -> JsonValue:
    shown: dict[str, JsonValue] = {"message_id": turn.id, "role": turn.role, "text": turn.text}
    if turn.speaker:
        shown["speaker"] = turn.speaker
    if turn.at:
        shown["at"] = turn.at.isoformat()
    return shown


def _proposal(raw: MemCube, turns: Sequence[Turn], item: Extracted, model: str) -> Proposal:
    """The claim, with the words that its span covers as its quote; without any, when it names no message."""
    same = [turn for turn in turns if turn.id == item.span.message_id or len(turns) == 1]
    turn = same[0] if same else None
    start, end = _quoted(turn.text, item) if turn else (0, 0)
    quote = turn.text[start:end] if turn else ""
    content, _ = dates.absolute(" ".join(item.text.split()), turn.at if turn else raw.occurred_at)
    source = Source(
        "message",
        message_id=turn.id if turn else None,
        role=turn.role if turn else None,
        span_start=turn.offset + start if turn else None,
        span_end=turn.offset + end if turn else None,
        quote=quote or None,
        occurred_at=turn.at if turn else None,
        model=model,
    )
    subject = _named(item.subject)
    told = ["user"] if item.kind == "user" else []
    draft = Draft(
        content,
        subject=subject,
        attribute=_named(item.attribute),
        title=" ".join(item.key.split())[:300] or None,
        speaker=turn.speaker if turn else None,
        entities=(subject,) if subject else (),
        tags=tuple(
            dict.fromkeys((*raw.tags, *told, *(" ".join(tag.split())[:100] for tag in item.tags if tag.strip())))
        ),
        sensitivity=raw.sensitivity,
        origin="inference_extraction",
        confidence=item.confidence,
        watermark=raw.watermark,
        valid_from=moment(item.valid_from),
        expires_at=raw.expires_at,
        occurred_at=turn.at if turn else raw.occurred_at,
        sources=(source,),
    )
    role = turn.role if turn else "document"
    outside = role in EXTERNAL_ROLES or raw.origin in ("external_retrieval", "import")
    judged = replace(draft, origin="external_retrieval") if outside else draft
    span = " ".join(part for part in (turn.speaker, turn.text) if part) if turn else ""
    fresh = role not in WRITTEN_BY_MODELS
    return Proposal(draft, Candidate(judged, span=span, quote=quote, fresh=fresh))


def _quoted(text: str, item: Extracted) -> tuple[int, int]:
    """The span of the claim in its message. Models count characters badly: one that carries less of the claim than a
    sentence of the message does gives way to that sentence, and all of the message to a span outside of it."""
    start, end = _whole_words(text, item.span)
    told = content_words(item.text)

    def carried(part: tuple[int, int]) -> int:
        return len(told & content_words(text[part[0] : part[1]]))

    best = max((found.span() for found in SENTENCE.finditer(text)), key=carried, default=(start, end))
    return (start, end) if carried((start, end)) >= CARRIED * carried(best) else best


def _whole_words(text: str, span: Span) -> tuple[int, int]:
    """The span widened to whole words; the whole text when it lies outside."""
    start, end = span.start, min(span.end, len(text))
    if not text[start:end].strip():
        return 0, len(text)
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return start, end


def _named(name: str | None) -> str | None:
    return " ".join(name.split())[:300] or None if name else None


def _cosine(a: Vectors, b: Vectors) -> float | None:
    shared = sorted(a.keys() & b.keys())
    return float(a[shared[0]] @ b[shared[0]]) if shared else None
