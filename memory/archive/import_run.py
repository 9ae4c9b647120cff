"""One import on its way: batch by batch the records are matched, embedded, judged and written.

What can wait for somebody else (the encoder, the rules of admission) is done before a batch is written, never inside its
transaction. When the encoder cannot be asked, the rest goes in without vectors and the relay makes them.
Source: memos §3.11, §3.1; ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar

import anyio.to_thread
from sqlalchemy.dialects import postgresql, sqlite

from memory import access, store
from memory.admitting.admission import Candidate, Verdict, decide
from memory.admitting.gate import Gate
from memory.archive.archive_lines import ArtifactLine, EdgeLine
from memory.archive.importing import Counts, Ready, Written, link, refuse_present, write
from memory.archive.incoming import Incoming, Record, id_in
from memory.archive.matching import Decision, How, Plan, resolve, words_of
from memory.core import Core
from memory.spaces import Spaces
from memory.store import Vectors
from memory.tables import ArtifactRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import ModelError, SettingsError, StorageError
from runtime.telemetry import get_logger

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]
ARTIFACTS: Final = "artifacts"
# As many as are stored together; a larger file is several transactions.
SMALL: Final = 1000
BATCH: Final = 500
EDGES: Final = 1000

log = get_logger(__name__)


class Commit(Protocol):
    """Runs a transaction after which `done` records are dealt with."""

    async def __call__(self, work: Callable[[Tx], T], *, done: int) -> T: ...


class ImportRun:
    """See the module. `embed` False leaves the vectors to the relay."""

    def __init__(self, core: Core, spaces: Spaces, gate: Gate, actor: Actor, plan: Plan, *, embed: bool) -> None:
        self._core = core
        self._spaces = spaces
        self._gate = gate
        self._actor = actor
        self._plan = plan
        self._embed = embed
        self._reused = _same_space(plan.incoming, spaces)

    async def look(self) -> Counts:
        """What an import would do, as far as rules tell that need no neighbours; what would be merged counts as present.

        Raises `Conflict` in the mode `fail`.
        """
        plan, counts = self._plan, Counts()
        ours, words = set[str](), set[str]()
        there: list[Record] = []
        records = plan.incoming.records()
        while batch := await _next(records, BATCH):
            decisions = await self._core.read(self._actor, partial(_resolve, plan=plan, records=batch))
            for record, (how, id_) in zip(batch, decisions, strict=True):
                hashed = words_of(record)
                repeated = how == "new" and hashed in words
                if how == "present" and id_ not in ours:
                    there.append(record)
                counts += Counts(present=1) if repeated else _foreseen(plan, record, how)
                ours |= {record.id, id_}
                words |= {hashed} if hashed else set()
        refuse_present(plan, there)
        return counts

    async def store(self, commit: Commit, total: int, progress: Progress | None) -> Counts:
        """Write all of it. Each batch is whole or not there; started again, it goes on behind the last one."""
        plan, alone = self._plan, total <= SMALL
        if plan.mode == "fail" and not alone:
            await self.look()
        counts, done = Counts(), 0
        ids: dict[str, str] = {}
        ours: set[str] = set()
        edges = list(plan.incoming.edges()) if alone else []
        if progress is not None:
            progress(0, total)
        records = plan.incoming.records()
        while batch := await _next(records, SMALL if alone else BATCH):
            ready = await self._prepared(batch)
            done += len(batch)
            written = await commit(partial(_write, plan=plan, ready=ready, ours=ours, edges=edges), done=done)
            counts += written.counts
            ids |= written.ids
            ours.update(written.ids.values())
            if progress is not None:
                progress(done, total)
        if not alone:
            counts += Counts(edges=await self._link(commit, ids, done))
        return counts + Counts(artifacts=await self._artifacts(commit, ids, done))

    async def _prepared(self, batch: Sequence[Record]) -> list[Ready]:
        """Vectors and verdicts of what is new in a batch."""
        plan, new = self._plan, batch
        # Where there is nothing to make and nothing to judge, looking at what is there can wait for the transaction.
        if self._embed or not plan.incoming.trusted:
            decisions = await self._core.read(self._actor, partial(_resolve, plan=plan, records=batch))
            new = [record for record, decision in zip(batch, decisions, strict=True) if decision.how == "new"]
        vectors = dict(zip((record.id for record in new), await self._vectors(new), strict=True))
        verdicts = dict(zip((record.id for record in new), await self._verdicts(new, vectors), strict=True))
        reused = self._reused is not None
        return [
            Ready(
                record,
                vectors.get(record.id, {}),
                verdicts.get(record.id),
                reused=reused and record.vector is not None and record.id in vectors,
            )
            for record in batch
        ]

    async def _vectors(self, new: Sequence[Record]) -> list[Vectors]:
        given: list[Vectors] = [
            {self._reused: record.vector} if self._reused is not None and record.vector is not None else {}
            for record in new
        ]
        lacking = [place for place, vectors in enumerate(given) if not vectors]
        if self._embed and lacking:
            try:
                made = await self._spaces.documents([new[place].draft.content for place in lacking])
            except (ModelError, SettingsError) as error:
                log.warning("memory.not_embedded", count=len(lacking), code=error.code, error=error.message)
                self._embed = False
            else:
                for place, vectors in zip(lacking, made, strict=True):
                    given[place] = vectors
        return given

    async def _verdicts(self, new: Sequence[Record], vectors: Mapping[str, Vectors]) -> list[Verdict | None]:
        incoming = self._plan.incoming
        if incoming.trusted:
            return [None] * len(new)
        if incoming.archive is not None:
            return [_archived(record) for record in new]
        candidates = [Candidate(record.draft) for record in new]
        made = [vectors[record.id] for record in new]
        return list(await self._gate.judge(self._actor, self._plan.home.id, candidates, made))

    async def _link(self, commit: Commit, ids: Mapping[str, str], done: int) -> int:
        edges, count = self._plan.incoming.edges(), 0
        while batch := await _next(edges, EDGES):
            count += await commit(partial(link, plan=self._plan, edges=batch, ids=ids), done=done)
        return count

    async def _artifacts(self, commit: Commit, ids: Mapping[str, str], done: int) -> int:
        """Files go beside the store before their rows say so; a row that is not written leaves no file."""
        home, count = self._plan.home, 0
        folder = self._core.settings.home / ARTIFACTS
        for line, source in self._plan.incoming.artifacts():
            memory_id = ids.get(line.memory)
            if memory_id not in (line.memory, id_in(home, line.memory)):
                continue
            artifact_id = id_in(home, line.id, "art")
            target = folder / f"{artifact_id}.safetensors"
            there = target.exists()
            await anyio.to_thread.run_sync(_copy, source, target)
            row = {"id": artifact_id, "memory_id": memory_id, "location": str(target)}
            kept = False
            try:
                kept = await commit(partial(_artifact, plan=self._plan, line=line, row=row), done=done)
            finally:
                if not kept and not there:
                    target.unlink(missing_ok=True)
            count += kept
        return count


async def _next(lines: Iterator[R], size: int) -> list[R]:
    """The next ones; reading and checking them is work for a thread."""
    return await anyio.to_thread.run_sync(lambda: list(islice(lines, size)))


def _resolve(tx: Tx, plan: Plan, records: Sequence[Record]) -> list[Decision]:
    return resolve(tx, plan, records)


def _write(tx: Tx, plan: Plan, ready: Sequence[Ready], ours: Collection[str], edges: Sequence[EdgeLine]) -> Written:
    written = write(tx, plan, ready, ours)
    return written._replace(counts=written.counts + Counts(edges=link(tx, plan, edges, written.ids)))


def _same_space(incoming: Incoming, spaces: Spaces) -> str | None:
    """The space whose vectors the archive has; vectors of a stranger may be of other words, so they are not taken."""
    if incoming.archive is None or not incoming.trusted:
        return None
    told, active = incoming.archive.manifest.profile, spaces.active
    if told is None:
        return None
    space = active.encoder.profile
    same = (told.slug, told.model, told.revision, told.dim) == (space.slug, space.model, space.revision, space.dim)
    return active.id if same else None


def _archived(record: Record) -> Verdict:
    """What was a memory elsewhere is not dropped here; what is dangerous waits for a person."""
    verdict = decide(Candidate(record.draft))
    return verdict if verdict.outcome == "quarantine" else Verdict("admit")


def _foreseen(plan: Plan, record: Record, how: How) -> Counts:
    if how != "new":
        return Counts(restored=1) if how == "deleted" else Counts(**{how: 1})
    state = record.draft.state
    if not plan.incoming.trusted:
        verdict = _archived(record) if plan.incoming.archive is not None else decide(Candidate(record.draft))
        if verdict.outcome == "drop":
            return Counts(dropped=1)
        state = "quarantined" if verdict.outcome == "quarantine" else state
    return Counts(created=1, quarantined=int(state == "quarantined"))


def _artifact(tx: Tx, plan: Plan, line: ArtifactLine, row: Mapping[str, str]) -> bool:
    access.vault(tx, plan.home.id, "write")
    if store.get(tx, row["memory_id"]).version != line.version:
        return False
    make = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    told = {"memory_version": line.version, "kind": line.kind, "identity": line.identity, "bytes": line.bytes}
    told |= {"sha256": line.sha256, "state": "ready", "created_at": tx.now}
    statement = make(ArtifactRow).values(**row, **told).on_conflict_do_nothing()
    return tx.connection.execute(statement.returning(ArtifactRow.id)).first() is not None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(source, draft)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(f"{str(target)!r}: {error.strerror or error}; the artefact was not kept") from error
