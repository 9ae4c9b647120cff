"""Which answer a search ends with, by each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from search.base import Made
from search.final import choose, weights
from search.profile import EVIDENCE, ROBUST
from search.tree import Tree
from tests.search.scripted import MadeUp, Written, searched, without_search

VOTE, MASS = replace(ROBUST, final="vote"), replace(EVIDENCE, stop_at=None)
# Each beat the root, by less and less.
SPLIT = [(None, 0.0, 0.0), (0, 8.0, 6.0), (0, 7.0, 6.0), (0, 6.5, 6.0)]


def test_fused_uses_the_ranks_and_q_the_propagated_value() -> None:
    tree = without_search(ROBUST, SPLIT)
    assert choose(tree).best == 1
    tree.standing.value[2] = 2.0
    assert choose(tree).best == 1
    tree.profile = replace(ROBUST, final="q")
    assert choose(tree).best == 2


def test_vote_gives_the_best_node_of_the_answer_with_the_highest_sum() -> None:
    tree = without_search(VOTE, SPLIT, finals=["x", "y", "x", "x"])
    fused = {node.id: 0.9 * node.q_global + 0.1 * node.q_local for node in tree.nodes}
    assert max(fused, key=lambda number: fused[number]) == 1
    three, one = fused[0] + fused[2] + fused[3], fused[1]
    assert three > one
    choice = choose(tree)
    assert choice.best == max((0, 2, 3), key=lambda number: fused[number])
    assert choice.masses == pytest.approx({"x": three / (three + one), "y": one / (three + one)})
    assert choice.ranking[-1][0] == choice.worst == 1


def test_an_answer_without_a_canonical_form_has_no_vote() -> None:
    tree = without_search(VOTE, SPLIT, finals=["x", "y", "y", "z"])
    tree.nodes[1].final = None
    assert choose(tree).best == 2
    for node in tree.nodes:
        node.final = None
    assert choose(tree).best == 1
    assert choose(tree).masses == {}


def test_mass_weighs_strength_against_number() -> None:
    close = [(None, 0.0, 0.0), (0, 6.5, 6.0), (0, 5.5, 6.0), (0, 5.5, 6.0)]
    finals = ["x", "y", "x", "x"]
    assert choose(without_search(MASS, close, finals=finals)).best == 0
    clear = [(None, 0.0, 0.0), (0, 10.0, 2.0), (1, 2.0, 10.0), (1, 2.0, 10.0)]
    assert choose(without_search(replace(MASS, temper=4.0), clear, finals=finals)).best == 1
    # Without any weight on strength it is a plain majority.
    assert choose(without_search(replace(MASS, temper=0.0), clear, finals=finals)).masses == {"x": 0.75, "y": 0.25}


def test_among_nodes_that_say_the_same_or_say_nothing_the_strongest_is_the_answer() -> None:
    line = [(None, 0.0, 0.0), (0, 8.0, 6.0), (1, 8.0, 6.0), (1, 5.0, 6.0)]
    for finals in (["x"] * 4, []):
        tree = without_search(MASS, line, finals=finals)
        means = tree.posterior().mean
        assert [number for number, _ in choose(tree).ranking] == sorted(range(4), key=lambda number: -means[number])


@given(st.integers(0, 10**6), st.booleans())
def test_the_shares_of_all_nodes_sum_to_one(seed: int, objective: bool) -> None:
    tree, _ = searched(MadeUp(seed, judging_fails=0.2, objective=objective), MASS, 6, seed=seed)
    assert sum(weights(tree).values()) == pytest.approx(1.0)
    assert sum(choose(tree).masses.values()) == pytest.approx(1.0)


def test_a_higher_objective_is_the_answer_however_many_say_otherwise() -> None:
    made = [Made("b", "y", 0.75), *(Made(f"c{i}", "x", 0.25) for i in range(4))]
    scores = {(child, other): (10.0, 1.0) for child in range(2, 6) for other in range(child)} | {(1, 0): (1.0, 10.0)}

    class Failing(Written):
        async def root(self) -> Made:
            return Made("root", "x", 0.25)

    tree, _ = searched(Failing(made, scores), MASS, 5)
    assert choose(tree).best == 1
    assert choose(tree).masses["y"] == pytest.approx(1.0)


def test_ties_go_to_the_smallest_id() -> None:
    tree = without_search(replace(ROBUST, final="q"), SPLIT)
    tree.standing.value[:] = 1.0
    assert [number for number, _ in choose(tree).ranking] == [0, 1, 2, 3]


def test_an_empty_tree_has_no_answer() -> None:
    with pytest.raises(InvalidInput, match="no answer yet"):
        choose(Tree(ROBUST))
