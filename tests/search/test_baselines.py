"""Best of n, and beam search, by the same signature."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from search.base import Evaluation
from search.beam import beam
from search.best_of_n import best_of_n
from search.events import Stopped
from search.final import choose
from search.profile import ROBUST
from search.tree import Node, Tree
from tests.search.scripted import MadeUp, searched


class ById(MadeUp):
    """What was made third is the best, then later before earlier."""

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        return Evaluation(_worth(child.id), _worth(opponent.id))


def _worth(number: int) -> float:
    return 10.0 if number == 3 else 1.0 + number / 2


def test_best_of_n_makes_independent_answers_and_judges_each_beside_the_best_so_far() -> None:
    tree, _ = searched(ById(1), ROBUST, 7, search=best_of_n)
    assert {(node.parent, node.depth, node.how.kind) for node in tree.nodes} == {(None, 0, "fresh")}
    assert [said.opponent for said in tree.comparisons] == [0, 1, 2, 3, 3, 3, 3]
    assert choose(tree).best == 3
    assert tree.stopped == Stopped("rollouts")


def test_beam_expands_the_best_of_a_layer_and_no_others() -> None:
    tree, _ = searched(ById(1), ROBUST, 14, search=partial(beam, width=2))
    assert [node.parent for node in tree.nodes[1:]] == [0, 0, 2, 2, 1, 1, 3, 3, 6, 6, 10, 10, 9, 9]
    assert choose(tree).best == 3
    assert all(len(node.children) <= ROBUST.k for node in tree.nodes)


def test_beam_takes_as_many_of_a_layer_as_it_is_wide_and_as_many_children_as_k() -> None:
    tree, _ = searched(ById(1), replace(ROBUST, k=3), 12, search=partial(beam, width=1))
    assert [len(node.children) for node in tree.nodes if node.children] == [3] * 4
    assert [node.depth for node in tree.nodes] == [0, *[1] * 3, *[2] * 3, *[3] * 3, *[4] * 3]


def test_beam_ends_where_a_layer_is_empty() -> None:
    tree, _ = searched(MadeUp(1, generation_fails=1.0), ROBUST, 9, search=beam)
    assert tree.stopped == Stopped("exhausted")
    assert (tree.iteration, choose(tree).best) == (2, 0)
