"""Classification: how a new memory relates to those that are near it, and what follows from that.

Redundant ones are merged, a newer state of things closes the older one, and a contradiction is fused or kept with both
sides, a link and a question to a person. Nothing is ever lost, and what is frozen or pinned is never altered: what
contradicts it is linked and asked about, what repeats it only linked. The model is asked outside of the transaction;
inside, both memories must still say what was compared, else the pair is compared again (three times at most).
Source: memos §3.3, §3.14 (L3), §7 (17).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from sqlalchemy import or_, select

from memory import access, jobs, merging, reviews, store
from memory.access import Access
from memory.admitting.admission import CLAIMS, Other, is_near_duplicate, is_quoted, speak_of_others
from memory.conflict import later, since
from memory.jobs import JobRun
from memory.pipelines.asking import prompt_of
from memory.pipelines.base import TRIES, UNLIMITED, Parts, counted, home_of, id_of, ids_of, present, protected, written
from memory.pipelines.fuse import Fused, fuse, put_fused
from memory.pipelines.replies import PairLabel
from memory.tables import EdgeRow
from memory.tx import Tx
from memory.types import Actor, MemCube, Vault
from runtime.errors import Stale
from runtime.ids import new_id

KIND: Final = "memory.classify"
PURPOSE: Final = "memory.classify_pair"
PROMPT: Final = prompt_of("classify_pair")
SIMILAR: Final = 0.80
PAIRS: Final = 5
DOUBT: Final = 0.8
IN_USE: Final = frozenset({"activated", "frozen"})


def arguments(vault_id: str, memory_ids: Sequence[str]) -> dict[str, JsonValue]:
    """The arguments of a classification job."""
    return {"vault_id": vault_id, "memory_ids": list(memory_ids)}


def enqueue(tx: Tx, job_id: str, vault_id: str, cubes: Sequence[MemCube]) -> None:
    """Have those of the memories that are in use compared with what is near them; part of whatever made them."""
    ids = [cube.id for cube in cubes if cube.state == "activated"]
    if ids:
        jobs.enqueue(tx, job_id, KIND, arguments(vault_id, ids), total=len(ids), limit=UNLIMITED)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found about a pair: `new` is the memory that the job is about. `fused` is L4's answer to a contradiction."""

    new: MemCube
    old: MemCube
    label: PairLabel
    fused: Fused | None = None


