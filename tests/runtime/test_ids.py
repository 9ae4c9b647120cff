"""Ids sort by creation; the clock is in UTC."""

from __future__ import annotations

import re
from datetime import UTC

from runtime.ids import SYSTEM, new_id, new_run_id


def test_ids_sort_by_creation_and_are_never_the_same() -> None:
    ids = [new_run_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_an_id_says_what_it_is_of_and_fits_its_column() -> None:
    assert re.fullmatch(r"key_[0-9a-f]{32}", new_id("key"))
    assert new_run_id().startswith("run_")
    assert len(new_run_id()) <= 40


def test_the_clock_gives_utc() -> None:
    assert SYSTEM.now().tzinfo is UTC
