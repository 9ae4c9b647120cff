"""Lines of calls: one grows the tree, and splits where subtasks need nothing of each other.

A branch holds what one line of calls works on: its copy of the tree, what it may still spend, what it must be told next.
Branches see nothing of each other, and what is left is shared out before they begin, so what each of them does depends on
itself alone and a run gives the same events however its calls overlap. Source: tim §3.5; ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from agents.tim.guards import Guards
from runtime.errors import MnemeError
from runtime.events import AnyPayload
from runtime.threads import ThreadTree
from runtime.working_memory import Cut

AT_ONCE = 8


@dataclass(slots=True)
class Branch:
    """One line of calls. `output_left`: tokens that may still be written. `notes` are said with the next prompt, `waiting`
    goes into the log with the next step. `ending`: the owner of the list that must end, "" for the top one. `sent`: the last
    prompt."""

    tree: ThreadTree
    tools_left: int
    output_left: int
    guards: Guards = field(default_factory=Guards)
    notes: list[str] = field(default_factory=list)
    waiting: list[AnyPayload] = field(default_factory=list)
    ending: str | None = None
    sent: str = ""

    def split(self, owner: str, count: int) -> list[Branch]:
        """A branch for each of the next `count` tasks in the list of `owner`, each with its share of what is left."""
        tools = [self.tools_left // count + (place < self.tools_left % count) for place in range(count)]
        return [Branch(self.tree.fork(owner), share, self.output_left // count, sent=self.sent) for share in tools]

    def join(self, branches: Sequence[Branch]) -> tuple[Cut, ...]:
        """Take the branches back, in the order of their tasks; what they did not spend is left again. Returns what went
        out of the live memory by it."""
        self.tools_left = sum(branch.tools_left for branch in branches)
        self.output_left -= sum(self.output_left // len(branches) - branch.output_left for branch in branches)
        self.waiting += [payload for branch in branches for payload in branch.waiting]
        return self.tree.join([branch.tree for branch in branches])


async def side_by_side(works: Sequence[Callable[[], Awaitable[None]]], *, at_once: int = AT_ONCE) -> None:
    """Do all of them, at most `at_once` at a time. The first error of ours stops the others and is raised as itself."""
    room = anyio.CapacityLimiter(at_once)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with room:
            await work()

    try:
        async with anyio.create_task_group() as group:
            for work in works:
                group.start_soon(one, work)
    except ExceptionGroup as errors:
        raise _first(errors) from errors


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    ours = errors.subgroup(MnemeError)
    found: Exception = ours if ours is not None else errors
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
