"""Revising: changes of a vault that belong together, decided on what is there, applied all or not at all.

Whoever decides has seen memories in certain versions, and what is there may have changed since. So the decision is a pure
function that is called inside the transaction, with nobody else changing the vault, and given the memories as they are:
it can see that one is stale or gone and choose something else. What takes long (vectors, neighbours) happens before.

A plan has a token, which stands in the reasons of all that it wrote. A plan that was committed by a process that died
before it could say so is found by it, and not applied again. Source: empirical_mcts §3.8, §5 (concurrent questions,
crash); memos §3.5; ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import anyio
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from memory import access, audit, explain, merging, reviews, rows, store
from memory.access import Access
from memory.admitting import poisoning, secrets
from memory.changes import admissible, applied
from memory.core import Core
from memory.indices.base import Filter
from memory.lifecycle import lifetime_over
from memory.revisions import Insert, Op, Remove, Revised, Revision, Rewrite, Skip, There, Written
from memory.spaces import Spaces
from memory.store import NewMemory, Vectors
from memory.tables import MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import LIVE, Actor, MemCube, SemanticType
from runtime.errors import Forbidden, StorageError
from runtime.ids import new_id
from runtime.telemetry import get_logger

# From here on two texts say the same.
ALIKE: Final = 0.95
NEIGHBOURS: Final = 5
INDEXED_WITHIN_S: Final = 2.0
MARK: Final = re.compile(r"\[(?P<token>\S+) (?P<place>\d+) (?P<op>[a-z]+)\]$")

log = get_logger(__name__)


class _Embedding(Protocol):
    async def vectors(self, texts: Sequence[str]) -> list[Vectors]: ...


class _Indexing(Protocol):
    async def wait_for(self, ids: Sequence[str]) -> bool: ...


class Revising:
    """See the module; reached as `Memory.revising`."""

    def __init__(self, core: Core, spaces: Spaces, embedding: _Embedding, indexing: _Indexing) -> None:
        self._core = core
        self._spaces = spaces
        self._embedding = embedding
        self._indexing = indexing

    async def check(self, actor: Actor, vault: str) -> str:
        """The id of the vault. Raises `UnknownName`, `Forbidden`, `Conflict` when the actor may not write into it."""
        await self._core.default_vault(actor)

        def work(tx: Tx) -> str:
            allowed = access.vault(tx, vault, "write")
            access.need_open(allowed)
            return allowed.vault.id

        return await self._core.read(actor, work)

    async def revise(
        self,
        actor: Actor,
        vault: str,
        decide: Callable[[There], Sequence[Revision]],
        *,
        token: str,
        about: Sequence[str],
        new_ids: Sequence[str],
        texts: Sequence[str],
        alike: Filter,
        subjects: Sequence[str] = (),
    ) -> Revised:
        """Apply what `decide` says in one transaction; it may be called twice, so it must be pure.

        `about`: the memories that it wants to see, `new_ids`: the ids that it may give to new ones, `texts`: the texts that
        it may write, `alike`: where memories that say the same are looked for (the vault is put in), `subjects`: it also
        sees the memories about these, of the types of `alike`, whoever wrote them meanwhile. The same `token` again gives
        what was done the first time. Text that holds a secret, or talks to a model, waits for a person as a new memory
        and never gets into an old one. Raises `UnknownName`, `Forbidden`, `Conflict`, `StorageError`; then nothing is done.
        """
        vault_id = await self.check(actor, vault)
        texts = tuple(dict.fromkeys(texts))
        vectors = dict(zip(texts, await self._embedding.vectors(texts), strict=True))
        near = await self._near(vectors, replace(alike, vault_ids=(vault_id,)))
        wanted = tuple(dict.fromkeys([*about, *(id_ for ids in near.values() for id_ in ids)]))
        doubts = {text: _doubts(text) for text in texts}
        made = {id_: (new_id("prv"), new_id("rev")) for id_ in new_ids}
        alike_texts = _alike(vectors, self._spaces.active.id)

        def work(tx: Tx) -> Revised:
            allowed = access.vault(tx, vault_id, "write", alone=True)
            access.need_open(allowed)
            named = _named(tx, allowed, subjects, alike.semantic_types)
            done = _done(tx, token, [*about, *new_ids, *(cube.id for cube in named)])
            if done:
                return Revised(done)
            live = tuple(cube for cube in named if cube.state in LIVE)
            free = _free(tx, allowed, [*wanted, *(cube.id for cube in live)])
            hand = _Hand(tx, allowed, token, vectors, doubts, made)
            return hand.apply(decide(There(free, near, alike_texts, live)))

        revised = await self._core.write(actor, work)
        await self._indexed([each.id for each in revised.written])
        return revised

    async def _near(self, vectors: Mapping[str, Vectors], where: Filter) -> dict[str, tuple[str, ...]]:
        space, near = self._spaces.active, dict[str, tuple[str, ...]]()
        for text, made in vectors.items():
            if space.id not in made:
                continue
            try:
                hits = await space.index.search(made[space.id], NEIGHBOURS, where)
            except StorageError as error:
                log.warning("memory.revising_without_neighbours", error=error.message)
                break
            near[text] = tuple(hit.memory_id for hit in hits if hit.score >= ALIKE)
        return near

    async def _indexed(self, ids: Sequence[str]) -> None:
        """What is learned now is found by the next question, also by its meaning; but nobody waits for long."""
        if ids:
            with anyio.move_on_after(INDEXED_WITHIN_S):
                await self._indexing.wait_for(ids)


@dataclass(slots=True)
class _Hand:
    """Applies the revisions of one plan, in order."""

    tx: Tx
    allowed: Access
    token: str
    vectors: Mapping[str, Vectors]
    doubts: Mapping[str, tuple[str, ...]]
    made: Mapping[str, tuple[str, str]]
    written: list[Written] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def apply(self, revisions: Sequence[Revision]) -> Revised:
        for revision in revisions:
            match revision:
                case Insert():
                    self._insert(revision)
                case Rewrite():
                    self._rewrite(revision)
                case Remove():
                    self._remove(revision)
                case Skip():
                    self.skipped.append(revision.why)
        return Revised(tuple(self.written), tuple(self.skipped))

    def _insert(self, new: Insert) -> None:
        draft = admissible(new.draft, self.allowed.vault, self.tx.now)
        doubts = self._doubts_about(new.draft.content)
        if doubts and new.replaces:
            self._skip(f"{new.op}: {'; '.join(doubts)}; nothing gives way to such a text")
            return
        same = _same(self.tx, self.allowed, store.words_hash(draft, placed=False), except_=new.replaces)
        if same is not None:
            self._skip(f"{new.op}: {same} says this already")
            return
        draft = replace(draft, state="quarantined") if doubts else draft
        # While it is live, the text of a memory that gives way may be the one that the new memory gets.
        gone = [self._leave(id_, "fuse", "merged", f"merged into {new.id}") for id_ in sorted(new.replaces)]
        came_from = (found.source for cube in gone for found in explain.provenance(self.tx, cube).sources)
        provenance_id, review_id = self.made[new.id]
        item = NewMemory(
            new.id,
            self.allowed.vault.id,
            replace(draft, sources=tuple(dict.fromkeys((*draft.sources, *came_from)))),
            provenance_id,
            self.vectors.get(new.draft.content, {}),
            self._reason(new.op, new.why),
        )
        cube = store.insert_all(self.tx, [item])[0].cube
        if doubts:
            reviews.ask(self.tx, review_id, "quarantine", cube, "; ".join(doubts))
        merging.hand_on(self.tx, new.replaces, new.id)
        self._note(cube, new.op)
        for old in gone:
            store.link(self.tx, old.id, new.id, "MERGED_TO")
            self._note(old, "merged")

    def _rewrite(self, revision: Rewrite) -> None:
        cube = store.get(self.tx, revision.id)
        new = applied(cube, revision.change)
        text = str(new.get("content", cube.content))
        if doubts := self._doubts_about(text):
            self._skip(f"modify: {'; '.join(doubts)}; {cube.id} stays as it is")
            return
        same = _same(
            self.tx, self.allowed, store.words_hash(replace(cube, content=text), placed=False), except_=(cube.id,)
        )
        if same is not None:
            self._skip(f"modify: {same} says this already; {cube.id} stays as it is")
            return
        after = store.change(
            self.tx,
            cube,
            kind=revision.change.kind,
            reason=self._reason("modify", revision.why),
            vectors=self.vectors.get(text) if text != cube.content else None,
            sources=revision.sources,
            **new,
        )
        self._note(after, "modify")

    def _remove(self, revision: Remove) -> None:
        try:
            access.vault(self.tx, self.allowed.vault.id, "delete")
        except Forbidden:
            self._skip(f"delete: the grant does not allow it; {revision.id} stays")
            return
        self._note(self._leave(revision.id, "delete", "delete", revision.why), "delete")

    def _leave(self, memory_id: str, event: str, op: Op, why: str) -> MemCube:
        return store.move(self.tx, store.get(self.tx, memory_id), event, reason=self._reason(op, why))

    def _doubts_about(self, text: str) -> tuple[str, ...]:
        return self.doubts[text] if text in self.doubts else _doubts(text)

    def _reason(self, op: Op, why: str) -> str:
        # What gives way to a new memory has the number of that one; the op tells them apart.
        return f"{why} [{self.token} {len(self.written)} {op}]".strip()

    def _skip(self, why: str) -> None:
        self.skipped.append(why)

    def _note(self, cube: MemCube, op: Op) -> None:
        self.written.append(Written(cube.id, cube.version, op))
        detail = {"version": cube.version, "plan": self.token}
        audit.record(self.tx, op, "memory", cube.id, chain=cube.vault_id, rule=self.allowed.rule, detail=detail)


def _free(tx: Tx, allowed: Access, ids: Sequence[str]) -> dict[str, MemCube]:
    """Those that the plan may change: of the vault, seen by the actor, in use, neither pinned nor frozen."""
    return {
        id_: cube
        for id_, cube in store.many(tx, ids).items()
        if cube.vault_id == allowed.vault.id
        and allowed.sees(cube.sensitivity)
        and cube.state == "activated"
        and not cube.pinned
        and not lifetime_over(cube.state, cube.expires_at, cube.sensitivity, tx.now)
    }


def _named(tx: Tx, allowed: Access, subjects: Sequence[str], kinds: Sequence[SemanticType]) -> list[MemCube]:
    """The memories of the vault about these subjects that the actor sees, in any state, the oldest first."""
    if not subjects:
        return []
    query = rows.SELECT.where(
        MemoryRow.vault_id == allowed.vault.id, MemoryRow.subject.in_(subjects), MemoryRow.semantic_type.in_(kinds)
    )
    found = (rows.cube(row, tx.now) for row in tx.connection.execute(query.order_by(MemoryRow.seq)))
    return [cube for cube in found if allowed.sees(cube.sensitivity)]


def _done(tx: Tx, token: str, ids: Sequence[str]) -> tuple[Written, ...]:
    """What a plan of this token wrote, in order; nothing when it was not applied."""
    query = select(VersionRow.memory_id, VersionRow.version, VersionRow.reason).where(
        VersionRow.memory_id.in_(ids), VersionRow.reason.contains(f"[{token} ", autoescape=True)
    )
    found: list[tuple[int, bool, Written]] = []
    for row in tx.connection.execute(query):
        mark = MARK.search(row.reason)
        if mark is not None and mark["token"] == token:
            op: Op = mark["op"]  # type: ignore[assignment]
            found.append((int(mark["place"]), op == "merged", Written(row.memory_id, row.version, op)))
    return tuple(written for _, _, written in sorted(found, key=lambda each: (each[0], each[1], each[2].id)))


def _same(tx: Tx, allowed: Access, words_hash: str, *, except_: Sequence[str]) -> str | None:
    """The live memory of the vault that has these words."""
    query = select(MemoryRow.id).where(
        MemoryRow.vault_id == allowed.vault.id, MemoryRow.content_hash == words_hash, MemoryRow.id.not_in(except_)
    )
    return tx.connection.execute(query).scalars().first()


def _doubts(text: str) -> tuple[str, ...]:
    found = dict.fromkeys(f"it holds a secret: {secret.kind}" for secret in secrets.find(text))
    return (*found, *poisoning.orders(text))


def _alike(vectors: Mapping[str, Vectors], space_id: str) -> Callable[[str, str], bool]:
    known: Mapping[str, NDArray[np.float32]] = {t: made[space_id] for t, made in vectors.items() if space_id in made}

    def alike(a: str, b: str) -> bool:
        if a == b or a not in known or b not in known:
            return a == b
        return float(known[a] @ known[b]) >= ALIKE

    return alike
