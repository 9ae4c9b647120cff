"""The words of a plan of changes: what is to be done, what whoever decides is given, what became of it.

Frozen values; memory/revising.py applies them. Source: empirical_mcts §3.8; ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from memory.types import Change, Draft, MemCube, Source

Op = Literal["add", "modify", "merge", "merged", "delete"]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new memory under an id that was made before; those in `replaces` are folded into it."""

    id: str
    draft: Draft
    op: Op = "add"
    replaces: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The next version of a memory."""

    id: str
    change: Change
    sources: tuple[Source, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """The memory is deleted; it can be restored until its purge date."""

    id: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that was asked for and is not done; `why` says what stood against it."""

    why: str


Revision = Insert | Rewrite | Remove | Skip


@dataclass(frozen=True, slots=True)
class There:
    """What the decision is given. `memories`: those that were asked for, in use and free to be changed, as they are;
    `near`: for a text the memories of the vault that say the same; `alike`: whether two of the new texts do; `named`: the
    live ones about the subjects that were asked for, the oldest first (those that may be changed are in `memories` too)."""

    memories: Mapping[str, MemCube]
    _near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _alike: Callable[[str, str], bool] = lambda a, b: a == b
    named: tuple[MemCube, ...] = ()

    def near(self, text: str) -> tuple[str, ...]:
        """The ids of memories that say what this text says and are still there."""
        return tuple(id_ for id_ in self._near.get(text, ()) if id_ in self.memories)

    def alike(self, a: str, b: str) -> bool:
        """Whether two of the texts that were announced say the same."""
        return self._alike(a, b)


@dataclass(frozen=True, slots=True)
class Written:
    """One change that was made."""

    id: str
    version: int
    op: Op


@dataclass(frozen=True, slots=True)
class Revised:
    """What became of a plan: the changes in order, and what was left out and why."""

    written: tuple[Written, ...]
    skipped: tuple[str, ...] = ()
