"""What of a vault goes into an archive, read within one transaction.

What is deleted, expired or purged stays out, and so does what is masked for the actor: memories, versions from a time when
they were masked, and links to them. Who else has grants is told to the owner only. All pages come from one view (WAL on
SQLite, REPEATABLE READ on PostgreSQL), so a writer that goes on meanwhile does not tear the archive.
Source: memos §3.11, §3.10.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, func, select, text

from memory import access, profiles, rows
from memory.access import Access, Denial, Refused
from memory.archive import archive_lines
from memory.archive.archive_lines import Manifest, ProfileEntry, VaultEntry
from memory.archive.archive_writer import Writer
from memory.archive.seals import Seal
from memory.codecs import blob
from memory.lifecycle import lifetime_over
from memory.profiles import StoredProfile
from memory.tables import ArtifactRow, BlobRow, EdgeRow, GrantRow, MemoryRow, SourceRow, VersionRow
from memory.tx import Tx
from memory.types import MemCube
from runtime.errors import StorageError
from runtime.tables import User
from runtime.telemetry import get_logger

PAGE: Final = 500
GONE: Final = ("deleted", "expired")
VERBS: Final = ("read", "write", "share", "delete")
SOURCE: Final = ("kind", "uri", "message_id", "role", "span_start", "span_end", "quote", "occurred_at", "model")
# So begins a safetensors file: the length of its head, then JSON. Nothing else is taken along.
HEAD_BYTES: Final = 8
Progress = Callable[[int, int], None]

log = get_logger(__name__)


class Stopped(Exception):
    """Nobody waits for the export any more."""


class Collector:
    """One export, inside its transaction."""

    def __init__(
        self, tx: Tx, folder: Path, *, vectors: bool, stop: threading.Event, progress: Progress | None
    ) -> None:
        self._tx = tx
        self._folder = folder
        self._vectors = vectors
        self._stop = stop
        self._progress = progress
        self._left_out: list[str] = []

    def run(self, vault: str, seal: Seal) -> tuple[Access, Manifest, tuple[str, ...]]:
        """Write all of it; the decision, the manifest, and the artefacts that were left out. Raises `Hidden`, `Refused`."""
        tx = self._tx
        if tx.dialect == "postgresql":
            tx.connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        allowed = access.vault(tx, vault, "read")
        if allowed.metered:
            raise Refused(
                f"vault {vault!r}: your grant counts reads, and an export is not one read; ask its owner for the export",
                Denial(allowed.vault.id, "read", "vault", allowed.vault.id, "metered"),
            )
        profile = profiles.active(tx.connection) if self._vectors else None
        with Writer(self._folder) as writer:
            kept = self._memories(writer, allowed, profile)
            self._edges(writer, kept)
            if allowed.rule == "owner":
                self._grants(writer, allowed.vault.id)
            home = allowed.vault
            manifest = writer.close(
                vault=VaultEntry(
                    id=home.id,
                    name=home.name,
                    kind=home.kind,
                    default_ttl_s=home.default_ttl_s,
                    default_sensitivity=list(home.default_sensitivity),
                ),
                profile=None if profile is None else _entry(profile),
                made_at=tx.now,
                sign=seal.sign,
            )
        return allowed, manifest, tuple(self._left_out)

    def _memories(self, writer: Writer, allowed: Access, profile: StoredProfile | None) -> list[str]:
        """Write memories with their versions, sources, vectors and artefacts; their ids in order."""
        kept: list[str] = []
        mine = (MemoryRow.vault_id == allowed.vault.id, MemoryRow.state.not_in(GONE))
        total = self._tx.connection.execute(select(func.count()).select_from(MemoryRow).where(*mine)).scalar_one()
        query = rows.SELECT.where(*mine).order_by(MemoryRow.seq).limit(PAGE)
        after = seen = 0
        while page := self._tx.connection.execute(query.where(MemoryRow.seq > after)).all():
            if self._stop.is_set():
                raise Stopped
            after, seen = page[-1].seq, seen + len(page)
            cubes = [cube for row in page if self._is_shown(allowed, cube := rows.cube(row, self._tx.now))]
            self._page(writer, allowed, cubes, profile)
            kept += [cube.id for cube in cubes]
            if self._progress is not None:
                self._progress(seen, total)
        return kept

    def _is_shown(self, allowed: Access, cube: MemCube) -> bool:
        over = lifetime_over(cube.state, cube.expires_at, cube.sensitivity, self._tx.now)
        return not over and allowed.sees(cube.sensitivity)

    def _page(self, writer: Writer, allowed: Access, cubes: Sequence[MemCube], profile: StoredProfile | None) -> None:
        ids, seqs = [cube.id for cube in cubes], [cube.seq for cube in cubes]
        versions = self._grouped(VersionRow, ids, VersionRow.version)
        sources = self._grouped(SourceRow, ids, SourceRow.version, SourceRow.id)
        artifacts = self._grouped(ArtifactRow, ids, ArtifactRow.id)
        blobs = {} if profile is None else self._blobs(seqs, profile)
        is_placed = select(MemoryRow.seq).where(MemoryRow.seq.in_(seqs), MemoryRow.placed)
        placed = set(self._tx.connection.execute(is_placed).scalars())
        for cube in cubes:
            writer.write(archive_lines.MEMORIES, _memory_line(cube, cube.seq in placed))
            hidden = set()
            for row in versions[cube.id]:
                shown = not row.redacted and allowed.sees(row.header["sensitivity"])
                if not shown:
                    hidden.add(row.version)
                writer.write(archive_lines.VERSIONS, _version_line(row, shown=shown, last=row.version == cube.version))
            for row in sources[cube.id]:
                if row.version not in hidden:
                    writer.write(archive_lines.SOURCES, _source_line(row))
            if cube.seq in blobs:
                writer.vector(blobs[cube.seq])
            for row in artifacts[cube.id]:
                if row.state == "ready" and row.memory_version == cube.version:
                    self._artifact(writer, row)

    def _grouped(self, table: Any, ids: Sequence[str], *order: Any) -> dict[str, list[Row[Any]]]:
        found: dict[str, list[Row[Any]]] = defaultdict(list)
        query = select(table.__table__).where(table.memory_id.in_(ids)).order_by(table.memory_id, *order)
        for row in self._tx.connection.execute(query):
            found[row.memory_id].append(row)
        return found

    def _blobs(self, seqs: Sequence[int], profile: StoredProfile) -> dict[int, bytes]:
        query = select(BlobRow.memory_seq, BlobRow.data, BlobRow.crc32).where(
            BlobRow.memory_seq.in_(seqs), BlobRow.profile_id == profile.id
        )
        found: dict[int, bytes] = {}
        for row in self._tx.connection.execute(query):
            try:
                blob.decode(row.data, row.crc32, profile.space.dim)
            except StorageError as error:
                log.warning("memory.vector_not_exported", seq=row.memory_seq, error=error.message)
            else:
                found[row.memory_seq] = bytes(row.data)
        return found

    def _artifact(self, writer: Writer, row: Row[Any]) -> None:
        source = Path(row.location)
        try:
            with source.open("rb") as given:
                head = given.read(HEAD_BYTES + 1)
            if head[HEAD_BYTES:] != b"{":
                self._left_out.append(f"{row.id}: is no safetensors file")
                return
            size, sha256 = writer.artifact(row.id, source)
        except OSError as error:
            self._left_out.append(f"{row.id}: {error.strerror or error}")
            return
        if sha256 != row.sha256:
            writer.drop_artifact(row.id)
            self._left_out.append(f"{row.id}: its file is not the one that was made")
            return
        told = {"id": row.id, "memory": row.memory_id, "version": row.memory_version, "kind": row.kind}
        told |= {"identity": row.identity, "bytes": size, "sha256": sha256}
        writer.write(archive_lines.ARTIFACTS, told)

    def _edges(self, writer: Writer, kept: Sequence[str]) -> None:
        there = set(kept)
        for start in range(0, len(kept), PAGE):
            part = kept[start : start + PAGE]
            found: dict[str, list[Row[Any]]] = defaultdict(list)
            query = select(EdgeRow.__table__).where(EdgeRow.src_id.in_(part)).order_by(EdgeRow.dst_id, EdgeRow.type)
            for row in self._tx.connection.execute(query):
                if row.dst_id in there:
                    found[row.src_id].append(row)
            for row in (row for id_ in part for row in found[id_]):
                told = {"src": row.src_id, "dst": row.dst_id, "type": row.type, "weight": row.weight}
                writer.write(archive_lines.EDGES, {**told, "at": _iso(row.at)})

    def _grants(self, writer: Writer, vault_id: str) -> None:
        query = select(GrantRow.__table__, User.name).outerjoin(User, User.id == GrantRow.grantee_id)
        for row in self._tx.connection.execute(query.where(GrantRow.vault_id == vault_id).order_by(GrantRow.id)):
            told = {
                "user": row.name,
                "context": row.context,
                "verbs": [verb for verb in VERBS if getattr(row, f"can_{verb}")],
                "masked_tags": list(row.masked_tags),
                "expires_at": _iso(row.expires_at),
                "max_reads": row.max_reads,
            }
            writer.write(archive_lines.GRANTS, told)


def _entry(profile: StoredProfile) -> ProfileEntry:
    space = profile.space
    return ProfileEntry(slug=space.slug, model=space.model, revision=space.revision, dim=space.dim)


def _memory_line(cube: MemCube, placed: bool) -> dict[str, Any]:
    return {
        "id": cube.id,
        "version": cube.version,
        "content": cube.content,
        "header": rows.header(cube),
        "placed": placed,
        "created_by": cube.created_by,
        "uses": cube.uses,
        "last_used_at": _iso(cube.last_used_at),
    }


def _version_line(row: Row[Any], *, shown: bool, last: bool) -> dict[str, Any]:
    return {
        "memory": row.memory_id,
        "version": row.version,
        "content": row.content if shown and not last else None,
        "header": row.header if shown and not last else None,
        "change": row.change,
        "actor": row.actor_id,
        "reason": row.reason if shown else "",
        "sys_from": _iso(row.sys_from),
        "sys_to": _iso(row.sys_to),
        "hash": row.hash,
        "redacted": not shown,
    }


def _source_line(row: Row[Any]) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in SOURCE}
    told["occurred_at"] = _iso(row.occurred_at)
    return {"memory": row.memory_id, "version": row.version, **told}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
