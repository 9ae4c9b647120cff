"""Vaults as files, in both directions: the part of the service for export and import.

An import runs in three steps: the file is copied into a folder of ours and verified, every record is read and checked,
and only then written: a small file in one transaction, a large one in batches that are each whole. Started again, it
goes on behind the last batch, because what is there is known (memory/archive/matching.py). A large upload becomes a job
that does the same.

Who may have a memory come back as it was, with its state, history and authors: the owner of the vault that the archive
was made of, if this installation sealed it, or an admin who says so. Ids are kept for an admin who owns the vault, so
that a restored store answers to the ids that logs and people know; anybody else gets new ones, because a
kept id would tell them whether somebody else's memory exists. Source: memos §3.11, §3.10; ours.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from pydantic import JsonValue
from sqlalchemy import select

from memory import access, jobs
from memory.access import Access
from memory.admitting.gate import Gate
from memory.archive import archives, exporting
from memory.archive.collecting import Progress
from memory.archive.exporting import Exported
from memory.archive.import_run import SMALL, Commit, ImportRun
from memory.archive.importers import registry
from memory.archive.importers.base import Found
from memory.archive.importers.registry import Format
from memory.archive.importing import Counts
from memory.archive.incoming import Incoming, of_archive, of_drafts
from memory.archive.matching import MODES, Mode, Plan
from memory.archive.seals import Seal
from memory.core import Core
from memory.jobs import Handler, Job, JobRun
from memory.spaces import Spaces
from memory.tables import JobRow, VaultRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import Forbidden, InvalidInput
from runtime.ids import new_id

T = TypeVar("T")
KIND: Final = "import"
UPLOADS: Final = "imports"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file. `counts` add up to `total`; `trusted`: memories came as they were, with their history."""

    format: Format
    digest: str
    total: int
    counts: Counts
    trusted: bool
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a file is to be imported. Without `format` its content tells; without `name` a text is called by its digest."""

    format: Format | None = None
    mode: Mode = "skip"
    dry_run: bool = False
    embed: bool = True
    trust: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """What an archive may do: its memories come as they were; under the ids that they had."""

    trusted: bool = False
    keep_ids: bool = False


class Transfer:
    """See the module. Methods raise `UnknownName` for a vault that the actor may not see, `Forbidden`, `StorageError`."""

    def __init__(self, core: Core, spaces: Spaces, gate: Gate) -> None:
        self._core = core
        self._spaces = spaces
        self._gate = gate
        self._seal = Seal(core.settings.home)

    async def export(
        self, actor: Actor, vault: str, path: Path, *, vectors: bool = True, progress: Progress | None = None
    ) -> Exported:
        """Write what the actor may read of the vault to `path`: a zip when it ends in .zip, else a folder.

        Raises `Conflict` when there is something at `path`, `StorageError`; nothing is left behind then.
        """
        await self._core.default_vault(actor)
        return await exporting.export(self._core, self._seal, actor, vault, path, vectors=vectors, progress=progress)

    async def import_(
        self,
        actor: Actor,
        vault: str,
        source: Path | str,
        *,
        format: Format | None = None,  # noqa: A002 - as the option is called
        mode: Mode = "skip",
        dry_run: bool = False,
        embed: bool = True,
        trust: bool = False,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Imported:
        """Store what is in a file (`builtin:NAME`: in a collection of the program). Interrupted, it is started again.

        Raises `InvalidInput` that names file and line before anything is written, `Conflict` in the mode `fail`.
        """
        called = name or (source if isinstance(source, str) else source.name)
        wanted = Wanted(format, mode, dry_run, embed, trust, called)
        allowed = await self._allowed(actor, vault)
        async with self._opened(actor, allowed, source, wanted) as (incoming, rights):
            total = await anyio.to_thread.run_sync(incoming.check)
            run = self._run(actor, allowed, incoming, rights, wanted)
            counts = await run.look() if dry_run else await run.store(_at_once(self._core, actor), total, progress)
        return Imported(incoming.format, incoming.digest, total, counts, incoming.trusted, dry_run)

    async def submit(self, actor: Actor, vault: str, upload: Path, wanted: Wanted) -> Imported | Job:
        """Import an uploaded file: at once when it is small or only to be counted, else as a job, which takes the file.

        Either way it is verified before this returns. Raises as `import_` does, and `TooManyJobs`.
        """
        allowed = await self._allowed(actor, vault)
        async with self._opened(actor, allowed, upload, wanted) as (incoming, rights):
            total = await anyio.to_thread.run_sync(incoming.check)
            run = self._run(actor, allowed, incoming, rights, wanted)
            if wanted.dry_run or total <= SMALL:
                counts = await (run.look() if wanted.dry_run else run.store(_at_once(self._core, actor), total, None))
                return Imported(incoming.format, incoming.digest, total, counts, incoming.trusted, wanted.dry_run)
            if wanted.mode == "fail":
                await run.look()
        job_id = new_id("job")
        args: dict[str, JsonValue] = {"vault_id": allowed.vault.id, "digest": incoming.digest, "mode": wanted.mode}
        args |= {"format": incoming.format, "embed": wanted.embed, "name": wanted.name}
        args |= {"trusted": rights.trusted, "keep_ids": rights.keep_ids}
        await self._tidy()
        kept = self._upload(job_id)
        await anyio.to_thread.run_sync(_move, upload, kept)
        try:
            return await self._core.write(actor, lambda tx: jobs.enqueue(tx, job_id, KIND, args, total=total))
        except BaseException:
            kept.unlink(missing_ok=True)
            raise

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What executes the jobs (memory/workers.py)."""
        return {KIND: self._execute}

    async def _execute(self, run: JobRun) -> Mapping[str, JsonValue]:
        """A job: the upload is verified again, and the import goes on where it was."""
        job = run.job
        upload = self._upload(job.id)
        if not await anyio.Path(upload).exists():
            if job.total is not None and job.done >= job.total:
                return {"total": job.total}  # it came to its end, but died before it could say so
            raise InvalidInput(f"job {job.id!r}: its upload is not on this machine; send the file again")
        told = job.args
        wanted = Wanted(
            registry.format_named(told["format"]),
            _mode(told["mode"]),
            embed=told["embed"] is True,
            name=None if told["name"] is None else str(told["name"]),
        )
        rights = Rights(told["trusted"] is True, told["keep_ids"] is True)
        allowed = await self._allowed(job.actor, str(told["vault_id"]))
        async with self._opened(job.actor, allowed, upload, wanted, rights) as (incoming, _):
            if incoming.digest != told["digest"]:
                raise InvalidInput(f"job {job.id!r}: its upload is another file now; send the file again")
            total = await anyio.to_thread.run_sync(incoming.check)
            importing = self._run(job.actor, allowed, incoming, rights, wanted)
            counts = await importing.store(_in_job(run, total), total, None)
        await anyio.Path(upload).unlink(missing_ok=True)
        return {"format": incoming.format, "total": total, "trusted": incoming.trusted, **asdict(counts)}

    def _run(self, actor: Actor, allowed: Access, incoming: Incoming, rights: Rights, wanted: Wanted) -> ImportRun:
        plan = Plan(allowed.vault, incoming, wanted.mode, rights.keep_ids)
        return ImportRun(self._core, self._spaces, self._gate, actor, plan, embed=wanted.embed)

    async def _allowed(self, actor: Actor, vault: str) -> Access:
        await self._core.default_vault(actor)
        allowed = await self._core.read(actor, lambda tx: access.vault(tx, vault, "write"))
        access.need_open(allowed)
        return allowed

    @asynccontextmanager
    async def _opened(
        self, actor: Actor, allowed: Access, source: Path | str, wanted: Wanted, rights: Rights | None = None
    ) -> AsyncIterator[tuple[Incoming, Rights]]:
        """The file as records; an archive is copied and verified on the way. The copy goes at the end."""
        now = self._core.clock.now()
        data = None if isinstance(source, str) else await anyio.to_thread.run_sync(_read, source, wanted.format)
        if wanted.trust and (data is not None or isinstance(source, str)):
            raise InvalidInput("trust: is said of an archive, and this is none; leave it out", param="trust")
        if isinstance(source, str):
            drafts = await anyio.to_thread.run_sync(registry.builtin, source)
            digest = hashlib.sha256(repr(drafts).encode(errors="surrogatepass")).hexdigest()
            found = [Found(number, draft) for number, draft in enumerate(drafts, 1)]
            yield of_drafts("builtin", source, found, digest, allowed.vault, now), rights or Rights()
            return
        if data is not None:
            format_ = wanted.format or registry.format_of(data)
            digest = hashlib.sha256(data).hexdigest()
            name = wanted.name or f"file-{digest[:12]}"
            found = await anyio.to_thread.run_sync(registry.read, format_, data, name)
            made = await anyio.to_thread.run_sync(of_drafts, format_, name, found, digest, allowed.vault, now)
            yield made, rights or Rights()
            return
        staging = await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "mneme-import-")
        try:
            unpacked = await anyio.to_thread.run_sync(archives.unpack, source, Path(staging))
            if rights is None:
                rights = await self._rights(actor, allowed, unpacked, trust=wanted.trust)
            yield (
                of_archive(unpacked, allowed.vault, now, user_id=actor.user_id, trusted=rights.trusted),
                rights,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(staging, ignore_errors=True))

    async def _rights(self, actor: Actor, allowed: Access, archive: archives.Unpacked, *, trust: bool) -> Rights:
        if trust and not actor.admin:
            raise Forbidden("trust: only an admin may vouch for an archive that was not made of a vault of yours here")
        told = archive.manifest
        query = select(VaultRow.id).where(VaultRow.id == told.vault.id, VaultRow.owner_id == actor.user_id)
        own = await self._core.db.read(lambda connection: connection.execute(query).first() is not None)
        trusted = trust or (own and self._seal.is_ours(told.digest, told.signature))
        return Rights(trusted, trusted and actor.admin and allowed.rule == "owner")

    def _upload(self, job_id: str) -> Path:
        return self._core.settings.home / UPLOADS / job_id

    async def _tidy(self) -> None:
        """Uploads whose job is done, or gone, are not kept."""
        folder = self._core.settings.home / UPLOADS
        names = await anyio.to_thread.run_sync(
            lambda: sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        )
        query = select(JobRow.id).where(JobRow.id.in_(names), JobRow.state != "done")
        waiting = await self._core.db.read(lambda connection: set(connection.execute(query).scalars()))
        for name in names:
            if name not in waiting:
                await anyio.Path(folder / name).unlink(missing_ok=True)


def _at_once(core: Core, actor: Actor) -> Commit:
    async def commit(work: Callable[[Tx], T], *, done: int) -> T:
        return await core.write(actor, work)

    return commit


def _in_job(run: JobRun, total: int) -> Commit:
    async def commit(work: Callable[[Tx], T], *, done: int) -> T:
        return await run.commit(work, done=done, total=total)

    return commit


def _mode(value: JsonValue) -> Mode:
    for mode in MODES:
        if mode == value:
            return mode
    raise InvalidInput(f"mode {value!r}: expected fail, skip or merge", param="mode")


def _read(source: Path, format_: Format | None) -> bytes | None:
    """The bytes of a file that is no archive; None for an archive."""
    try:
        if format_ == "archive" or source.is_dir():
            return None
        with source.open("rb") as file:
            head = file.read(4)
            return None if format_ is None and registry.is_zip(head) else head + file.read()
    except OSError as error:
        raise InvalidInput(
            f"{source.name!r}: {error.strerror or error}; expected a file or folder that can be read", param="source"
        ) from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.move(source, target)
