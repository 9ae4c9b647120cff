"""What may become of a memory, and how warm it is: a table of moves and a few formulas. Pure.

A move is (event, state it is in) → state it gets; what does not stand in the table is refused. The sweep, the reviews
and every caller use the same table, and so does everybody who must know whether a lifetime is over. Source: memos §2.5
(states), §3.6 (heat, cold, capacity), §5 (a summary whose child is gone is quarantined). Ours: a raw or merged memory may
expire as well, because a lifetime is a promise about the text and not about its state; `archive` is the move of a
person, a rollback or a full vault; a deleted memory can be restored until it is purged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

from memory.types import MemCube, SemanticType, State
from runtime.errors import Conflict, Forbidden, InvalidInput

Event = Literal[
    "admit",
    "quarantine",
    "approve",
    "reject",
    "fuse",
    "cool",
    "expire",
    "freeze",
    "unfreeze",
    "supersede",
    "archive",
    "restore",
    "hit",
    "delete",
    "purge",
]
CapacityClass = Literal["working", "long_term", "user", "raw"]

STATES: Final[tuple[State, ...]] = get_args(State)
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
TRANSITIONS: Final[Mapping[Event, Mapping[State, State]]] = MappingProxyType(
    {
        "admit": {"generated": "activated", "quarantined": "activated"},
        "quarantine": {"generated": "quarantined", "activated": "quarantined"},
        "approve": {"generated": "activated", "quarantined": "activated"},
        "reject": {"generated": "deleted", "quarantined": "deleted"},
        "fuse": {"activated": "merged"},
        "cool": {"activated": "archived"},
        "expire": {
            "generated": "expired",
            "quarantined": "expired",
            "activated": "expired",
            "merged": "expired",
            "archived": "expired",
            "frozen": "expired",
        },
        "freeze": {"activated": "frozen"},
        "unfreeze": {"frozen": "activated"},
        "supersede": {"activated": "archived", "archived": "archived"},
        "archive": {"generated": "archived", "activated": "archived"},
        "restore": {"merged": "activated", "archived": "activated", "expired": "activated", "deleted": "activated"},
        "hit": {"archived": "activated"},
        "delete": {state: "deleted" for state in STATES if state != "deleted"},
        "purge": {"merged": "deleted", "expired": "deleted", "deleted": "deleted"},
    }
)

HALF_LIFE: Final = timedelta(days=7)
COLD_BELOW: Final = 0.05
IDLE_AFTER: Final = timedelta(days=14)
QUARANTINE_KEPT: Final = timedelta(days=30)
CAPACITY: Final[Mapping[CapacityClass, int]] = MappingProxyType(
    {"working": 20, "long_term": 1500, "user": 480, "raw": 1500}
)
CLASS_OF: Final[Mapping[SemanticType, CapacityClass]] = MappingProxyType(
    {"note": "working", "preference": "user", "document": "raw", "file": "raw", "tool_trace": "raw"}
)


class InvalidTransition(Conflict):
    """The state of the memory does not allow this."""

    code = "invalid_transition"


def next_state(state: State, event: str, *, superseded: bool = False, by_owner: bool = True) -> State:
    """The state after `event`. `superseded`: a newer memory has taken its place; `by_owner`: the vault's owner acts.

    Raises `InvalidTransition` for a move that there is not, `Forbidden` when somebody else wants to unfreeze, and
    `InvalidInput` for an unknown event.
    """
    moves = TRANSITIONS.get(cast(Event, event))
    if moves is None:
        raise InvalidInput(f"event {event!r}: unknown; expected one of {', '.join(EVENTS)}", param="event")
    after = moves.get(state)
    if after is None or (superseded and event in ("hit", "supersede")):
        allowed = ", ".join(allowed_events(state, superseded=superseded)) or "nothing"
        now = f"{state!r} (superseded)" if superseded else repr(state)
        raise InvalidTransition(f"a memory in state {now} cannot {event!r}; it allows: {allowed}", param="state")
    if event == "unfreeze" and not by_owner:
        raise Forbidden("only the owner of the vault may unfreeze a memory; ask the owner")
    return after


def allowed_events(state: State, *, superseded: bool = False) -> tuple[Event, ...]:
    """The events that a memory in `state` allows, in the order of `EVENTS`."""
    barred = ("hit", "supersede") if superseded else ()
    return tuple(event for event in EVENTS if state in TRANSITIONS[event] and event not in barred)


def lifetime_over(state: State, expires_at: datetime | None, sensitivity: Collection[str], now: datetime) -> bool:
    """Whether the memory's time is up. Freezing suspends a lifetime, but never that of a text that is sensitive."""
    if expires_at is None or expires_at > now:
        return False
    return state != "frozen" or bool(sensitivity)


def heat(uses: int, last_used_at: datetime | None, now: datetime, half_life: timedelta = HALF_LIFE) -> float:
    """How warm a memory is: its uses, halved for every `half_life` since the last one; 0 when it was never used."""
    if uses <= 0 or last_used_at is None:
        return 0.0
    idle = max(timedelta(0), now - last_used_at)
    return float(uses * 0.5 ** (idle / half_life))


def is_cold(cube: MemCube, now: datetime, *, below: float = COLD_BELOW, idle_after: timedelta = IDLE_AFTER) -> bool:
    """Whether the sweep archives it. A memory that was never used is idle since it was last written; what a person wrote
    on purpose and nobody has asked for yet stays."""
    if cube.state != "activated" or cube.pinned or (cube.uses == 0 and cube.origin == "user_input"):
        return False
    idle = now - max(cube.last_used_at or cube.updated_at, cube.updated_at)
    return idle > idle_after and heat(cube.uses, cube.last_used_at, now) < below


def capacity_class(semantic_type: SemanticType, state: State = "activated") -> CapacityClass:
    """Which limit of a vault counts for it; an unprocessed memory is raw, whatever it speaks of."""
    return "raw" if state == "generated" else CLASS_OF.get(semantic_type, "long_term")


def over_capacity(cubes: Sequence[MemCube], limits: Mapping[CapacityClass, int], now: datetime) -> list[MemCube]:
    """The memories of one vault that have no room, coldest first within their class.

    Only unpinned ones in `generated` or `activated` can go; all live ones take room.
    """
    spare: list[MemCube] = []
    for name, limit in limits.items():
        members = [cube for cube in cubes if capacity_class(cube.semantic_type, cube.state) == name]
        free = [cube for cube in members if cube.state in ("generated", "activated") and not cube.pinned]
        free.sort(
            key=lambda cube: (heat(cube.uses, cube.last_used_at, now), cube.last_used_at or cube.updated_at, cube.id)
        )
        spare += free[: max(0, len(members) - limit)]
    return spare
