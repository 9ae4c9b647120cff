"""How memories come in: check, embed, judge, store.

Everything that takes long (vectors, neighbours) happens before the transaction; the transaction writes all of a batch or
nothing. A draft that cannot be stored stops no other, and has no id. Source: memos §3.1; contract §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from memory import access, audit, jobs, reviews, store
from memory.access import Access
from memory.admitting.admission import Candidate, Verdict
from memory.admitting.gate import Gate
from memory.changes import admissible
from memory.conflict import supersedes
from memory.core import Core
from memory.pipelines import extract
from memory.spaces import Spaces
from memory.store import NewMemory, Vectors
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube, State, Vault
from runtime.errors import Conflict, InvalidInput, MnemeError
from runtime.ids import new_id
from runtime.telemetry import get_logger

Wait = Literal["committed", "indexed", "extracted"]
MAX_BATCH: Final = 1000
TOLD_IDS: Final = 100

log = get_logger(__name__)


class Indexing(Protocol):
    """Waits for the indexes (memory/upkeep/keeper.py)."""

    async def wait_for(self, ids: Sequence[str]) -> bool:
        """Whether all of them got into the indexes; False when that takes too long."""
        ...


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one draft. `memory` is None exactly when nothing was stored; then `error` or `reasons` say why.

    `job` extracts claims from it, when that was asked for.
    """

    memory: MemCube | None
    created: bool
    outcome: str
    reasons: tuple[str, ...] = ()
    error: MnemeError | None = None
    indexed: bool = False
    job: str | None = None


@dataclass(slots=True)
class _Batch:
    """Drafts by their place in the call, sorted by what becomes of them."""

    answers: dict[int, Added] = field(default_factory=dict)
    usable: dict[int, Draft] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    new: dict[int, NewMemory] = field(default_factory=dict)
    twins: dict[int, str] = field(default_factory=dict)


