"""The files of an evaluation, in a folder of its own: header, samples, results, summary, and the diary of its memory.

`header.json` and `samples.jsonl` (what was asked, with the gold answers) are written once, before anything is asked. Each
record of `results.jsonl` is one line, written whole and synced before the next thing happens; a line that a crash cut short
is not a record and is taken away when the log is opened again. A slot whose run broke for a technical reason has no record,
and is asked again when the evaluation is resumed. One process writes a log at a time. `memory.jsonl` is the diary of a store
that grows along the items (evals/continual.py). Source: evaluation sheet §3.9; style sheet §3.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pydantic import JsonValue

from evals.base import Sample
from evals.records import Header, Record
from runtime import textsafe
from runtime.errors import Conflict, MnemeError, UnknownName
from runtime.ids import new_id

HEADER: Final = "header.json"
SAMPLES: Final = "samples.jsonl"
RESULTS: Final = "results.jsonl"
SUMMARY: Final = "summary.json"
DIARY: Final = "memory.jsonl"
ID: Final = re.compile(r"evl_[0-9a-f]{32}")


class Log:
    """One evaluation on disk, for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """Its id, which is the name of its folder."""
        return self.folder.name

    def header(self) -> Header:
        """Raises `MnemeError` for a header that cannot be read."""
        return Header.from_json(_read_json(self.folder / HEADER))

    def samples(self) -> dict[str, dict[str, Any]]:
        """The normalised records that were asked, by their ids."""
        return {str(line["id"]): line for line in _lines(self.folder / SAMPLES)}

    def records(self) -> list[Record]:
        """The record of each slot, in the order of the file."""
        found: dict[tuple[int, int, int, str], Record] = {}
        for line in _lines(self.folder / RESULTS):
            record = Record.from_json(line)
            found[record.key] = record
        return list(found.values())

    def summary(self) -> dict[str, Any] | None:
        """What was computed when it ended, or was last looked at; None before that."""
        path = self.folder / SUMMARY
        return _read_json(path) if path.is_file() else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Put it in place at once: a reader sees the old one or the new one."""
        _replace(self.folder / SUMMARY, summary)

    def diary(self) -> list[dict[str, Any]]:
        """The lines of the diary."""
        return list(_lines(self.folder / DIARY))


class LogWriter(Log):
    """The one writer of a log. Use `with`: leaving it lets another process write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._results = _open(folder / RESULTS)
        self._diary = _open(folder / DIARY)
        try:
            fcntl.flock(self._results, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise Conflict(
                f"evaluation {folder.name!r}: another process is running it; wait for it to end", param="resume"
            ) from error
        for path, descriptor in ((RESULTS, self._results), (DIARY, self._diary)):
            _drop_half_line(folder / path, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in (self._results, self._diary):
            os.close(descriptor)

    def add(self, record: Record) -> None:
        """Write a record; it is on disk when this returns. Raises `OSError`."""
        _append(self._results, [asdict(record)])

    def note(self, line: Mapping[str, JsonValue]) -> None:
        """Write a line of the diary; it is on disk when this returns. Raises `OSError`."""
        _append(self._diary, [line])


def folder_of(home: Path) -> Path:
    """Where evaluations are kept."""
    return home / "evals"


def create(home: Path, header: Header, samples: Sequence[Sample]) -> Path:
    """Make the folder of a new evaluation. The header comes last: a folder without one is no evaluation."""
    folder = folder_of(home) / header.id
    folder.mkdir(parents=True)
    descriptor = _open(folder / SAMPLES)
    try:
        _append(descriptor, [sample.normal() for sample in samples])
    finally:
        os.close(descriptor)
    _replace(folder / HEADER, header.to_json())
    return folder


def find(home: Path, id_: str) -> Log:
    """An evaluation by its id. Raises `UnknownName`."""
    folder = folder_of(home) / id_
    # What is no id never becomes a path.
    if not ID.fullmatch(id_) or not (folder / HEADER).is_file():
        raise UnknownName(f"evaluation {id_!r}: not found; `mneme eval list` shows what there is", param="id")
    return Log(folder)


def every(home: Path) -> list[Log]:
    """All evaluations, the newest first."""
    folders = folder_of(home).glob("evl_*")
    found = [folder for folder in folders if ID.fullmatch(folder.name) and (folder / HEADER).is_file()]
    return [Log(folder) for folder in sorted(found, key=lambda folder: folder.name, reverse=True)]


def new_eval_id() -> str:
    """The id of a new evaluation; they sort by time."""
    return new_id("evl")


def now_text(now: datetime) -> str:
    """A time as it stands in the files."""
    return now.astimezone(UTC).isoformat()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _append(descriptor: int, values: Sequence[Mapping[str, Any]]) -> None:
    data = "".join(f"{textsafe.dumps(dict(value)).strip()}\n" for value in values).encode()
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])
    os.fsync(descriptor)


def _drop_half_line(path: Path, descriptor: int) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.ftruncate(descriptor, whole)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield textsafe.loads(line.decode())
            except ValueError as error:
                raise MnemeError(f"{str(path)!r}, line {number}: not JSON: {error}; the file was changed") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = textsafe.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MnemeError(f"{str(path)!r}: cannot be read: {error}; the evaluation is damaged") from error
    return value


def _replace(path: Path, value: Mapping[str, Any]) -> None:
    half = path.with_name(path.name + ".part")
    with half.open("w", encoding="utf-8") as file:
        file.write(textsafe.dumps(dict(value)))
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
