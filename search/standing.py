"""The numbers of a tree, one column each: what follows from its nodes and judgements under the rules of its profile.

`Tree` owns the facts and asks for three things: `add` a node, take in what was `judged`, `back_up` at the end of a
rollout. Everything is done on whole columns, so that a rollout in a tree of 10,000 nodes costs little more than one in
a small tree. Answers that were not judged (`judge_failed`) are ranked last, and give nothing to their parents; failed
and duplicate ones have no value. Source: empirical_mcts §3.3, §3.6; the `posterior` rule is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search import backup
from search.base import Status
from search.bradley_terry import Match, Posterior, fit, sigmoid_of
from search.events import Comparison
from search.profile import Profile
from search.ranking import Borda, Judged

COLUMNS: Final = {
    "parent": np.int64,
    "q_local": np.float64,
    "q_global": np.float64,
    "value": np.float64,
    "visits": np.int64,
    "objective": np.float64,
    "ok": np.bool_,
    "expandable": np.bool_,
    "children": np.int64,
    "spare": np.int64,
    "judged_children": np.int64,
}

# Rules that work everything out from nodes and judgements; the others add to what stood before.
FROM_FACTS: Final = frozenset({"robust", "posterior"})


class Standing:
    """Columns over all nodes by id. `objective` is NaN where there is none; `children` counts all but failed ones,
    `spare` is by how much duplicates raised the limit, `judged_children` counts those that are ok."""

    parent: NDArray[np.int64]
    q_local: NDArray[np.float64]
    q_global: NDArray[np.float64]
    value: NDArray[np.float64]
    visits: NDArray[np.int64]
    objective: NDArray[np.float64]
    ok: NDArray[np.bool_]
    expandable: NDArray[np.bool_]
    children: NDArray[np.int64]
    spare: NDArray[np.int64]
    judged_children: NDArray[np.int64]

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.size = 0
        self._store: dict[str, NDArray[np.generic]] = {name: np.zeros(64, kind) for name, kind in COLUMNS.items()}
        self._edges = np.zeros((3, 64), np.int64)
        self._edge_count = 0
        self._parents: list[int | None] = []
        self._number: dict[int, int] = {}
        self._ids = np.zeros(64, np.int64)
        self._borda = Borda(profile.ties)
        self._matches: list[Match] = []
        self._posterior: Posterior | None = None
        self._once = False
        self._due: int | None = None
        self._show()

    def _show(self) -> None:
        """Make the attributes views of the part of each column that is in use."""
        for name, column in self._store.items():
            setattr(self, name, column[: self.size])

    @property
    def judged_edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ok nodes that have a parent, and their parents."""
        children, parents, _ = self._edges[:, : self._edge_count]
        return children, parents

    @property
    def ok_ids(self) -> NDArray[np.int64]:
        """The ids of the ok nodes, ascending."""
        return self._ids[: len(self._number)]

    def add(self, parent: int | None, status: Status, q_local: float, objective: float | None) -> None:
        """The next node. Its values stand after `back_up`."""
        if self.size == len(self._store["parent"]):
            self._store = {name: np.pad(column, (0, self.size)) for name, column in self._store.items()}
            self._edges = np.pad(self._edges, ((0, 0), (0, self._edges.shape[1])))
            self._ids = np.pad(self._ids, (0, len(self._ids)))
        new, self.size = self.size, self.size + 1
        self._show()
        self._parents.append(parent)
        self.parent[new] = -1 if parent is None else parent
        self.q_local[new] = q_local
        self.visits[new] = 1
        self.objective[new] = np.nan if objective is None else objective
        self.ok[new] = status == "ok"
        self.expandable[new] = status in ("ok", "judge_failed")
        if parent is not None and status != "gen_failed":
            self.children[parent] += 1
            self.spare[parent] += status == "duplicate"
        if status == "ok":
            self._add_ok(new, parent, q_local)

    def _add_ok(self, new: int, parent: int | None, q_local: float) -> None:
        self._ids[len(self._number)] = new
        self._number[new] = len(self._number)
        self._posterior = None
        if self.profile.ranking == "borda":
            self._borda.add(q_local)
        if parent is not None:
            self._edges[:, self._edge_count] = new, parent, self.judged_children[parent]
            self._edge_count += 1
            self.judged_children[parent] += 1
        if self.profile.visits == "descendants":
            self.visits[self._above(new)] += 1

    def _above(self, node: int) -> list[int]:
        """The ids of the ancestors, nearest first."""
        ids: list[int] = []
        above = self._parents[node]
        while above is not None:
            ids.append(above)
            above = self._parents[above]
        return ids

    def judged(self, said: Sequence[Comparison]) -> None:
        """Take in judgements of nodes that were added. A judged node is ok, its opponent too or it could not be
        ranked."""
        told = [one for one in said if one.child in self._number and one.opponent in self._number]
        if self.profile.ranking == "borda":
            number = self._number
            self._borda.judge(Judged(number[c.child], number[c.opponent], c.s_child, c.s_opponent) for c in told)
        self._matches += [self._match(one, self._number[one.child], self.objective[one.child]) for one in told]
        self._posterior = None

    def _match(self, said: Comparison, child: int, objective: float) -> Match:
        opponent, known = self._number[said.opponent], objective - self.objective[said.opponent]
        if known > 0 or known < 0:
            # Code decided this one; no place in a prompt can have pulled it.
            return Match(child, opponent, float(known > 0), 0)
        first = 0 if said.swapped is None else 1 if said.swapped else -1
        return Match(child, opponent, sigmoid_of(said.s_child - said.s_opponent), first)

    def posterior(self) -> Posterior:
        """See `Tree.posterior`."""
        if self._posterior is None:
            self._posterior = self._fit(len(self._number), self._matches)
        return self._posterior

    def chance(self, said: Sequence[Comparison], objective: float | None, opponent: int) -> float:
        """The probability that a node that is not in the tree yet, judged like that so far, is stronger than an ok
        node."""
        new, known = len(self._number), np.nan if objective is None else objective
        matches = [self._match(one, new, known) for one in said if one.opponent in self._number]
        return self._fit(new + 1, self._matches + matches).chance(new, self._number[opponent])

    def _fit(self, count: int, matches: Sequence[Match]) -> Posterior:
        return fit(count, matches, prior_sd=self.profile.prior_sd, bias_sd=self.profile.bias_sd)

    def fresh(self) -> NDArray[np.float64]:
        """The fused value V of every node from its present rank, nothing propagated."""
        rules = self.profile
        return np.asarray(rules.z * (rules.alpha * self.q_global + (1.0 - rules.alpha) * self.q_local))

    @contextmanager
    def catching_up(self) -> Iterator[None]:
        """Within it nobody reads ranks or values, so they are worked out once, at its end, where history does not matter."""
        self._once = self.profile.backup in FROM_FACTS
        yield
        self._once = False
        if self._due is not None:
            self.back_up(self._due)

    def back_up(self, new: int) -> None:
        """Bring ranks and values up to date after node `new` was added and judged."""
        if self._once:
            self._due = new
            return
        self._due = None
        rules = self.profile
        if rules.ranking == "borda":
            self.q_global[self.ok_ids] = self._borda.q_global()
        else:
            self.q_global[self.ok_ids] = self.posterior().win_rate()
        fresh = self.fresh()
        fresh[~self.expandable] = 0.0
        children, parents, nth = self._edges[:, : self._edge_count]
        match rules.backup:
            case "robust":
                later = self.judged_children[parents] - 1 - nth
                self.value[:] = backup.whole(fresh, children, parents, later, rules.gamma)
            case "published":
                self.value[new] = fresh[new]
                if self.ok[new]:
                    self.value[:] = backup.whole(self.value, children, parents, nth, rules.gamma)
            case "path":
                self.value[new] = fresh[new]
                if self.ok[new]:
                    backup.path(self.value, [new, *self._above(new)], rules.gamma)
            case "posterior":
                known = ~np.isnan(self.objective)
                self.value[:] = np.where(known, self.objective, self.q_global) * rules.z

    def restore(self, values: Sequence[float], q_global: Sequence[float], visits: Sequence[int]) -> None:
        """Put back the columns that depend on history as they were saved."""
        self.value[:], self.q_global[:], self.visits[:] = values, q_global, visits
