"""Databases of this release. Migrating an empty one takes longer than most tests, so a new one of SQLite is a copy."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from runtime.migrate import upgrade
from runtime.settings import Settings, load


def migrate(settings: Settings) -> None:
    """What `upgrade` does."""
    file = settings.home / "mneme.db"
    if settings.database.url is None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_migrated())
    else:
        upgrade(settings)


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(load({"home": folder}, env={}).settings)
        return (Path(folder) / "mneme.db").read_bytes()
