"""Which node comes next (acceptance check B), and when a node takes no more children."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from search.base import Expansion
from search.events import BackedUp, Created, Selected
from search.profile import EVIDENCE, PUBLISHED, ROBUST, Profile
from search.selection import pick, puct, selectable, thompson, ucb
from search.tree import Tree
from tests.search.scripted import without_search

WORKED = [(None, 0.0, 0.0), (0, 7.0, 6.0), (1, 5.0, 8.0), (0, 9.0, 6.0)]
A, B, C, D = range(4)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picked(tree: Tree) -> int:
    found = pick(tree, rng())
    assert found is not None
    return found.id


def repeat(tree: Tree, parent: int, times: int) -> None:
    """Duplicates of `parent`."""
    for _ in range(times):
        number, how = len(tree), Expansion("child", parent)
        tree.apply(Selected(tree.iteration + 1, parent, how, 0.0))
        text, depth = tree.nodes[parent].answer, tree.nodes[parent].depth + 1
        tree.apply(Created(tree.iteration + 1, number, parent, depth, text, None, None, "duplicate", how, {}))
        tree.apply(BackedUp(tree.iteration + 1, number))


def test_published_scores_are_those_of_the_sheet() -> None:
    after_b = without_search(PUBLISHED, WORKED[:2])
    assert ucb(after_b).tolist() == pytest.approx([10.6887, 10.8966], abs=1e-4)
    assert picked(after_b) == B
    after_c = without_search(PUBLISHED, WORKED[:3])
    assert ucb(after_c).tolist() == pytest.approx([10.9145, 9.9283, 1.2130], abs=1e-4)
    assert picked(after_c) == A


def test_robust_scores_use_the_visits_below() -> None:
    tree = without_search(ROBUST, WORKED)
    assert [node.visits for node in tree.nodes] == [4, 2, 1, 1]
    bonus = [sqrt(log(4) / 4), sqrt(log(5) / 2), sqrt(log(3)), sqrt(log(5))]
    wanted = [node.value + 1.4 * extra for node, extra in zip(tree.nodes, bonus, strict=True)]
    assert ucb(tree).tolist() == pytest.approx(wanted, abs=1e-4)


def test_published_visits_stay_one() -> None:
    assert [node.visits for node in without_search(PUBLISHED, WORKED).nodes] == [1, 1, 1, 1]


@pytest.mark.parametrize("profile", [PUBLISHED, ROBUST])
def test_the_root_of_the_worked_tree_is_closed(profile: Profile) -> None:
    """In `published` because it has two children, in `robust` because one of the two is worth more."""
    assert selectable(without_search(profile, WORKED)).tolist() == [False, True, True, True]
    assert selectable(without_search(profile, WORKED[:3])).tolist() == [True, True, True]


def test_a_node_better_than_its_children_stays_open_in_robust_until_twice_the_limit() -> None:
    lost = [(None, 0.0, 0.0), *[(0, 2.0, 9.0)] * 4]
    assert selectable(without_search(ROBUST, lost[:4]))[A]
    assert not selectable(without_search(PUBLISHED, lost[:3]))[A]
    assert not selectable(without_search(ROBUST, lost))[A]


def test_a_duplicate_raises_the_limit_everywhere_in_published_and_of_its_parent_in_robust() -> None:
    won_twice = [(None, 0.0, 0.0), (0, 9.0, 2.0), (0, 9.0, 2.0), (1, 9.0, 2.0)]
    published, robust = without_search(PUBLISHED, won_twice), without_search(ROBUST, won_twice)
    for tree in (published, robust):
        assert selectable(tree).tolist() == [False, True, True, True]
        repeat(tree, B, 1)
    assert selectable(published).tolist() == [True, True, True, True, False]
    assert selectable(robust).tolist() == [False, True, True, True, False]


def test_a_generator_that_repeats_itself_is_left_in_the_end() -> None:
    tree = without_search(ROBUST, WORKED[:1])
    repeat(tree, A, 3)
    assert selectable(tree).tolist() == [True, False, False, False]
    repeat(tree, A, 1)
    assert pick(tree, rng()) is None


def test_equal_scores_go_to_the_smallest_id() -> None:
    tree = without_search(replace(ROBUST, c=0.0), [(None, 0.0, 0.0), (None, 0.0, 0.0), (None, 0.0, 0.0)])
    tree.standing.value[:] = 1.0
    assert pick(tree, rng()) == (0, 1.0)


def test_puct_prefers_what_beat_its_parent_and_was_visited_less() -> None:
    tree = without_search(replace(ROBUST, selection="puct"), WORKED)
    prior, below = [node.q_local for node in tree.nodes], [3, 4, 2, 4]
    wanted = [node.value + 1.4 * prior[node.id] * sqrt(below[node.id] + 1) / (1 + node.visits) for node in tree.nodes]
    assert puct(tree).tolist() == pytest.approx(wanted)
    assert picked(tree) == D


def test_thompson_draws_each_node_as_often_as_it_may_be_the_best() -> None:
    tree = without_search(replace(EVIDENCE, expansions=("child",)), WORKED)
    picked = [pick(tree, rng(seed)) for seed in range(2000)]
    share = np.bincount([found.id for found in picked if found], minlength=4) / 2000
    drawn = tree.posterior().draws(20000, rng(1)).argmax(axis=1)
    assert share.tolist() == pytest.approx((np.bincount(drawn, minlength=4) / 20000).tolist(), abs=0.04)
    assert thompson(tree, rng(3)).tolist() == thompson(tree, rng(3)).tolist()
