"""What happened to the memories of a vault, on one axis: born, edited, recalled, merged, superseded, gone.

Told from the histories of the memories and from the logs of the actor's own runs, so nothing is kept twice. Of a memory
that is gone only the bare fact is told to anybody but its owner, and one that the actor may not see has no history.
`believed` is the other way to look back: what was recorded and held to be true at a moment. Source: design ui (Timeline).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from textwrap import shorten
from typing import Any, Final, Literal, TypeVar, get_args

from sqlalchemy import ColumnElement, case, select

from memory import access, rows, versions
from memory.access import Access
from memory.core import Core
from memory.lifecycle import lifetime_over
from memory.tables import MemoryRow, VersionRow
from memory.tx import Tx
from memory.types import INDEXED, SEARCHABLE, Actor, ChangeKind, MemCube
from memory.vault import grants
from runtime.errors import InvalidInput
from runtime.tables import Run, RunEvent

T = TypeVar("T")
What = Literal["born", "edited", "recalled", "merged", "superseded", "gone"]
WHATS: Final[tuple[What, ...]] = get_args(What)
BINS: Final = 120
MAX_PAGE: Final = 500
# So many versions and so many recalls are looked at, the newest ones.
MOST: Final = 50_000
LABEL: Final = 120
GONE: Final = frozenset({"deleted", "expired"})
# Only after these does the state decide what happened; an edit of an archived memory is an edit.
MOVES: Final = ("state", "conflict", "merge")


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to a memory. `version`: the one that it made, or that was recalled. `title`: of the memory
    as it is. `run_id` and `seq` say where a recall stands in a log; `held_out`: it was found and not shown."""

    at: datetime
    what: What
    memory: str
    version: int
    title: str = ""
    change: ChangeKind | None = None
    reason: str = ""
    actor: str | None = None
    run_id: str | None = None
    seq: int | None = None
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Lanes:
    """How often what happened, in `BINS` equal parts of the time from `begin` to `end`."""

    begin: datetime
    end: datetime
    counts: Mapping[What, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """`lanes` are of all that happened, None when nothing did. `items`: the newest of the chosen part, which has `counts` of
    each kind and `total` in all; `next` goes on behind them. `truncated`: there was more than was looked at."""

    vault_id: str
    lanes: Lanes | None
    items: tuple[Happening, ...]
    counts: Mapping[What, int]
    total: int
    next: int | None
    truncated: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A memory as it was `then`, and as it is `now`."""

    then: MemCube
    now: MemCube


@dataclass(frozen=True, slots=True)
class Believed:
    """The memories of a vault that were held at `moment`, the newest first; `total` of them in all."""

    vault_id: str
    moment: datetime
    items: tuple[Held, ...]
    total: int
    next: int | None


async def timeline(
    core: Core,
    actor: Actor,
    vault: str | None = None,
    *,
    begin: datetime | None = None,
    end: datetime | None = None,
    whats: Collection[What] = (),
    skip: int = 0,
    limit: int = 100,
) -> Timeline:
    """What happened in the vault from `begin` to `end` (both included), of these kinds; the newest first.

    Raises `UnknownName` for a vault that the actor may not read, `InvalidInput`.
    """
    _check(skip, limit)
    if begin is not None and end is not None and end < begin:
        raise InvalidInput(f"to {end.isoformat()!r}: is before the beginning {begin.isoformat()!r}", param="to")

    def work(tx: Tx) -> tuple[Timeline, Access]:
        allowed = access.vault(tx, vault or access.DEFAULT, "read")
        known = _known(tx, allowed)
        changes, more = _changes(tx, allowed, known)
        recalls, more_recalls = _recalls(tx, known)
        found = sorted([*changes, *recalls], key=lambda one: (one.at, one.memory, one.version))
        times = [one.at for one in found]
        first = 0 if begin is None else bisect_left(times, begin)
        last = len(found) if end is None else bisect_right(times, end)
        chosen = found[first:last]
        counts = Counter(one.what for one in chosen)
        if whats:
            chosen = [one for one in chosen if one.what in whats]
        chosen.reverse()
        page = chosen[skip : skip + limit]
        return (
            Timeline(
                allowed.vault.id,
                _lanes(found),
                tuple(_titled(tx, page)),
                {what: counts[what] for what in WHATS},
                len(chosen),
                skip + limit if skip + limit < len(chosen) else None,
                more or more_recalls,
            ),
            allowed,
        )

    return await _read(core, actor, work)


async def believed(
    core: Core, actor: Actor, vault: str | None, moment: datetime, *, skip: int = 0, limit: int = 100
) -> Believed:
    """What the vault held at `moment`: recorded by then, in use then, and true then as far as was known.

    What was erased since is not there. Raises `UnknownName` for a vault that the actor may not read, `InvalidInput`.
    """
    _check(skip, limit)

    def work(tx: Tx) -> tuple[Believed, Access]:
        allowed = access.vault(tx, vault or access.DEFAULT, "read")
        query = rows.SELECT.where(
            MemoryRow.vault_id == allowed.vault.id, MemoryRow.recorded_at <= moment, MemoryRow.state.in_(INDEXED)
        )
        cubes = [rows.cube(row, tx.now) for row in tx.connection.execute(query.order_by(MemoryRow.seq.desc()))]
        seen = [cube for cube in cubes if allowed.sees(cube.sensitivity) and not _over(cube, tx.now)]
        then = versions.as_of(tx, seen, moment)
        held = [Held(then[cube.id], cube) for cube in seen if cube.id in then and _held(then[cube.id], allowed, moment)]
        page = held[skip : skip + limit]
        following = skip + limit if skip + limit < len(held) else None
        return Believed(allowed.vault.id, moment, tuple(page), len(held), following), allowed

    return await _read(core, actor, work)


async def _read(core: Core, actor: Actor, work: Callable[[Tx], tuple[T, Access]]) -> T:
    await core.default_vault(actor)
    found, allowed = await core.read(actor, work)
    if allowed.metered:
        await core.write(actor, lambda tx: grants.spend(tx, [allowed]))
    return found


def _check(skip: int, limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit {limit}: expected 1 to {MAX_PAGE}", param="limit")
    if skip < 0:
        raise InvalidInput(f"cursor {skip}: expected 0 or more", param="cursor")


def _known(tx: Tx, allowed: Access) -> dict[str, str]:
    """The memories that the actor may see, each with its state."""
    query = select(MemoryRow.id, MemoryRow.state, MemoryRow.sensitivity).where(MemoryRow.vault_id == allowed.vault.id)
    return {row.id: row.state for row in tx.connection.execute(query) if allowed.sees(row.sensitivity)}


def _changes(tx: Tx, allowed: Access, known: Mapping[str, str]) -> tuple[list[Happening], bool]:
    moved = VersionRow.change.in_(MOVES)
    header: ColumnElement[Any] = case((moved, VersionRow.header), else_=None)
    columns = (VersionRow.memory_id, VersionRow.version, VersionRow.change, VersionRow.sys_from, VersionRow.reason)
    query = (
        select(*columns, VersionRow.actor_id, header.label("header"))
        .join(MemoryRow, MemoryRow.id == VersionRow.memory_id)
        .where(MemoryRow.vault_id == allowed.vault.id)
        .order_by(VersionRow.sys_from.desc())
        .limit(MOST + 1)
    )
    owner = allowed.rule == "owner"
    read = tx.connection.execute(query).all()
    found = []
    for row in read[:MOST]:
        if row.memory_id not in known:
            continue
        told = owner or known[row.memory_id] not in GONE
        found.append(
            Happening(
                row.sys_from,
                _what(row.change, row.header),
                row.memory_id,
                row.version,
                change=row.change,
                reason=row.reason if told else "",
                actor=row.actor_id,
            )
        )
    return found, len(read) > MOST


def _what(change: str, header: Mapping[str, Any] | None) -> What:
    if change == "create":
        return "born"
    if change == "merge":
        return "merged"
    if header is None:
        return "edited"
    # After a purge the header is empty; the last thing that such a memory did was to go.
    state = header.get("state", "deleted")
    if state == "merged":
        return "merged"
    if state == "archived":
        return "superseded" if header.get("superseded_at") else "gone"
    return "gone" if state in GONE else "edited"


def _recalls(tx: Tx, known: Collection[str]) -> tuple[list[Happening], bool]:
    query = (
        select(RunEvent.run_id, RunEvent.seq, RunEvent.at, RunEvent.data)
        .join(Run, Run.id == RunEvent.run_id)
        .where(Run.owner == tx.actor.user_id, RunEvent.type == "memory.read", RunEvent.voided.is_(False))
        .order_by(RunEvent.run_id.desc(), RunEvent.seq.desc())
        .limit(MOST + 1)
    )
    read = tx.connection.execute(query).all()
    found = [
        Happening(
            row.at,
            "recalled",
            row.data["id"],
            row.data["version"],
            run_id=row.run_id,
            seq=row.seq,
            held_out=row.data["shown"] == "held_out",
        )
        for row in read[:MOST]
        if row.data["id"] in known
    ]
    return found, len(read) > MOST


def _lanes(found: Sequence[Happening]) -> Lanes | None:
    if not found:
        return None
    begin, end = found[0].at, max(found[-1].at, found[0].at + timedelta(minutes=1))
    counts = {what: [0] * BINS for what in WHATS}
    for one in found:
        counts[one.what][min(BINS - 1, int(BINS * ((one.at - begin) / (end - begin))))] += 1
    return Lanes(begin, end, {what: tuple(each) for what, each in counts.items()})


def _titled(tx: Tx, page: Sequence[Happening]) -> Iterator[Happening]:
    there = rows.cubes(tx, list({one.memory for one in page}))
    for one in page:
        cube = there[one.memory]
        gone = cube.state in GONE or _over(cube, tx.now)
        title = "" if gone else cube.title or shorten(cube.content, LABEL, placeholder=" …")
        yield replace(one, title=title)


def _over(cube: MemCube, now: datetime) -> bool:
    return lifetime_over(cube.state, cube.expires_at, cube.sensitivity, now)


def _held(cube: MemCube, allowed: Access, moment: datetime) -> bool:
    begun = cube.valid_from is None or cube.valid_from <= moment
    ended = cube.valid_to is not None and cube.valid_to <= moment
    return (
        cube.state in SEARCHABLE and allowed.sees(cube.sensitivity) and begun and not ended and not _over(cube, moment)
    )