class Classify:
    """Handles `memory.classify` jobs: each of `memory_ids` against its neighbours."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, run: JobRun) -> Mapping[str, JsonValue]:
        """See `Handler`. The result counts the labels."""
        vault_id, ids = id_of(run.job, "vault_id"), ids_of(run.job, "memory_ids")
        home = await home_of(self._parts.core, run.job.actor, vault_id)
        counts = counted(run.job)
        for place in range(run.job.done, len(ids)):
            for other_id in await self._near(run.job.actor, vault_id, ids[place]):
                label = await self._settle(run, home, ids[place], other_id, done=place)
                counts[label] = counts.get(label, 0) + 1
            await run.commit(lambda tx: None, done=place + 1, total=len(ids), so_far=lambda _: {**counts})
        return {**counts}

    async def _near(self, actor: Actor, vault_id: str, memory_id: str) -> list[str]:
        """The memories to compare with: the same slot first, then the nearest that are similar enough."""
        cube = (await present(self._parts.core, actor, [memory_id])).get(memory_id)
        if cube is None or cube.state != "activated" or cube.vault_id != vault_id:
            return []
        made = (await self._parts.vectors([cube.content]))[0]
        # It is near to itself, and some of the others may be settled.
        near = await self._parts.nearby.neighbours(actor, vault_id, made, 2 * PAIRS)
        similar = [other.id for other in near if (other.cosine or 0.0) >= SIMILAR]

        def work(tx: Tx) -> list[str]:
            wanted = dict.fromkeys([*(other.id for other in store.same_slot(tx, cube)), *similar])
            there, settled = store.many(tx, list(wanted)), linked(tx, cube.id)
            usable = [id_ for id_ in wanted if id_ in there and comparable(cube, there[id_])]
            return [id_ for id_ in usable if id_ not in settled][:PAIRS]

        return await self._parts.core.read(actor, work)

    async def _settle(self, run: JobRun, home: Vault, new_id_: str, old_id: str, *, done: int) -> str:
        for attempt in range(1, TRIES + 1):
            pair = await present(self._parts.core, run.job.actor, [new_id_, old_id])
            if not comparable(pair.get(new_id_), pair.get(old_id)):
                return "gone"
            found = await self._classify(run, home, pair[new_id_], pair[old_id])
            review_id = new_id("rev")

            def work(tx: Tx, found: Found = found, review_id: str = review_id) -> None:
                apply(tx, found, review_id)

            try:
                await run.commit(work, done=done)
            except Stale:
                if attempt == TRIES:
                    raise
            else:
                return found.label.label
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _classify(self, run: JobRun, home: Vault, new: MemCube, old: MemCube) -> Found:
        if await self._repeats(new, old):
            # Merges without asking.
            quotes = [old.content, new.content]
            return Found(
                new, old, PairLabel(label="redundant", reason="near-duplicate", quotes=quotes, newer="unknown")
            )
        said, _ = await self._parts.asker.ask(
            PURPOSE, run.job.id, PROMPT, PairLabel, [shown("a", old), shown("b", new)]
        )
        label = checked(said, old, new)
        if label.label == "contradictory" and not (protected(old) or protected(new)):
            return Found(new, old, label, await fuse(self._parts, run, home, old, new))
        return Found(new, old, label)

    async def _repeats(self, a: MemCube, b: MemCube) -> bool:
        """Whether one of two claims says no more than the other."""
        if not {a.semantic_type, b.semantic_type} <= CLAIMS or speak_of_others(a.subject, b.subject):
            return False
        first, second = await self._parts.vectors([a.content, b.content])
        shared = sorted(first.keys() & second.keys())
        cosine = float(first[shared[0]] @ second[shared[0]]) if shared else None
        return is_near_duplicate(a.content, Other(b.id, b.content, cosine)) or is_near_duplicate(
            b.content, Other(a.id, a.content, cosine)
        )


def comparable(new: MemCube | None, old: MemCube | None) -> bool:
    """Whether both are still in use, in one vault."""
    if new is None or old is None or new.id == old.id or new.vault_id != old.vault_id:
        return False
    return new.state in IN_USE and old.state in IN_USE


def checked(said: PairLabel, a: MemCube, b: MemCube) -> PairLabel:
    """The answer, as far as it can be relied on: without a quote from each side nothing follows, and an update of which
    nobody knows the newer side is a contradiction."""
    label = said.label
    if label != "independent" and not (is_quoted(said.quotes[0], a.content) and is_quoted(said.quotes[1], b.content)):
        return said.model_copy(update={"label": "independent", "reason": "no quote from each side"})
    if label == "temporal_update":
        known = later(a, b)
        newer = said.newer if known is None else "a" if known is a else "b"
        if newer == "unknown":
            return said.model_copy(update={"label": "contradictory"})
        return said.model_copy(update={"newer": newer})
    return said


def apply(tx: Tx, found: Found, review_id: str) -> None:
    """Write what follows from the label. Raises `Stale` when one of the two has changed since it was compared."""
    merging.hold(tx, {found.new.id, found.old.id})
    new, allowed = access.memory(tx, found.new.id, "write")
    old, _ = access.memory(tx, found.old.id, "write")
    for now, then in ((new, found.new), (old, found.old)):
        if now.version != then.version:
            raise store.stale(now, then.version)
    label = found.label
    # Somebody else may have settled the pair while the model was asked.
    if label.label == "independent" or not comparable(new, old) or old.id in linked(tx, new.id):
        return
    if label.label == "redundant":
        _redundant(tx, allowed, new, old)
    elif label.label == "temporal_update":
        # In the prompt `a` is the old memory and `b` the new one, whichever of them tells the newer state of things.
        before, after = (old, new) if label.newer == "b" else (new, old)
        if protected(before) or begins_later(before, after, tx):
            _contradict(tx, allowed, before=before, after=after, review_id=review_id, reason=label.reason)
        else:
            closed = store.supersede(tx, before, after, reason=label.reason)
            written(tx, allowed, "supersede", closed, {"by": after.id})
    elif found.fused is not None:
        written(tx, allowed, "fuse", put_fused(tx, found.fused, old, new), {"ids": [old.id, new.id]})
    else:
        _contradict(tx, allowed, before=old, after=new, review_id=review_id, reason=label.reason)


def begins_later(before: MemCube, after: MemCube, tx: Tx) -> bool:
    """Whether what is to be closed begins only when it would end."""
    return before.valid_from is not None and before.valid_from >= (since(after) or tx.now)


def linked(tx: Tx, memory_id: str) -> set[str]:
    """The memories that a pipeline has settled with this one, and those that it was made from."""
    settled = ("MERGED_TO", "SUPERSEDES", "CONTRADICTS", "DERIVED_FROM", "PARENT")
    query = select(EdgeRow.src_id, EdgeRow.dst_id).where(
        or_(EdgeRow.src_id == memory_id, EdgeRow.dst_id == memory_id), EdgeRow.type.in_(settled)
    )
    return {end for row in tx.connection.execute(query) for end in (row.src_id, row.dst_id)} - {memory_id}


def shown(name: str, cube: MemCube) -> JsonValue:
    """A memory as the model sees it: its text, its dates and where it comes from."""
    told: dict[str, JsonValue] = {"note": name, "text": cube.content, "recorded_at": cube.recorded_at.isoformat()}
    for field in ("valid_from", "occurred_at"):
        value = getattr(cube, field)
        if value is not None:
            told[field] = value.isoformat()
    if cube.subject:
        told["subject"] = cube.subject
    return told


def _redundant(tx: Tx, allowed: Access, a: MemCube, b: MemCube) -> None:
    if protected(a) or protected(b):
        store.link(tx, a.id, b.id, "RELATES")
        written(tx, allowed, "link", a, {"to": b.id, "type": "RELATES"})
        return
    keep, other = merging.richer(a, b)
    written(tx, allowed, "merge", merging.merge(tx, keep, other), {"ids": [keep.id, other.id]})


def _contradict(tx: Tx, allowed: Access, *, before: MemCube, after: MemCube, review_id: str, reason: str) -> None:
    """Both stay; both lose confidence unless they are protected; a person is asked."""
    store.link(tx, after.id, before.id, "CONTRADICTS")
    written(tx, allowed, "link", after, {"to": before.id, "type": "CONTRADICTS"})
    for cube in sorted((before, after), key=lambda cube: cube.id):
        if not protected(cube):
            doubted = store.change(
                tx,
                cube,
                kind="conflict",
                reason="contradicts another memory",
                confidence=round(cube.confidence * DOUBT, 6),
            )
            written(tx, allowed, "conflict", doubted, {"confidence": doubted.confidence})
    reviews.ask(tx, review_id, "conflict", after, reason, other_id=before.id)
