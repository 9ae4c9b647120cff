"""When a finished list of subtasks leaves the live memory: the queue of finished lists, the stack rule, the cost rule.

Closed lists wait in a queue, oldest first. The newest `k` of them are always kept, so that nothing goes that is needed
right now; the older ones are due. Inner lists close before outer ones, so they are due first. `prune_at` says when a
list enters the queue: when it closes, or when its owner's conclusion was written (a model without training for this
needs its evidence while it concludes). Source: tim §3.2; the cost rule is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from runtime.errors import InvalidInput
from runtime.thread_outline import Outline, inside, walk
from runtime.working_memory import Cut, WorkingMemory

PruneAt = Literal["list_close", "parent_conclusion"]
Policy = Literal["stack", "cost"]


@dataclass(frozen=True, slots=True)
class PruneRule:
    """How a thread tree forgets. `prune=False`: never. `stack`: every list that is due goes. `cost`: of those that are
    due, the ones that pay; the others wait for the next time."""

    k: int = 1
    prune_at: PruneAt = "parent_conclusion"
    policy: Policy = "stack"
    prune: bool = True

    def __post_init__(self) -> None:
        if self.k < 0:
            raise InvalidInput(f"k {self.k}: expected 0 or more lists to keep", param="k")

    def due(self, queue: Sequence[str]) -> tuple[str, ...]:
        """The entries beyond the newest `k`, oldest first."""
        return tuple(queue[: max(0, len(queue) - self.k)])

    def takes(self, cut: Cut, *, remaining_steps: float) -> bool:
        """Whether a list that is due goes."""
        return self.policy == "stack" or pays(cut, remaining_steps=remaining_steps)


def pays(cut: Cut, *, remaining_steps: float) -> bool:
    """Whether a cut saves more than it costs: `tokens × remaining_steps > tail`, in tokens read.

    Every later step would read the cut tokens once more; the tail behind them is encoded again, once, because it moves.
    """
    return cut.tokens * remaining_steps > cut.tail


def expected_steps(outline: Outline) -> float:
    """How many more times the live memory will be read, as far as the tree tells.

    Certain are the conclusions of the tasks that are open, and the answer. Of the rest nothing is known but how far the
    tree has come; at a random moment of its life as many tasks lie ahead as behind.
    """
    open_tasks = 0 if outline.open_path is None else outline.nodes[outline.open_path].depth
    return float(len(outline.nodes) + open_tasks + 1)


@dataclass(slots=True)
class PruneStack:
    """The lists that are finished and still live, by owner, oldest first, and the rule by which they go.

    `told_steps`: how many more times the live memory will be read, where the caller knows better than the tree does.
    """

    rule: PruneRule
    outline: Outline
    memory: WorkingMemory
    told_steps: float | None = None
    waiting: list[str] = field(default_factory=list)

    @property
    def remaining_steps(self) -> float:
        """The estimate that the cost rule uses."""
        return expected_steps(self.outline) if self.told_steps is None else self.told_steps

    def push(self, owners: Sequence[str]) -> tuple[Cut, ...]:
        """Let lists wait behind the others, and prune those that are due."""
        if not self.rule.prune:
            return ()
        self.waiting += owners
        cuts: list[Cut] = []
        for owner in self.rule.due(self.waiting):
            if self._goes(owner):
                cuts += self._prune(owner, self.rule.policy)
        return tuple(cuts)

    def prune_all(self, why: str) -> tuple[Cut, ...]:
        """Prune all that wait, oldest first."""
        return tuple(cut for owner in tuple(self.waiting) for cut in self._prune(owner, why))

    def _goes(self, owner: str) -> bool:
        ids = self._interior(owner)
        return not ids or self.rule.takes(self.memory.weigh(ids, why=""), remaining_steps=self.remaining_steps)

    def _prune(self, owner: str, why: str) -> tuple[Cut, ...]:
        """Empty one list. Lists inside it that are still whole go with it and are not cut again."""
        ids = self._interior(owner)
        cuts = (self.memory.prune(ids, why=why),) if ids else ()
        node = self.outline.change(owner, list_pruned=True, pruned_tokens=sum(cut.tokens for cut in cuts))
        for below in tuple(walk(self.outline.nodes, node.children)):
            if below.has_list and not below.list_pruned:
                self.outline.change(below.path, list_pruned=True)
        self.waiting = [other for other in self.waiting if other != owner and not inside(other, owner)]
        return cuts

    def _interior(self, owner: str) -> list[str]:
        return [record.id for record in self.memory.live.values() if inside(record.owner, owner)]
