"""What one search may show: vaults and masks, states, lifetimes, the moment it looks at, and the filters of the question.

The statements of a search leave out what cannot be shown, so that candidates are not wasted on it; `sees` decides, on the
memory as it was read last, and nothing is shown that it did not see. The statements are never stricter than it. There are
three ways of looking: as it is now (superseded statements are not shown), `at` a time of the world (they come back for
their interval), and `as_of` a time of the store (the version that was current then decides).
Source: memos §3.2 (1, 4, 7), §3.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from memory.access import Access
from memory.lifecycle import lifetime_over
from memory.ranking.statements import Shape, listed
from memory.types import INDEXED, SEARCHABLE, MemCube, Query, State

NEVER: frozenset[State] = frozenset({"deleted", "expired"})


@dataclass(frozen=True, slots=True)
class Scope:
    """`allowed`: the decision for each vault, by its id."""

    allowed: Mapping[str, Access]
    query: Query
    now: datetime

    @property
    def vault_ids(self) -> tuple[str, ...]:
        """The vaults that are searched."""
        return tuple(self.allowed)

    @property
    def wanted(self) -> frozenset[State]:
        """The states in which a memory is shown, at the moment that the search looks at."""
        return (frozenset(self.query.states) or SEARCHABLE) - NEVER

    @property
    def indexed(self) -> frozenset[State]:
        """The states in which the memory may be now: more than `wanted` when the search looks at the past."""
        if self.query.as_of is not None:
            return INDEXED | self.wanted
        return self.wanted | {"archived"} if self.query.at is not None else self.wanted

    @property
    def shape(self) -> Shape:
        """What the statements of this search say (memory/ranking/statements.py)."""
        query = self.query
        return Shape(
            tuple(sorted(self.wanted)),
            tuple(sorted(self.indexed)),
            query.kinds,
            session=query.session_id is not None,
            at=query.at is not None,
            superseded=bool(query.states),
            past=query.as_of is not None,
        )

    def parameters(self, dialect: str, **more: object) -> dict[str, object]:
        """The values that they take, and `more`."""
        query = self.query
        named = {"now": self.now, "at": query.at, "as_of": query.as_of, "session": query.session_id}
        return {"vaults": listed(dialect, self.vault_ids), **named, **more}

    def may_read(self, vault_id: str, sensitivity: Sequence[str]) -> bool:
        """Whether the caller may see a memory of this vault with these tags."""
        allowed = self.allowed.get(vault_id)
        return allowed is not None and allowed.sees(sensitivity)

    def sees(self, cube: MemCube, then: MemCube | None = None) -> bool:
        """Whether the memory is shown. `then`: the version that was current at `as_of`, when the search looks there; who
        may read it and whether its lifetime is over is decided on what is current."""
        if not self.may_read(cube.vault_id, cube.sensitivity) or cube.state not in self.indexed:
            return False
        if lifetime_over(cube.state, cube.expires_at, cube.sensitivity, self.now):
            return False
        shown = then or cube
        return self.may_read(shown.vault_id, shown.sensitivity) and self._current(shown) and self._asked_for(shown)

    def _current(self, cube: MemCube) -> bool:
        at, as_of = self.query.at, self.query.as_of
        moment = self.now if as_of is None else as_of
        superseded = cube.superseded_at is not None and cube.superseded_at <= moment
        if at is not None:
            begun = cube.valid_from is None or cube.valid_from <= at
            ended = cube.valid_to is not None and cube.valid_to <= at
            known = cube.state in self.wanted or (cube.state == "archived" and superseded)
            return known and begun and not ended
        return cube.state in self.wanted and (not superseded or bool(self.query.states))

    def _asked_for(self, cube: MemCube) -> bool:
        query = self.query
        if query.kinds and cube.semantic_type not in query.kinds:
            return False
        if query.tags and not set(query.tags).intersection(cube.tags):
            return False
        return query.session_id is None or cube.session_id == query.session_id
