"""A verified archive, memory by memory: each with its versions, sources and vector, read from files beside each other.

Every line is checked against its schema and against the other files while it is read: numbers of versions, times that
follow each other, links that lead to memories of the archive. Whoever wants all of it checked before the first is used
reads it twice. Source: memos §3.11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from memory.archive import archive_lines as files
from memory.archive.archive_lines import ArtifactLine, EdgeLine, GrantLine, Header, MemoryLine, SourceLine, VersionLine
from memory.archive.archives import Unpacked, damaged
from memory.indices.base import UNIT_SLACK
from memory.types import Source, Version

GONE: Final = frozenset({"deleted", "expired"})
ROWS_AT_A_TIME: Final = 1000


class OfMemory(Protocol):
    """A line that belongs to a memory."""

    @property
    def memory(self) -> str: ...


M = TypeVar("M", bound=OfMemory)


@dataclass(frozen=True, slots=True)
class Stored:
    """One memory of an archive. `versions` go from the first to the one that is current, with its text and header."""

    line: int
    memory: MemoryLine
    versions: tuple[Version, ...]
    sources: tuple[tuple[int, Source], ...]
    vector: NDArray[np.float32] | None


def stored(archive: Unpacked) -> Iterator[Stored]:
    """Every memory, in order. Raises `InvalidInput` that names file and line."""
    versions = _Beside(files.VERSIONS, archive.lines(files.VERSIONS, VersionLine))
    sources = _Beside(files.SOURCES, archive.lines(files.SOURCES, SourceLine))
    seen: set[str] = set()
    with _Vectors(archive) as vectors:
        for number, line in archive.lines(files.MEMORIES, MemoryLine):
            if line.id in seen:
                raise damaged(files.MEMORIES, f"line {number}: {line.id!r} is there twice")
            if line.header.state in GONE:
                raise damaged(
                    files.MEMORIES, f"line {number}: a {line.header.state} memory does not belong into an archive"
                )
            seen.add(line.id)
            history = _history(line, versions.of(line.id))
            yield Stored(
                number,
                line,
                history,
                tuple(_source(line, at, told) for at, told in sources.of(line.id)),
                vectors.of(number - 1),
            )
        vectors.finish()
    versions.finish()
    sources.finish()


def edges(archive: Unpacked) -> Iterator[EdgeLine]:
    """Every link. Raises `InvalidInput` that names the line."""
    for _, line in archive.lines(files.EDGES, EdgeLine):
        yield line


def artifacts(archive: Unpacked) -> Iterator[ArtifactLine]:
    """Every artefact. Raises `InvalidInput` that names the line."""
    for number, line in archive.lines(files.ARTIFACTS, ArtifactLine):
        entry = archive.manifest.files.get(f"artifacts/{line.id}.safetensors")
        if entry is None or (entry.bytes, entry.sha256) != (line.bytes, line.sha256):
            raise damaged(files.ARTIFACTS, f"line {number}: {line.id!r} has no file, or one with another digest")
        yield line


def check_links(archive: Unpacked, ids: set[str]) -> None:
    """Read what is not a memory, and see that all of it is about memories of the archive."""
    for number, (src, dst) in enumerate(((line.src, line.dst) for line in edges(archive)), 1):
        if src == dst or not {src, dst} <= ids:
            raise damaged(
                files.EDGES, f"line {number}: leads from {src!r} to {dst!r}; expected two memories of the archive"
            )
    for number, artifact in enumerate(artifacts(archive), 1):
        if artifact.memory not in ids:
            raise damaged(files.ARTIFACTS, f"line {number}: {artifact.memory!r} is not in the archive")
    for _ in archive.lines(files.GRANTS, GrantLine):
        pass


class _Beside(Generic[M]):
    """A file in the order of memories.jsonl, of which each memory takes its lines."""

    def __init__(self, name: str, lines: Iterator[tuple[int, M]]) -> None:
        self._name = name
        self._lines = lines
        self._next = next(lines, None)

    def of(self, memory_id: str) -> list[tuple[int, M]]:
        found: list[tuple[int, M]] = []
        while self._next is not None and self._next[1].memory == memory_id:
            found.append(self._next)
            self._next = next(self._lines, None)
        return found

    def finish(self) -> None:
        if self._next is not None:
            number, line = self._next
            raise damaged(
                self._name, f"line {number}: {line.memory!r} is no memory of the archive, or not at this place"
            )


def _history(memory: MemoryLine, lines: Sequence[tuple[int, VersionLine]]) -> tuple[Version, ...]:
    name = files.VERSIONS
    if not lines:
        raise damaged(name, f"{memory.id!r} has no version")
    if [line.version for _, line in lines] != list(range(1, memory.version + 1)):
        raise damaged(name, f"line {lines[0][0]}: versions of {memory.id!r} are not 1 to {memory.version}")
    for (number, line), (_, after) in pairwise(lines):
        if line.redacted is not (line.content is None) or (line.content is None) is not (line.header is None):
            raise damaged(
                name, f"line {number}: text and header are there, or the version is redacted; found something else"
            )
        if line.sys_to != after.sys_from or line.sys_from >= after.sys_from:
            raise damaged(name, f"line {number}: does not end when version {after.version} begins")
    number, last = lines[-1]
    if last.redacted or last.content is not None or last.header is not None or last.sys_to is not None:
        raise damaged(
            name, f"line {number}: is the current version; its text stands in {files.MEMORIES}, and it has no end"
        )
    past = [_version(line, line.content or "", line.header) for _, line in lines[:-1]]
    return (*past, _version(last, memory.content, memory.header))


def _version(line: VersionLine, content: str, header: Header | None) -> Version:
    return Version(
        line.memory,
        line.version,
        content,
        {} if header is None else header.told(),
        line.change,
        line.actor,
        line.reason,
        line.sys_from,
        line.sys_to,
        "",
        line.hash,
        line.redacted,
    )


def _source(memory: MemoryLine, number: int, line: SourceLine) -> tuple[int, Source]:
    if line.version > memory.version:
        raise damaged(files.SOURCES, f"line {number}: {memory.id!r} has no version {line.version}")
    return line.version, Source(
        line.kind,
        line.uri,
        line.message_id,
        line.role,
        line.span_start,
        line.span_end,
        line.quote,
        line.occurred_at,
        line.model,
    )


class _Vectors:
    """The vectors, a stretch of them at a time."""

    def __init__(self, archive: Unpacked) -> None:
        self._archive = archive
        self._open = ExitStack()
        self._lines: NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: Any = None
        self._at = 0
        self._part: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def __enter__(self) -> _Vectors:
        if self._archive.has(files.VECTORS):
            try:
                given = self._open.enter_context(safe_open(self._archive.folder / files.VECTORS, framework="numpy"))
                self._lines = given.get_tensor("lines")
                self._rows = given.get_slice("vectors")
                shape, kind = self._rows.get_shape(), self._rows.get_dtype()
            except SafetensorError as error:
                raise damaged(files.VECTORS, f"cannot be read ({error})") from error
            profile = self._archive.manifest.profile
            wanted = [len(self._lines), profile.dim if profile else None]
            if shape != wanted or kind != "F16" or self._lines.ndim != 1 or self._lines.dtype != np.int64:
                raise damaged(files.VECTORS, f"holds {kind} of shape {shape}; expected F16 of shape {wanted}")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def of(self, line: int) -> NDArray[np.float32] | None:
        """The unit vector of a line of memories.jsonl (from 0), if it has one."""
        if self._at >= len(self._lines) or self._lines[self._at] != line:
            return None
        place = self._at % ROWS_AT_A_TIME
        if place == 0:
            self._part = self._read(self._at)
        self._at += 1
        vector: NDArray[np.float32] = self._part[place]
        return vector

    def finish(self) -> None:
        if self._at != len(self._lines):
            raise damaged(files.VECTORS, f"row {self._at} is of line {int(self._lines[self._at])}, which is not there")

    def _read(self, start: int) -> NDArray[np.float32]:
        part: NDArray[np.float32] = self._rows[start : min(start + ROWS_AT_A_TIME, len(self._lines))].astype(np.float32)
        norms = np.linalg.norm(part, axis=1, keepdims=True)
        wrong = ~(np.abs(norms[:, 0] - 1.0) <= UNIT_SLACK)  # also where it is not a number
        if wrong.any():
            raise damaged(files.VECTORS, f"row {start + int(wrong.argmax())} is no unit vector")
        return part
