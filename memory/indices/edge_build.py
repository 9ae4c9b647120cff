"""Builds an embedded index from nothing, for the command that makes one anew in a process of its own.

While the engine optimises (100 000 vectors: about two minutes) no other Python thread of the process runs, so nothing
that serves may call this. Source: design storage §1, "Using edge".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import qdrant_edge as edge

from memory.indices.base import VectorOp, newest
from memory.indices.edge import check_codec, create, engine_errors, write, write_facts
from runtime.errors import StorageError, boundary

PORTION: Final = 1000


def build(folder: Path, dim: int, codec_name: str, batches: Iterable[Sequence[VectorOp]], *, optimise: bool) -> int:
    """Fill a folder that is empty or not there with a shard of these ops and close it; how many points it has,
    tombstones included.

    `optimise` gives it graphs, so that a search does not look at every vector. Until all is done the folder cannot be
    opened as an index. Raises `StorageError` when the folder is not empty or cannot be written, `SettingsError` for a
    codec that the engine does not have, `InvalidInput` for a vector that is not one.
    """
    check_codec(codec_name)
    name = f"index {str(folder)!r}"
    with boundary(name, StorageError):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StorageError(f"{name}: there is something in it; expected an empty folder")
    with engine_errors(name):
        shard = create(folder, dim, codec_name, optimised=optimise)
    try:
        for ops in batches:
            latest = newest(ops, dim)
            with engine_errors(name):
                write(shard, latest, portion=PORTION)
        with engine_errors(name):
            if optimise:
                shard.optimize()
            count = shard.count(edge.CountRequest(exact=True))
    finally:
        with engine_errors(name):
            shard.close()
    with boundary(name, StorageError):
        write_facts(folder, dim, codec_name)
    return count
