"""Extraction: claims out of raw memories, each one checked against the words it comes from.

The raw memories stay as they are and stay searchable. What the model gives is only a proposal: its span must stand in
the message, its dates must hold without the message, it must not repeat what stood in the same prompt, and then it
meets the admission like everything else. One raw memory is one unit of the job: its claims and the progress are one
transaction. When the model fails nothing is written. Source: memos §3.1 (4 to 6), §3.14 (L1), §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from memory import access, jobs, store
from memory.admission import Candidate, Other, decide
from memory.jobs import JobRun
from memory.pipelines import classify, dates
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import UNLIMITED, Child, Parts, child, id_of, ids_of, present, write_children
from memory.pipelines.replies import Extracted, Extraction, Span, moment
from memory.pipelines.windows import EXTERNAL_ROLES, WRITTEN_BY_MODELS, Turn, turns_of
from memory.store import Vectors
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube, Source
from runtime.ids import new_id

KIND: Final = "memory.extract"
PROMPT: Final = prompt_of("extract")
PASSED: Final = frozenset({"admit", "quarantine"})


def arguments(vault_id: str, memory_ids: Sequence[str], injected: Sequence[str] = ()) -> dict[str, JsonValue]:
    """The arguments of an extraction job. `injected`: memories that stood in the prompt of this conversation."""
    return {"vault_id": vault_id, "memory_ids": list(memory_ids), "injected": list(injected)}


class Extract:
    """Handles `memory.extract` jobs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result counts what became of the claims."""
        job, actor = run.job, run.job.actor
        vault_id, ids = id_of(job, "vault_id"), ids_of(job, "memory_ids")
        injected = await present(self._parts.core, actor, ids_of(job, "injected"))
        counts = {"admit": 0, "quarantine": 0, "drop": 0, "duplicate": 0}
        for place in range(job.done, len(ids)):
            raw = (await present(self._parts.core, actor, [ids[place]])).get(ids[place])
            children: list[Child] = []
            if raw is not None and raw.vault_id == vault_id:
                proposals = await self._propose(run, raw, list(injected.values()))
                for made in await self._judge(actor, raw, proposals, list(injected.values())):
                    counts[made.verdict.outcome] += 1
                    if made.verdict.outcome in PASSED:
                        children.append(made)
            await self._write(run, vault_id, raw, children, done=place + 1, total=len(ids))
        return {**counts}

    async def _propose(self, run: JobRun, raw: MemCube, injected: Sequence[MemCube]) -> list[tuple[Candidate, Draft]]:
        turns = turns_of(raw)
        shown: list[JsonValue] = [{"known": cube.content} for cube in injected]
        shown += [_shown(turn) for turn in turns]
        said, model = await self._parts.asker.ask(
            KIND, run.job.id, PROMPT, Extraction, shown, now=self._parts.core.clock.now().date().isoformat()
        )
        return [_candidate(raw, turns, item, model) for item in said.memories]

    async def _judge(
        self, actor: Actor, raw: MemCube, proposals: Sequence[tuple[Candidate, Draft]], injected: Sequence[MemCube]
    ) -> list[Child]:
        vectors = await self._parts.vectors([draft.content for _, draft in proposals])
        echoes = await self._parts.vectors([cube.content for cube in injected]) if proposals else []
        judged: list[Child] = []
        for (candidate, draft), made in zip(proposals, vectors, strict=True):
            near = await self._parts.nearby.neighbours(actor, raw.vault_id, made)
            others = [other for other in near if other.id != raw.id]
            # What an earlier claim of the same window says is not in the index yet.
            others += [
                Other(item.new.id, item.new.draft.content, _cosine(made, item.new.vectors))
                for item in judged
                if item.verdict.outcome in PASSED
            ]
            seen = [Other(c.id, c.content, _cosine(made, v)) for c, v in zip(injected, echoes, strict=True)]
            verdict = decide(candidate, others, seen)
            _, settled = dates.absolute(draft.content, None)
            if verdict.outcome == "admit" and not settled:
                verdict = replace(verdict, outcome="quarantine", reasons=("its date depends on when it was said",))
            judged.append(child(raw.vault_id, draft, verdict, made, [raw.id], f"extracted from {raw.id}"))
        return judged

    async def _write(
        self, run: JobRun, vault_id: str, raw: MemCube | None, children: Sequence[Child], *, done: int, total: int
    ) -> None:
        following = new_id("job")

        def work(tx: Tx) -> None:
            allowed = access.vault(tx, vault_id, "write")
            # The raw memory may have been deleted while the model was reading it.
            if raw is None or store.get(tx, raw.id).state in ("deleted", "expired"):
                return
            made = write_children(tx, allowed, "extract", children)
            fresh: list[JsonValue] = [cube.id for cube in made if cube.state == "activated"]
            if fresh:
                jobs.enqueue(
                    tx,
                    following,
                    classify.KIND,
                    {"vault_id": vault_id, "memory_ids": fresh},
                    total=len(fresh),
                    limit=UNLIMITED,
                )

        await run.commit(work, done=done, total=total)


def _shown(turn: Turn) -> JsonValue:
    shown: dict[str, JsonValue] = {"message_id": turn.id, "role": turn.role, "text": turn.text}
    if turn.speaker:
        shown["speaker"] = turn.speaker
    if turn.at:
        shown["at"] = turn.at.isoformat()
    return shown


def _candidate(raw: MemCube, turns: Sequence[Turn], item: Extracted, model: str) -> tuple[Candidate, Draft]:
    """The claim as a draft, with the words that its span covers as its quote; none, when it names no message."""
    same = [turn for turn in turns if turn.id == item.span.message_id or len(turns) == 1]
    turn = same[0] if same else None
    start, end = _whole_words(turn.text, item.span) if turn else (0, 0)
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
    draft = Draft(
        content,
        subject=_named(item.subject),
        attribute=_named(item.attribute),
        title=" ".join(item.key.split())[:300] or None,
        speaker=turn.speaker if turn else None,
        entities=(item.subject.strip(),) if _named(item.subject) and item.subject else (),
        tags=tuple(dict.fromkeys((*raw.tags, *(tag.strip()[:100] for tag in item.tags if tag.strip())))),
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
    return Candidate(judged, span=span, quote=quote, fresh=fresh), draft


def _whole_words(text: str, span: Span) -> tuple[int, int]:
    """The span widened to whole words; the whole text when it lies outside, because models count characters badly."""
    start, end = span.start, min(span.end, len(text))
    if not text[start:end].strip():
        return 0, len(text)
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


def _named(name: str | None) -> str | None:
    return " ".join(name.split())[:300] or None if name else None


def _cosine(a: Vectors, b: Vectors) -> float | None:
    shared = sorted(a.keys() & b.keys())
    return float(a[shared[0]] @ b[shared[0]]) if shared else None
