"""The outline of a thread tree: which tasks there are, which one is open, and what may follow. No words, no tokens.

A task is open from `add` to `close`; while its list is open, it waits for the tasks in it. The path of a task is its
parent's path and its number there ("1.2"); the top list belongs to no task. An outline may be a branch: a copy in which
one more task of a list was opened, and in which only that task can be changed. Source: tim §2.2; branches are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, Unpack

from runtime.errors import Conflict, UnknownName

NodeState = Literal["open", "tool_wait", "in_subtasks", "closed"]


@dataclass(frozen=True, slots=True)
class Node:
    """One task. `depth` is 1 at the top. `list_pruned`: the interior of its list left the live memory, by itself
    (`pruned_tokens` > 0) or with a list around it. `recalled`: how often this was read from the archive, forks apart."""

    path: str
    depth: int
    state: NodeState = "open"
    title: str | None = None
    tool: str | None = None
    children: tuple[str, ...] = ()
    has_list: bool = False
    list_closed: bool = False
    list_pruned: bool = False
    pruned_tokens: int = 0
    recalled: int = 0

    @property
    def parent(self) -> str | None:
        """The owner of the list that it stands in; None at the top."""
        return self.path.rpartition(".")[0] or None


class Changes(TypedDict, total=False):
    """What of a node can change."""

    state: NodeState
    title: str
    tool: str
    children: tuple[str, ...]
    has_list: bool
    list_closed: bool
    list_pruned: bool
    pruned_tokens: int
    recalled: int


def inside(owner: str, path: str) -> bool:
    """Whether the owner stands in the list of `path`, at any depth."""
    return owner.startswith(f"{path}.")


def walk(nodes: Mapping[str, Node], paths: Iterable[str]) -> Iterator[Node]:
    """The nodes at these paths and below, in the order of the document."""
    for path in paths:
        yield nodes[path]
        yield from walk(nodes, nodes[path].children)


@dataclass(slots=True)
class Outline:
    """`forked`: the paths of branches that are not taken over yet. `branch`: the task that this one is a branch for."""

    nodes: dict[str, Node] = field(default_factory=dict)
    top: tuple[str, ...] = ()
    open_path: str | None = None
    forked: tuple[str, ...] = ()
    branch: str | None = None

    def at(self, path: str) -> Node:
        """The node of a path. Raises `UnknownName`."""
        if path not in self.nodes:
            raise UnknownName(f"task {path!r}: expected one of the {len(self.nodes)} paths of the tree", param="path")
        return self.nodes[path]

    def opened(self, path: str) -> Node:
        """The node of the task that is written now. Raises `Conflict` when it is another one."""
        node = self.at(path)
        if path != self.open_path or node.state == "in_subtasks" or not self.owns(path):
            raise Conflict(f"task {path!r} is {node.state}: expected the task that is written now, {self.open_path!r}")
        return node

    def must_take_tasks(self, owner: str | None, *, beside_forks: bool = False) -> None:
        """Raises `Conflict` unless the list of `owner` (None: the top list) is open and none of its tasks is."""
        name = "the top" if owner is None else f"task {self.at(owner).path!r}"
        filling = self.open_path is None or self.nodes[self.open_path].state == "in_subtasks"
        if owner != self.open_path or not filling or not self.owns(owner):
            raise Conflict(f"list of {name}: expected an open list whose tasks are closed; {self.open_path!r} is open")
        if self.forked and not beside_forks:
            raise Conflict(f"list of {name}: expected the forks {self.forked!r} to be joined before")

    def add(self, parent: str | None, *, nth: int = 1) -> str:
        """Open the nth of the tasks that are still to come in a list; returns its path."""
        siblings = self.top if parent is None else self.nodes[parent].children
        number = str(len(siblings) + nth)
        path = number if parent is None else f"{parent}.{number}"
        self._attach(Node(path, depth=path.count(".") + 1))
        self.open_path = path
        return path

    def hidden(self, path: str) -> bool:
        """Whether the task went with a list around it. Lists inside a pruned list are marked as pruned too."""
        above = self.nodes[path].parent
        return above is not None and self.nodes[above].list_pruned

    def close(self, path: str) -> None:
        """The open task is done; its parent waits for the next."""
        self.open_path = self.change(path, state="closed").parent

    def change(self, path: str, **changes: Unpack[Changes]) -> Node:
        """Give a node other facts; returns it."""
        self.nodes[path] = replace(self.nodes[path], **changes)
        return self.nodes[path]

    def fork(self, parent: str | None) -> Outline:
        """A branch in which the next task of a list is open; the first call gives the next number, and so on."""
        branch = Outline(dict(self.nodes), self.top, self.open_path)
        branch.branch = branch.add(parent, nth=1 + len(self.forked))
        self.forked += (branch.branch,)
        return branch

    def must_be_all(self, branches: Sequence[Outline]) -> None:
        """Raises `Conflict` unless these are all branches, in their order, with their tasks closed."""
        named = tuple(branch.branch for branch in branches)
        if named != self.forked or not named:
            raise Conflict(f"join of {named!r}: expected every fork once, in order: {self.forked!r}")
        for branch in branches:
            if branch.open_path != self.open_path or branch.forked:
                raise Conflict(f"join of {branch.branch!r}: expected it to be closed; {branch.open_path!r} is open")

    def take(self, branch: Outline) -> set[str]:
        """Take over the task of a branch and all below it; returns the paths."""
        own = {node.path: node for node in branch.nodes.values() if branch.owns(node.path)}
        self._attach(own[str(branch.branch)])
        self.nodes |= own
        self.forked = tuple(path for path in self.forked if path not in own)
        return set(own)

    def owns(self, path: str | None) -> bool:
        """Whether a task can be changed here: in a branch, the branch's task and those below it."""
        return self.branch is None or (path is not None and (path == self.branch or inside(path, self.branch)))

    def _attach(self, node: Node) -> None:
        self.nodes[node.path] = node
        if node.parent is None:
            self.top += (node.path,)
        else:
            self.change(node.parent, children=(*self.nodes[node.parent].children, node.path))
