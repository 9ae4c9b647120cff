"""The seal on what this installation gives out, so that it is known again when it comes back.

An archive can be written by anybody; one that carries the seal was made here, so its states, authors and times are what
this store once said. The key is made when it is first needed and never leaves `home`. Source: memos §3.11 (signature); ours.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from runtime.errors import StorageError

FILE: Final = "archive.key"
KEY_BYTES: Final = 32


class Seal:
    """The key of one installation."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE

    def sign(self, digest: str) -> str:
        """The seal (64 hex digits) on a digest. Raises `StorageError` when the key cannot be read or made."""
        return hmac.new(self._key(), digest.encode(), hashlib.sha256).hexdigest()

    def is_ours(self, digest: str, signature: str) -> bool:
        """Whether this installation sealed the digest."""
        return self._file.exists() and hmac.compare_digest(self.sign(digest), signature)

    def _key(self) -> bytes:
        try:
            if not self._file.exists():
                self._make()
            key = self._file.read_bytes()
        except OSError as error:
            raise StorageError(f"{str(self._file)!r}: {error}; expected a file that this user may write") from error
        if len(key) != KEY_BYTES:
            raise StorageError(
                f"{str(self._file)!r}: {len(key)} bytes, expected {KEY_BYTES}; delete it, and a new one is made. "
                "Archives of before are then taken for those of strangers"
            )
        return key

    def _make(self) -> None:
        # Linked when it is whole: of two processes that begin at once, one gets its key in and both use that.
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_name(f"{FILE}.{secrets.token_hex(8)}")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(secrets.token_bytes(KEY_BYTES))
                out.flush()
                os.fsync(out.fileno())
            os.link(draft, self._file)
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)
