"""The tree of a search: facts as plain values, and what follows from them worked out as each rollout ends.

Facts are the nodes and the comparisons; they come in as events, and nothing else changes a tree, so applying a log
again gives the same tree. Derived are ranks, values and visits (`Standing`): they are numbers in columns, read through
the properties of `Node`. Ids count up from 0 in order of creation and are the only identity of a node. The first answer
is node 0; a fresh start is another node without a parent. Source: empirical_mcts §2, §5; replay is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.errors import InvalidInput
from runtime.types import JsonObject
from search.base import Expansion, Status
from search.bradley_terry import Posterior
from search.events import BackedUp, Comparison, Created, Scored, Selected, Stopped, TreeEvent
from search.profile import Profile
from search.standing import Standing


@dataclass(slots=True)
class Node:
    """One answer. `data` belongs to the problem. `q_local` is 0.5 until a judgement; the other numbers are those of the
    tree."""

    id: int
    parent: int | None
    depth: int
    answer: str
    final: str | None
    objective: float | None
    status: Status
    how: Expansion
    data: JsonObject
    q_local: float = 0.5
    children: list[int] = field(default_factory=list)
    _standing: Standing | None = field(default=None, repr=False, compare=False)

    @property
    def q_global(self) -> float:
        """0 to 1: its rank among the answers, or with `bradley_terry` the probability of beating an average one."""
        return 0.0 if self._standing is None else float(self._standing.q_global[self.id])

    @property
    def value(self) -> float:
        """Propagated Q, on the scale `z` of the profile; 0.0 before the rollout is complete."""
        return 0.0 if self._standing is None else float(self._standing.value[self.id])

    @property
    def visits(self) -> int:
        """1 and the number of judged descendants, or 1 for ever with `frozen` visits."""
        return 1 if self._standing is None else int(self._standing.visits[self.id])


class Tree:
    """The nodes, comparisons and completed rollouts of one search under one profile.

    `pending` is the node of the rollout under way, not yet in `nodes`; its id is `len(nodes)`. `stopped` is the last
    end.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.nodes: list[Node] = []
        self.comparisons: list[Comparison] = []
        self.iteration = 0
        self.pending: Node | None = None
        self.stopped: Stopped | None = None
        self.standing = Standing(profile)
        self._said: list[Comparison] = []

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def root(self) -> Node:
        """The first answer; raises `InvalidInput` on an empty tree."""
        return self.node(0)

    def node(self, number: int) -> Node:
        """The node of that id, the pending one too; raises `InvalidInput` when there is none."""
        if 0 <= number < len(self.nodes):
            return self.nodes[number]
        if self.pending is not None and self.pending.id == number:
            return self.pending
        raise InvalidInput(f"node {number!r} does not exist; the tree has {len(self.nodes)}", param="id")

    def path(self, number: int) -> list[int]:
        """The ids from that node up to the one without a parent, both included."""
        ids = [number]
        while (above := self.node(ids[-1]).parent) is not None:
            ids.append(above)
        return ids

    def ok(self) -> list[Node]:
        """The nodes that take part in the ranking: those that were judged or needed no judge."""
        return [node for node in self.nodes if node.status == "ok"]

    @property
    def relations(self) -> frozenset[tuple[int, int]]:
        """The pairs (winner, loser) in force: the last judgement of a pair counts, a tie gives none."""
        last = {frozenset((said.child, said.opponent)): said for said in self.comparisons}
        return frozenset(
            (said.child, said.opponent) if said.s_child > said.s_opponent else (said.opponent, said.child)
            for said in last.values()
            if said.s_child != said.s_opponent
        )

    def posterior(self) -> Posterior:
        """The strength of every ok node given all comparisons; row `i` is the i-th of `ok()`. Worked out once per
        rollout."""
        return self.standing.posterior()

    def chance(self, opponent: int) -> float:
        """The probability that the pending node, judged as it was so far, is stronger than that ok node."""
        assert self.pending is not None, "no rollout is under way"
        return self.standing.chance(self._said, self.pending.objective, opponent)

    def apply(self, event: TreeEvent) -> None:
        """Let one event happen. Raises `InvalidInput` when it cannot follow the ones before it."""
        match event:
            case Selected():
                self._expect(event.iteration == self.iteration + 1, event)
                self.pending, self._said, self.stopped = None, [], None
            case Created():
                wanted = 0 if not self.nodes else self.iteration + 1
                self._expect(event.iteration == wanted and event.id == len(self.nodes), event)
                self.pending, self._said = _node(event), []
            case Scored():
                self._expect(self.pending is not None and event.id == self.pending.id, event)
                self._scored(event)
            case BackedUp():
                self._expect(self.pending is not None and event.id == self.pending.id, event)
                self._commit(event)
            case Stopped():
                self.pending, self._said, self.stopped = None, [], event

    def _expect(self, fits: object, event: TreeEvent) -> None:
        if not fits:
            raise InvalidInput(
                f"{event!r} cannot follow: {len(self.nodes)} nodes, {self.iteration} complete rollouts; "
                "apply the events of one log from its start, in order"
            )

    def _scored(self, event: Scored) -> None:
        assert self.pending is not None
        self.pending.q_local = event.q_local
        self.pending.status = event.status
        self.pending.data = {**self.pending.data, **event.update}
        if event.comparison is not None:
            self._said.append(event.comparison)

    def _commit(self, event: BackedUp) -> None:
        assert self.pending is not None
        node, said = self.pending, self._said
        self.pending, self._said = None, []
        self.iteration = event.iteration
        self._add(node)
        self.comparisons += said
        self.standing.judged(said)
        self.standing.back_up(node.id)

    def _add(self, node: Node) -> None:
        self.nodes.append(node)
        if node.parent is not None:
            self.nodes[node.parent].children.append(node.id)
        self.standing.add(node.parent, node.status, node.q_local, node.objective)
        node._standing = self.standing

    def to_json(self) -> JsonObject:
        """Everything that is needed to go on, as JSON; a rollout under way is left out."""
        return {
            "profile": self.profile.to_json(),
            "iteration": self.iteration,
            "nodes": [node_to_json(node) for node in self.nodes],
            "comparisons": [asdict(said) for said in self.comparisons],
            "stopped": None if self.stopped is None else asdict(self.stopped),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tree:
        """Read what `to_json` wrote; the tree then behaves as the one that wrote it."""
        tree = cls(Profile.from_json(data["profile"]))
        for told in data["nodes"]:
            how = Expansion(**{**told["how"], "lessons": tuple(told["how"]["lessons"])})
            fields = ("id", "parent", "depth", "answer", "final", "objective", "status", "data", "q_local")
            tree._add(Node(how=how, **{name: told[name] for name in fields}))
        tree.comparisons = [Comparison(**told) for told in data["comparisons"]]
        tree.iteration = data["iteration"]
        tree.stopped = None if data["stopped"] is None else Stopped(**data["stopped"])
        tree.standing.judged(tree.comparisons)
        tree.standing.restore(
            [told["value"] for told in data["nodes"]],
            [told["q_global"] for told in data["nodes"]],
            [told["visits"] for told in data["nodes"]],
        )
        return tree


def replay(profile: Profile, events: Iterable[TreeEvent]) -> Tree:
    """The tree that these events made."""
    tree = Tree(profile)
    with tree.standing.catching_up():
        for event in events:
            tree.apply(event)
    return tree


def node_to_json(node: Node) -> JsonObject:
    """One node with its numbers, fields named as in the sheet."""
    return {
        "id": node.id,
        "parent": node.parent,
        "depth": node.depth,
        "children": [*node.children],
        "answer": node.answer,
        "final": node.final,
        "objective": node.objective,
        "status": node.status,
        "how": {**asdict(node.how), "lessons": [*node.how.lessons]},
        "data": node.data,
        "q_local": node.q_local,
        "q_global": node.q_global,
        "value": node.value,
        "visits": node.visits,
    }


def _node(event: Created) -> Node:
    return Node(
        event.id,
        event.parent,
        event.depth,
        event.answer,
        event.final,
        event.objective,
        event.status,
        event.how,
        dict(event.data),
    )
