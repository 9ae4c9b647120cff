"""Generations of an index: which is in use survives a crash, and one process at a time owns them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memory.indices.shards import Ownership, Shards
from runtime.errors import StorageError


def test_the_first_generation_is_in_use_until_another_is_accepted(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "space")
    assert shards.current() == tmp_path / "space" / "1"
    first = shards.fresh()
    second = shards.fresh()
    assert (first.name, second.name) == ("1", "2")
    shards.accept(second)
    assert Shards(tmp_path / "space").current() == second
    assert not first.exists()


def test_a_shard_that_was_offered_is_found_by_another_process_until_it_is_accepted(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    assert shards.offered() is None
    made = shards.fresh()
    shards.offer(made)
    assert Shards(tmp_path).offered() == made
    shards.accept(made)
    assert shards.offered() is None
    assert shards.current() == made


def test_an_offered_shard_whose_folder_has_gone_is_not_offered(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    made = shards.fresh()
    shards.offer(made)
    made.rmdir()
    assert shards.offered() is None


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="index folder"):
        Shards(tmp_path / "file" / "space").fresh()


def test_one_owner_at_a_time_also_of_another_process(tmp_path: Path) -> None:
    mine = Ownership(tmp_path)
    assert mine.take()
    assert mine.take(), "who has it keeps it"
    assert not Ownership(tmp_path).take()
    asking = (
        f"from memory.indices.shards import *; import sys; sys.exit(int(not Ownership(Path({str(tmp_path)!r})).take()))"
    )
    assert subprocess.run([sys.executable, "-c", asking], check=False).returncode == 1
    mine.release()
    assert not mine.held
    assert subprocess.run([sys.executable, "-c", asking], check=False).returncode == 0


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    dying = (
        "from memory.indices.shards import *; import os, signal;"
        f" assert Ownership(Path({str(tmp_path)!r})).take(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", dying], check=False).returncode == -9
    assert Ownership(tmp_path).take()
