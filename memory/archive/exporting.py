"""A vault as a file: everything of it that the actor may read, from one consistent view of the database.

It is written beside the place where it is wanted and takes its name when it is whole and in the audit, so there is never
half a file, nor one that nobody knows of. Source: memos §3.11, §3.10.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from sqlalchemy import select

from memory import access, audit
from memory.access import Access
from memory.archive.archive_lines import Manifest
from memory.archive.archive_writer import pack
from memory.archive.collecting import Collector, Progress
from memory.archive.seals import Seal
from memory.core import Core
from memory.tables import AuditRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import Conflict, InvalidInput, StorageError

ACTION: Final = "export"
ZIP: Final = ".zip"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `digest` is that of the manifest; `left_out` are artefacts whose file is not what it should be."""

    path: Path
    digest: str
    bytes: int
    counts: Mapping[str, int]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """An export that was made of a vault, out of its audit: for whoever must know where copies of a memory may be."""

    at: datetime
    actor_id: str
    digest: str
    memories: int


async def export(
    core: Core, seal: Seal, actor: Actor, vault: str, path: Path, *, vectors: bool, progress: Progress | None = None
) -> Exported:
    """Write the vault to `path`: one file when it ends in .zip, else a folder. `progress(done, total)` counts memories, and
    may be called from another thread.

    Raises `Conflict` when there is something at `path`, `UnknownName`, `Forbidden`, `StorageError`; then nothing is left.
    """
    if await anyio.Path(path).exists():
        raise Conflict(f"{str(path)!r}: there is something already; name a new file", param="path")
    stop = threading.Event()
    with _staging(path) as staging:
        folder = staging / "files"
        folder.mkdir()

        def work(tx: Tx) -> tuple[Access, Manifest, tuple[str, ...]]:
            return Collector(tx, folder, vectors=vectors, stop=stop, progress=progress).run(vault, seal)

        try:
            allowed, manifest, left_out = await core.read(actor, work)
        finally:
            stop.set()
        made = folder
        if path.suffix == ZIP:
            made = staging / "archive.zip"
            await anyio.to_thread.run_sync(pack, folder, made)
        size = sum(file.stat().st_size for file in [made, *made.rglob("*")] if file.is_file())
        detail = {"digest": manifest.digest, "counts": dict(manifest.counts), "bytes": size}

        def tell(tx: Tx) -> None:
            again = access.vault(tx, allowed.vault.id, "read")
            audit.record(tx, ACTION, "vault", again.vault.id, chain=again.vault.id, rule=again.rule, detail=detail)

        await core.write(actor, tell)
        os.replace(made, path)  # noqa: PTH105 - a folder of ours takes a name that is free
    return Exported(path, manifest.digest, size, manifest.counts, left_out)


def register(tx: Tx, vault_id: str) -> list[Made]:
    """The exports of a vault, oldest first: each may hold a copy of what is erased now."""
    query = select(AuditRow.at, AuditRow.actor_id, AuditRow.detail).where(
        AuditRow.chain == vault_id, AuditRow.action == ACTION, AuditRow.decision == "allow"
    )
    return [
        Made(row.at, row.actor_id, str(row.detail["digest"]), int(row.detail["counts"]["memories"]))
        for row in tx.connection.execute(query.order_by(AuditRow.n))
    ]


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InvalidInput(
            f"{str(path)!r}: {error.strerror or error}; expected a place where this user may write", param="path"
        ) from error
    try:
        yield folder
    except OSError as error:
        raise StorageError(f"{str(path)!r}: {error.strerror or error}; nothing is left of the export") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
