"""The tree of a run with the lines that it is made from, kept for as long as the log says the same.

To replay a search of thousands of answers takes seconds, and one look at it asks for the page, its cards and some nodes. A
run that goes on has another number of lines, so what is kept is never old; a few trees are kept, the oldest go first.
Source: ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from agents.service import Service
from api.routes.runs import tree_lines, tree_of
from runtime.events import Event
from runtime.runs import RunRecord
from runtime.types import JsonObject

KEPT: Final = 6
# From so many events on the page does not wait for the tree.
LARGE: Final = 4000


class Grown(NamedTuple):
    """`lines` of the whole log, `shown` those that the tree is made from."""

    lines: Sequence[Event]
    shown: Sequence[Event]
    tree: JsonObject


_kept: OrderedDict[tuple[str, int, int, int | None], Grown] = OrderedDict()


def _key(run: RunRecord, at: int | None) -> tuple[str, int, int, int | None]:
    return run.id, run.epoch, run.last_seq, at


def large(run: RunRecord) -> bool:
    """Whether its page is shown before its tree is there."""
    return run.last_seq >= LARGE


async def grown(service: Service, run: RunRecord, at: int | None) -> Grown:
    """The tree as it is, or was behind the event `at`. Raises `UnknownName` when the agent builds none."""
    key = _key(run, at)
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    whole = _kept.get(_key(run, None))
    lines = await tree_lines(service, run.id) if whole is None else whole.lines
    shown = lines if at is None else [line for line in lines if line.seq <= at]
    made = Grown(lines, shown, await tree_of(service, run, lines=shown))
    _kept[key] = made
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return made
