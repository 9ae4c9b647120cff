"""Sortable ids and the clock.

Ids are UUIDv7 (RFC 9562): they sort by creation time, so a primary key is also the order of a list. The clock is
an argument wherever time matters; `SYSTEM` is the one that production passes in. Source: ours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import uuid_utils


class Clock(Protocol):
    """Where time comes from. Tests pass one that they set."""

    def now(self) -> datetime:
        """The current time, always with the UTC zone."""
        ...


class SystemClock:
    """The computer's clock in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


SYSTEM: Clock = SystemClock()


def new_id(prefix: str) -> str:
    """Return `<prefix>_<32 hex digits>`; ids of one prefix sort by creation time."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def new_run_id() -> str:
    """Return the id of a new run."""
    return new_id("run")
