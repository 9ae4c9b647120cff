"""Writes an archive: every line is counted and digested as it goes by, and the manifest comes last.

The bytes depend on the facts only, but for the time in the manifest, so two exports of the same vault can be compared.
What stands where is told in memory/archive/archive_lines.py. Source: memos §3.11.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import numpy as np
import orjson

from memory.archive import archive_lines as files
from memory.archive.archive_lines import FileEntry, Manifest, ProfileEntry, VaultEntry

BLOCK_LINES: Final = 100
CHUNK: Final = 1 << 20
ROW: Final = np.dtype("<f2")
NUMBER: Final = np.dtype("<i8")
# zip keeps a time for each file, which would make equal archives differ.
NO_TIME: Final = (1980, 1, 1, 0, 0, 0)


class _Lines:
    """One file that is being written, line by line."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("wb")
        self._sha256 = hashlib.sha256()
        self._block = 0
        self._blocks: list[int] = []
        self.lines = 0
        self.bytes = 0

    def write(self, value: Mapping[str, Any]) -> None:
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        self._out.write(line)
        self._sha256.update(line)
        self._block = zlib.crc32(line, self._block)
        self.lines += 1
        self.bytes += len(line)
        if self.lines % BLOCK_LINES == 0:
            self._blocks.append(self._block)
            self._block = 0

    def close(self) -> FileEntry:
        self._out.close()
        blocks = [*self._blocks, self._block] if self.lines % BLOCK_LINES else self._blocks
        return FileEntry(bytes=self.bytes, sha256=self._sha256.hexdigest(), lines=self.lines, blocks=blocks)

    def abandon(self) -> None:
        self._out.close()


class Writer:
    """Writes an archive into an empty folder. Use as a context manager; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = {name: _Lines(folder / name) for name in files.LINES}
        self._entries: dict[str, FileEntry] = {}
        self._vectors: IO[bytes] | None = None
        self._vector_lines: list[int] = []

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for lines in self._lines.values():
            lines.abandon()
        if self._vectors is not None:
            self._vectors.close()

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """One more line of a file."""
        self._lines[name].write(value)

    def vector(self, data: bytes) -> None:
        """The float16 row of the memory that was written last."""
        if self._vectors is None:
            self._vectors = (self.folder / f"{files.VECTORS}.rows").open("w+b")
        self._vectors.write(data)
        self._vector_lines.append(self._lines[files.MEMORIES].lines - 1)

    def artifact(self, artifact_id: str, source: Path) -> tuple[int, str]:
        """Copy a file under artifacts/; its bytes and its sha256. Raises `OSError` and keeps nothing then."""
        name = f"artifacts/{artifact_id}.safetensors"
        target = self.folder / name
        target.parent.mkdir(exist_ok=True)
        with source.open("rb") as given, target.open("wb") as out:
            entry = _copy(given, out)
        self._entries[name] = entry
        return entry.bytes, entry.sha256

    def drop_artifact(self, artifact_id: str) -> None:
        """Take back a file that turned out to be another one."""
        name = f"artifacts/{artifact_id}.safetensors"
        del self._entries[name]
        (self.folder / name).unlink()

    def close(
        self, *, vault: VaultEntry, profile: ProfileEntry | None, made_at: datetime, sign: Callable[[str], str]
    ) -> Manifest:
        """Write the manifest; `sign` puts the seal of this installation on its digest."""
        if profile is not None and self._vectors is not None:
            self._entries[files.VECTORS] = self._pack_vectors(profile.dim)
        kept = profile if files.VECTORS in self._entries else None
        for name, lines in self._lines.items():
            self._entries[name] = lines.close()
        counts = {name.removesuffix(".jsonl"): self._entries[name].lines or 0 for name in files.LINES}
        told: dict[str, Any] = {
            "format": files.FORMAT,
            "version": files.FORMAT_VERSION,
            "made_at": made_at.isoformat(),
            "vault": vault.model_dump(),
            "profile": None if kept is None else kept.model_dump(),
            "counts": counts | {"vectors": len(self._vector_lines) if kept else 0},
            "files": {name: self._entries[name].model_dump() for name in sorted(self._entries)},
        }
        told["digest"] = digest_of(told)
        told["signature"] = sign(str(told["digest"]))
        manifest = Manifest.model_validate(told)
        (self.folder / files.MANIFEST).write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return manifest

    def _pack_vectors(self, dim: int) -> FileEntry:
        """The safetensors file: a head that says where which array lies, then the arrays."""
        assert self._vectors is not None
        count = len(self._vector_lines)
        split = count * NUMBER.itemsize
        shapes = {
            "lines": {"dtype": "I64", "shape": [count], "data_offsets": [0, split]},
            "vectors": {
                "dtype": "F16",
                "shape": [count, dim],
                "data_offsets": [split, split + count * dim * ROW.itemsize],
            },
        }
        head = orjson.dumps(shapes)
        head += b" " * (-len(head) % 8)
        self._vectors.seek(0)
        digest = hashlib.sha256()
        size = 0
        with (self.folder / files.VECTORS).open("wb") as out:

            def put(part: bytes) -> None:
                nonlocal size
                out.write(part)
                digest.update(part)
                size += len(part)

            put(len(head).to_bytes(8, "little"))
            put(head)
            put(np.asarray(self._vector_lines, NUMBER).tobytes())
            while part := self._vectors.read(CHUNK):
                put(part)
        self._vectors.close()
        (self.folder / f"{files.VECTORS}.rows").unlink()
        return FileEntry(bytes=size, sha256=digest.hexdigest())


def digest_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over everything in a manifest but its time, its digest and its signature."""
    told = {name: value for name, value in manifest.items() if name not in ("made_at", "digest", "signature")}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def pack(folder: Path, target: Path) -> None:
    """Pack the files of an archive as a zip. Equal files give equal bytes."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w") as packed:
        for name in sorted(found, key=lambda name: (name != files.MANIFEST, name)):
            info = zipfile.ZipInfo(name, NO_TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with (folder / name).open("rb") as given, packed.open(info, "w", force_zip64=True) as out:
                shutil.copyfileobj(given, out, CHUNK)


def _copy(given: IO[bytes], out: IO[bytes]) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    while chunk := given.read(CHUNK):
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(bytes=size, sha256=digest.hexdigest())
