"""Builds an embedded index aside, in a process of its own: while it optimises, the engine lets no other thread run.

`python -m memory.upkeep.reindexing` reads what to build as one JSON line and prints how many memories it has read. The
parent waits for it; when the parent is cancelled, or the build fails, the folder is removed. Source: design storage §1.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import Process
from sqlalchemy import Engine, create_engine

from memory.indices import edge_build
from memory.indices.base import VectorOp
from memory.profiles import StoredProfile
from memory.tx import Tx
from memory.upkeep import comparing
from memory.upkeep.filling import operations
from memory.workers import SYSTEM
from runtime.errors import StorageError
from runtime.settings import Settings, load
from runtime.sqlite import sqlite_engine

Progress = Callable[[int], None]
TOLD: Final = 2000


async def build(settings: Settings, profile: StoredProfile, folder: Path, progress: Progress | None = None) -> int:
    """Fill the empty folder with an optimised index of the profile; how many points it has. Raises `StorageError`."""
    flags = {"home": str(settings.home), "database.url": settings.database_url}
    wanted = {
        "flags": flags,
        "profile": profile.id,
        "dim": profile.space.dim,
        "codec": profile.codec,
        "folder": str(folder),
    }
    try:
        async with await anyio.open_process([sys.executable, "-m", "memory.upkeep.reindexing"]) as process:
            return await _follow(process, json.dumps(wanted), progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _follow(process: Process, wanted: str, progress: Progress | None) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdin.send(wanted.encode() + b"\n")
    await process.stdin.aclose()
    said, complaint = b"", b""

    async def listen() -> None:
        nonlocal complaint
        assert process.stderr is not None
        async for piece in process.stderr:
            complaint = (complaint + piece)[-TOLD:]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        async for piece in process.stdout:
            *lines, said = (said + piece).split(b"\n")
            if lines and progress is not None and lines[-1].isdigit():
                progress(int(lines[-1]))
    code = await process.wait()
    if code != 0 or not said.isdigit():
        raise StorageError(
            f"the index could not be built (exit {code}): {complaint.decode(errors='replace').strip() or 'it said nothing'}"
        )
    return int(said)


def main(wanted: Mapping[str, Any]) -> int:
    """Build it; how many points were written."""
    engine = _engine(load(wanted["flags"], env={}).settings)
    try:
        return edge_build.build(
            Path(wanted["folder"]), wanted["dim"], wanted["codec"], _batches(engine, wanted), optimise=True
        )
    finally:
        engine.dispose()


def _batches(engine: Engine, wanted: Mapping[str, Any]) -> Iterator[Sequence[VectorOp]]:
    after, seen = 0, 0
    with engine.connect() as connection:
        while True:
            tx = Tx(connection, datetime.now(UTC), SYSTEM)
            cubes = comparing.page(tx, after)
            if not cubes:
                return
            ops, _ = operations(tx, wanted["profile"], wanted["dim"], cubes)
            yield ops
            after, seen = cubes[-1].seq, seen + len(cubes)
            print(seen, flush=True)


def _engine(settings: Settings) -> Engine:
    if settings.database_url.startswith("sqlite"):
        return sqlite_engine(settings)
    return create_engine(settings.database_url)


if __name__ == "__main__":
    # The number without a line end is the result; lines are progress.
    sys.stdout.write(str(main(json.loads(sys.stdin.readline()))))