class Adding:
    """Takes drafts in. `add` is the list of its steps."""

    def __init__(self, core: Core, spaces: Spaces, gate: Gate, indexing: Indexing) -> None:
        self._core = core
        self._spaces = spaces
        self._gate = gate
        self._indexing = indexing

    async def add(
        self, actor: Actor, drafts: Sequence[Draft], *, vault: str | None, wait: Wait, force: bool, reason: str
    ) -> list[Added]:
        """See `Memory.add`."""
        if len(drafts) > MAX_BATCH:
            raise InvalidInput(f"memories: {len(drafts)} in one call; expected at most {MAX_BATCH}", param="memories")
        home = await self._home(actor, vault)
        batch = self._checked(drafts, home)
        vectors = await self.vectors([draft.content for draft in batch.usable.values()])
        await self._judge(actor, home, batch, vectors, raw=wait == "extracted", force=force, reason=reason)
        await self._store(actor, home, batch, extracts=wait == "extracted")
        await self._twins(actor, batch)
        if wait != "committed":
            await self._wait(batch)
        return [batch.answers[place] for place in range(len(drafts))]

    async def vectors(self, texts: Sequence[str]) -> list[Vectors]:
        """Vectors, or none where the encoder cannot be asked: the relay makes them later, full text finds them now."""
        if not texts:
            return []
        try:
            return await self._spaces.documents(texts)
        except MnemeError as error:
            log.warning("memory.not_embedded", count=len(texts), code=error.code, error=error.message)
            return [{} for _ in texts]

    async def _home(self, actor: Actor, vault: str | None) -> Vault:
        await self._core.default_vault(actor)
        home = (await self._core.read(actor, lambda tx: access.vault(tx, vault or access.DEFAULT, "write"))).vault
        if home.archived_at is not None:
            raise Conflict(f"vault {home.name!r} is archived; restore it before you write", param="vault")
        return home

    def _checked(self, drafts: Sequence[Draft], home: Vault) -> _Batch:
        batch, now = _Batch(), self._core.clock.now()
        for place, draft in enumerate(drafts):
            try:
                batch.usable[place] = admissible(draft, home, now)
            except InvalidInput as error:
                batch.answers[place] = Added(None, created=False, outcome="refused", error=error)
        return batch

    async def _judge(
        self,
        actor: Actor,
        home: Vault,
        batch: _Batch,
        vectors: Sequence[Vectors],
        *,
        raw: bool,
        force: bool,
        reason: str,
    ) -> None:
        candidates = [Candidate(draft) for draft in batch.usable.values()]
        verdicts = await self._gate.judge(actor, home.id, candidates, vectors)
        for (place, draft), made, verdict in zip(batch.usable.items(), vectors, verdicts, strict=True):
            batch.verdicts[place] = verdict
            if verdict.outcome == "drop" and not force:
                batch.answers[place] = Added(None, created=False, outcome="dropped", reasons=verdict.reasons)
            elif verdict.outcome == "duplicate" and verdict.of is not None and not force:
                batch.twins[place] = verdict.of
            else:
                held = verdict.outcome == "quarantine" and not force
                state: State = "quarantined" if held else "generated" if raw else draft.state
                batch.new[place] = NewMemory(
                    new_id("mem"), home.id, replace(draft, state=state), new_id("prv"), made, reason
                )

    async def _store(self, actor: Actor, home: Vault, batch: _Batch, *, extracts: bool) -> None:
        if not batch.new:
            return
        review_ids = {place: new_id("rev") for place in batch.new}
        job_id = new_id("job")

        def work(tx: Tx) -> tuple[dict[int, store.Inserted], set[int], bool]:
            allowed = access.vault(tx, home.id, "write")
            stored = dict(zip(batch.new, store.insert_all(tx, list(batch.new.values())), strict=True))
            made = {place: item.cube for place, item in stored.items() if not item.duplicate}
            for place, cube in made.items():
                if cube.state == "quarantined":
                    why = "; ".join(batch.verdicts[place].reasons)
                    reviews.ask(tx, review_ids[place], "quarantine", cube, why)
                close_superseded(tx, cube)
            _audited(tx, allowed, list(made.values()))
            raw = [cube.id for cube in made.values() if cube.state == "generated"]
            if extracts and raw:
                jobs.enqueue(tx, job_id, extract.KIND, extract.arguments(home.id, raw), total=len(raw))
            hidden = {place for place, item in stored.items() if item.duplicate and not _may_read(tx, item.cube)}
            return stored, hidden, extracts and bool(raw)

        stored, hidden, queued = await self._core.write(actor, work)
        for place, item in stored.items():
            if place in hidden:
                batch.answers[place] = _there_already()
                continue
            batch.answers[place] = Added(
                item.cube,
                created=not item.duplicate,
                outcome="duplicate" if item.duplicate else item.cube.state,
                reasons=batch.verdicts[place].reasons,
                job=job_id if queued and not item.duplicate and item.cube.state == "generated" else None,
            )

    async def _twins(self, actor: Actor, batch: _Batch) -> None:
        """Those that say what a memory of the vault says already: the answer is that memory."""
        if not batch.twins:
            return

        def work(tx: Tx) -> dict[str, MemCube]:
            found = store.many(tx, list(batch.twins.values()))
            return {id_: cube for id_, cube in found.items() if _may_read(tx, cube)}

        there = await self._core.read(actor, work)
        for place, twin in batch.twins.items():
            reasons = batch.verdicts[place].reasons
            batch.answers[place] = (
                Added(there[twin], created=False, outcome="duplicate", reasons=reasons)
                if twin in there
                else _there_already()
            )

    async def _wait(self, batch: _Batch) -> None:
        ids = [added.memory.id for added in batch.answers.values() if added.memory is not None]
        if ids and await self._indexing.wait_for(ids):
            for place, added in batch.answers.items():
                batch.answers[place] = replace(added, indexed=added.memory is not None)


def close_superseded(tx: Tx, new: MemCube) -> None:
    """Close what the new memory takes the place of (memory/conflict.py)."""
    for old in store.same_slot(tx, new):
        if supersedes(old, new):
            store.supersede(tx, old, new)


def _may_read(tx: Tx, cube: MemCube) -> bool:
    """Whether the writer may see the memory that is there already; a grant may only allow to write."""
    try:
        access.memory(tx, cube.id, "read")
    except (access.Hidden, access.Refused):
        return False
    return True


def _there_already() -> Added:
    error = Conflict("the vault already has this memory, and you may not read it", param="content")
    return Added(None, created=False, outcome="duplicate", error=error)


def _audited(tx: Tx, allowed: Access, made: Sequence[MemCube]) -> None:
    if made:
        detail: Mapping[str, object] = {"count": len(made), "ids": [cube.id for cube in made[:TOLD_IDS]]}
        audit.record(tx, "add", "memory", made[0].id, chain=made[0].vault_id, rule=allowed.rule, detail=detail)
