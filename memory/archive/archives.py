"""Reads an archive, a zip or a folder of the same files, and verifies all of it before a line is used.

`unpack` copies everything into a folder of ours and compares every digest on the way, so what is read later is what was
verified. There is no pickle in an archive, only names of a fixed form are files of it, and one that would grow beyond
reason is refused. What stands where is told in memory/archive/archive_lines.py. Source: memos §3.11, §5 (corrupted export).
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import orjson
from pydantic import ValidationError

from memory.archive import archive_lines as files
from memory.archive.archive_lines import FileEntry, Line, Manifest
from memory.archive.archive_writer import BLOCK_LINES, CHUNK, digest_of
from runtime.errors import InvalidInput

L = TypeVar("L", bound=Line)
# These hold JSON of any kind, in which a NUL is an escape and no character of a text.
JSON_FIELDS: Final = frozenset({"data", "identity"})
MAX_LINE: Final = 32_000_000
MAX_MANIFEST: Final = 16_000_000
# A text shrinks to a fifth or a tenth; what shrinks much more is a trap and no archive.
MAX_EXPANSION: Final = 200
SMALL: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An archive whose every digest was compared, in a folder of ours."""

    folder: Path
    manifest: Manifest

    def lines(self, name: str, model: type[L]) -> Iterator[tuple[int, L]]:
        """Each line with its number. Raises `InvalidInput` naming the line that is not as the schema says."""
        with (self.folder / name).open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), 1):
                try:
                    value = orjson.loads(line)
                    if b"\\u0000" in line and _has_nul(value):
                        raise damaged(name, f"line {number} holds a NUL character, which no text has")
                    yield number, model.model_validate(value)
                except orjson.JSONDecodeError as error:
                    raise damaged(name, f"line {number} is not JSON ({error})") from error
                except ValidationError as error:
                    raise damaged(name, f"line {number}: {told_of(error)}") from error

    def has(self, name: str) -> bool:
        """Whether the archive has this file."""
        return name in self.manifest.files


def unpack(source: Path, folder: Path) -> Unpacked:
    """Copy an archive (a zip or a folder) into our `folder`, which is empty, and verify all of it.

    Raises `InvalidInput` that names the file, and the line where that can be told, for whatever is missing, too much,
    too large or not as it was written; `OSError` is turned into that too.
    """
    try:
        with _opened(source) as parts:
            manifest = _manifest(parts)
            unknown = sorted(parts.names - manifest.files.keys() - {files.MANIFEST})
            missing = sorted(manifest.files.keys() - parts.names)
            if unknown or missing:
                name = (unknown or missing)[0]
                raise damaged(name, "the manifest does not know this file" if unknown else "the file is missing")
            for name, entry in manifest.files.items():
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                _verified(parts, name, entry, target)
    except OSError as error:
        raise InvalidInput(
            f"archive {source.name!r}: {error.strerror or error}; expected a file or folder that can be read",
            param="file",
        ) from error
    return Unpacked(folder, manifest)


def damaged(name: str, what: str) -> InvalidInput:
    """The error about a file of an archive. Nothing has been written when it is raised."""
    return InvalidInput(f"archive: {name}: {what}; nothing was imported", param=name)


def told_of(error: ValidationError) -> str:
    """The first thing that is wrong, with the name of the field."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(each) for name, each in value.items() if name not in JSON_FIELDS)
    return isinstance(value, list) and any(map(_has_nul, value))


class _Parts:
    """The files of an archive by name, whether it is packed or not."""

    def __init__(self, folder: Path | None, packed: zipfile.ZipFile | None, names: set[str]) -> None:
        self._folder = folder
        self._packed = packed
        self.names = names

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._packed is not None:
            self._packed.close()

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file. Raises `InvalidInput` where a packed one is broken."""
        if self._folder is not None:
            with (self._folder / name).open("rb") as given:
                while chunk := given.read(CHUNK):
                    yield chunk
            return
        assert self._packed is not None
        try:
            with self._packed.open(name) as given:
                while chunk := given.read(CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise damaged(name, f"cannot be unpacked ({error})") from error


def _opened(source: Path) -> _Parts:
    if source.is_dir():
        found = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
        return _Parts(source, None, _known(found))
    try:
        packed = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InvalidInput(
            f"archive {source.name!r}: {error}; expected a zip that `mneme memory export` wrote, whole", param="file"
        ) from error
    try:
        infos = packed.infolist()
        names = _known({info.filename for info in infos})
        size, packed_size = sum(info.file_size for info in infos), source.stat().st_size
        if len(infos) != len(names):
            raise InvalidInput(f"archive {source.name!r}: holds a file twice; nothing was imported", param="file")
        if size > max(SMALL, MAX_EXPANSION * packed_size):
            raise InvalidInput(
                f"archive {source.name!r}: {packed_size} bytes that become {size}; text shrinks less than that",
                param="file",
            )
    except InvalidInput:
        packed.close()
        raise
    return _Parts(None, packed, names)


def _known(names: set[str]) -> set[str]:
    allowed = {files.MANIFEST, files.VECTORS, *files.LINES}
    for name in sorted(names):
        if name not in allowed and not re.fullmatch(files.ARTIFACT_FILE, name):
            raise InvalidInput(f"archive: {name[:200]!r} is no file of an archive; nothing was imported", param="file")
    return names


def _manifest(parts: _Parts) -> Manifest:
    name = files.MANIFEST
    if name not in parts.names:
        raise damaged(name, "the file is missing")
    data = b""
    for chunk in parts.chunks(name):
        data += chunk
        if len(data) > MAX_MANIFEST:
            raise damaged(name, f"is larger than {MAX_MANIFEST} bytes")
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise damaged(name, f"line {error.lineno} is not JSON ({error.msg})") from error
    if isinstance(told, dict) and isinstance(told.get("version"), int) and told["version"] > files.FORMAT_VERSION:
        raise damaged(
            name, f"format version {told['version']} is newer than this release, which reads {files.FORMAT_VERSION}"
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        raise damaged(name, told_of(error)) from error
    if digest_of(told) != manifest.digest:
        raise damaged(name, "its digest is not that of what it says")
    lacking = sorted(set(files.LINES) - manifest.files.keys())
    if lacking:
        raise damaged(name, f"does not list {lacking[0]!r}")
    return manifest


def _verified(parts: _Parts, name: str, entry: FileEntry, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as out:
        for chunk in parts.chunks(name):
            size += len(chunk)
            if size > entry.bytes:
                break
            out.write(chunk)
            digest.update(chunk)
    if size == entry.bytes and digest.hexdigest() == entry.sha256:
        return
    where = _damage(target, entry) if name.endswith(".jsonl") else ""
    how = "its digest is another" if size == entry.bytes else f"has {'more' if size > entry.bytes else 'fewer'} bytes"
    raise damaged(name, f"{where}{how} than the manifest says")


def _damage(path: Path, entry: FileEntry) -> str:
    """Where a file of lines stops being what it was, as closely as can be told."""
    block, number = 0, 0
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), 1):
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                return f"line {number} is broken, "
            if not line.endswith(b"\n"):
                return f"line {number} ends too early, "
            block = zlib.crc32(line, block)
            if number % BLOCK_LINES == 0:
                if entry.blocks[number // BLOCK_LINES - 1 :][:1] != [block]:
                    return f"lines {number - BLOCK_LINES + 1} to {number} were changed, "
                block = 0
    first = number - number % BLOCK_LINES + 1
    if number == entry.lines and first <= number:
        return f"lines {first} to {number} were changed, "
    return f"line {number + 1} is missing, " if entry.lines is None or number < entry.lines else ""
