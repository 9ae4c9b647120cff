"""The folders of an embedded index: generations of one space, and which of them is in use.

    vectors/<slug>/1/          a shard
    vectors/<slug>/current     its name; written by one rename, so that a crash leaves the old one or the new one
    vectors/<slug>/next        a shard that was built aside and waits to be taken into use
    vectors/owner.lock         held by the one process that has the shards open

Source: design storage §1 (reindex builds a new directory, the service swaps); ours.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from runtime.errors import StorageError, boundary

CURRENT: Final = "current"
NEXT: Final = "next"


class Shards:
    """The generations of one space below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path:
        """The generation in use; the first one when there is none yet."""
        return self._named(CURRENT) or self.folder / "1"

    def offered(self) -> Path | None:
        """A generation that was built aside and is complete."""
        found = self._named(NEXT)
        return found if found is not None and found.is_dir() else None

    def fresh(self) -> Path:
        """A folder for a new generation; it is there and empty. Raises `StorageError`."""
        with boundary(f"index folder {str(self.folder)!r}", StorageError):
            self.folder.mkdir(parents=True, exist_ok=True)
            taken = [int(entry.name) for entry in self.folder.iterdir() if entry.name.isdigit()]
            made = self.folder / str(max(taken, default=0) + 1)
            made.mkdir()
        return made

    def offer(self, generation: Path) -> None:
        """Say that this generation is complete, for whichever process has the index open."""
        self._write(NEXT, generation)

    def accept(self, generation: Path) -> None:
        """Use this generation from now on, and remove the others."""
        self._write(CURRENT, generation)
        (self.folder / NEXT).unlink(missing_ok=True)
        for entry in self.folder.iterdir():
            if entry.is_dir() and entry.name.isdigit() and entry != generation:
                shutil.rmtree(entry, ignore_errors=True)

    def _named(self, name: str) -> Path | None:
        try:
            return self.folder / (self.folder / name).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def _write(self, name: str, generation: Path) -> None:
        with boundary(f"index folder {str(self.folder)!r}", StorageError):
            self.folder.mkdir(parents=True, exist_ok=True)
            aside = self.folder / f".{name}.{os.getpid()}"
            with aside.open("w", encoding="ascii") as file:
                file.write(generation.name)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.folder / name)


class Ownership:
    """The lock on all embedded indexes of one home; the system lets go of it when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def take(self) -> bool:
        """Take the lock if nobody has it. Raises `StorageError` when the folder cannot be written."""
        if self._file is not None:
            return True
        with boundary(f"index folder {str(self._folder)!r}", StorageError):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let somebody else have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
