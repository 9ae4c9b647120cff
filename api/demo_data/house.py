"""What every chapter of the demo data works with: the service, who acts, the clock of the story, and what was made so far.

A chapter is one thing that happens: so many days before now, and what is done then. Chapters of all parts are put in one
order, so that ids, versions and dates tell the same story. Source: ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agents.service import Service
from memory.service import Memory
from memory.types import Actor

# Each look at the clock of the story moves it on, so that no two things happen at once and runs take a while.
TICK: Final = timedelta(milliseconds=80)


class StoryClock:
    """A clock that is moved on by hand, never back."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """See `Clock`."""
        self._at += TICK
        return self._at

    def move_to(self, at: datetime) -> None:
        """Go on to this moment; a moment that has passed changes nothing."""
        self._at = max(self._at, at)


@dataclass(slots=True)
class House:
    """`now` is where the story ends. `owner` is the user of this machine, `guest` another user; the dicts hold the ids of
    what was made, by the keys of the story. `refused`: what the store did not take, by why it should not."""

    service: Service
    owner: Actor
    guest: Actor
    guest_name: str
    clock: StoryClock
    now: datetime
    seed: int
    small: bool
    vaults: dict[str, str] = field(default_factory=dict)
    memories: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    evals: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def memory(self) -> Memory:
        """The store."""
        return self.service.memory

    def before(self, days: float) -> datetime:
        """So many days before the end of the story."""
        return self.now - timedelta(days=days)

    def actor(self, by: str | None) -> Actor:
        """Who acts: the owner, or whoever is named."""
        return self.guest if by == self.guest_name else self.owner


class Chapter(NamedTuple):
    """What happens `ago` days before now."""

    ago: float
    work: Callable[[House], Awaitable[None]]
