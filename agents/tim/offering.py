"""What may be done at a place of the tree: tools that are left, whether it may go deeper, whether its list may go on.

The limits of the run, the guards and the kinds of a typed tree meet here and nowhere else. Source: tim §2.1, §3.5, §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.tim.config import TimConfig
from agents.tim.parallel import Branch
from agents.tim.recalling import RECALL, RECALL_SPEC, offered
from agents.tim.schemas import Can
from agents.tim.typed import TypedTree
from runtime.types import ToolSpec


class Places:
    """The rules of one run. `specs`: the tools of the run, `recall` among them where anything can be taken out."""

    def __init__(self, config: TimConfig, specs: Sequence[ToolSpec]) -> None:
        others = tuple(spec for spec in specs if spec.name != RECALL)
        self.specs = (*others, RECALL_SPEC) if config.prune else others
        self._config = config
        self._typed = None if config.tree is None else TypedTree.parse(config.tree)
        self._kinds: dict[str, str] = {}
        if self._typed is not None:
            self._typed.check_tools([spec.name for spec in self.specs])

    def opening(self, branch: Branch, path: str, *, alone: bool, ending: bool) -> list[Can]:
        """For a task that is about to be opened: one for each kind that it may have. `alone`: it stands beside others in
        a branch of its own. `ending`: nothing but a conclusion may be asked for."""
        if self._typed is None:
            return [self.can(branch, path, "", alone=alone, ending=ending)]
        owner, number = _split(path)
        kinds = self._typed.next_kinds(self._kinds.get(owner), number - 1)
        return [self.can(branch, path, kind, alone=alone, ending=ending) for kind in kinds]

    def can(self, branch: Branch, path: str, kind: str, *, alone: bool, ending: bool, called: bool = False) -> Can:
        """For a task of that kind ("" in a free tree). `called`: its tool has answered."""
        owner, number = _split(path)
        tools = self._live(branch)
        descend = self._config.max_children if path.count(".") + 1 < self._config.max_depth else 0
        can = Can(tools, descend, more=self._more(owner, number, alone=alone), kind=kind)
        if self._typed is not None and kind:
            allowed = self._typed.tools_of(kind)
            deeper = self._typed.descends(kind) and path.count(".") + 1 < (
                self._typed.max_depth or self._config.max_depth
            )
            shape = self._typed.kinds[kind].subtasks
            at_once = 1 if shape is None or shape.order is not None else descend
            own = tuple(tool for tool in tools if tool.name in allowed)
            calls = bool(own) and self._typed.kinds[kind].must_call and not called
            can = replace(
                can,
                tools=own,
                descend=min(descend, at_once) if deeper and not calls else 0,
                conclude=not (deeper and descend) and not calls,
                conclusion_schema=self._typed.conclusion_schema(kind),
            )
        if ending:
            return can.concluding()
        return self._soon(can, owner, number) if branch.ending == owner else can

    def after_tool(self, branch: Branch, path: str, *, alone: bool, ending: bool) -> Can:
        """For a task whose tool has answered."""
        kind = self._kinds.get(path, "")
        return replace(self.can(branch, path, kind, alone=alone, ending=ending, called=True), tools=())

    def after_list(self, branch: Branch, path: str, *, alone: bool, ending: bool) -> Can:
        """For a task whose list is finished."""
        can = self.can(branch, path, self._kinds.get(path, ""), alone=alone, ending=ending)
        return replace(can, tools=(), descend=0, conclude=True)

    def hint(self, kind: str) -> str:
        """What the caller says about tasks of a kind; empty in a free tree."""
        return self._typed.hint_of(kind) if self._typed is not None and kind else ""

    def named(self, path: str, kind: str, title: str) -> str:
        """The title of a task that was opened; in a typed tree it begins with its kind, which is kept for what follows."""
        if self._typed is None:
            return title
        self._kinds[path] = kind
        return title if title == kind or title.startswith(f"{kind}:") else f"{kind}: {title}" if title else kind

    def _soon(self, can: Can, owner: str, number: int) -> Can:
        """The same in a list that is to end. Of a typed tree the shape holds: a tuple is completed, for it has an end of its
        own, and what a kind must do it does."""
        if self._typed is None or not can.kind:
            return can.concluding()
        more = False if self._typed.may_close(self._kinds.get(owner), number) else can.more
        return replace(can if not can.conclude else can.concluding(), more=more)

    def _live(self, branch: Branch) -> tuple[ToolSpec, ...]:
        """The tools that may be called now; `recall` names the paths that there is something at."""
        if branch.tools_left <= 0:
            return ()
        paths = branch.tree.recallable
        return tuple(
            offered(paths) if spec.name == RECALL else spec for spec in self.specs if spec.name != RECALL or paths
        )

    def _more(self, owner: str, number: int, *, alone: bool) -> bool | None:
        cap = self._config.max_children if owner else self._config.max_plan
        kind = self._kinds.get(owner)
        if alone:
            return False
        if self._typed is None:
            return False if number >= cap else None
        if self._typed.must_close(kind, number):
            return False
        if not self._typed.may_close(kind, number):
            return True
        return False if number >= cap else None


def _split(path: str) -> tuple[str, int]:
    """Owner of the list ("" for the top one) and the number in it, from 1."""
    owner, _, number = path.rpartition(".")
    return owner, int(number)
