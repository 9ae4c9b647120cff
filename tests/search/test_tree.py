"""The worked tree of the sheet (acceptance check A), replay, and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from search.base import Expansion
from search.beam import beam
from search.best_of_n import best_of_n
from search.events import BackedUp, Created, Scored, Selected, Stopped
from search.final import choose
from search.mcts import mcts
from search.profile import EVIDENCE, PROFILES, PUBLISHED, ROBUST, Profile
from search.tree import Tree, replay
from tests.search.scripted import MadeUp, Search, searched, without_search

PATH = replace(PUBLISHED, backup="path")
WORKED = [(None, 0.0, 0.0), (0, 7.0, 6.0), (1, 5.0, 8.0), (0, 9.0, 6.0)]
GLOBAL = [[1], [0, 1], [0.5, 1, 0], [1 / 3, 1, 0, 2 / 3]]
VALUES = {
    "path": [[9.5], [9.523106, 9.731059], [9.447065, 8.762695, 0.047426], [9.197616, 8.762695, 0.047426, 6.952574]],
    "published": [
        [9.5],
        [9.523106, 9.731059],
        [9.447065, 8.762695, 0.047426],
        [9.066971, 7.891168, 0.047426, 6.952574],
    ],
    "robust": [[0.95], [0.142311, 0.973106], [0.537627, 0.876270, 0.004743], [0.431890, 0.876270, 0.004743, 0.695257]],
}
profiles = st.sampled_from(
    [*PROFILES.values(), PATH, replace(ROBUST, selection="puct"), replace(ROBUST, selection="thompson")]
)
searches: st.SearchStrategy[Search] = st.sampled_from([mcts, best_of_n, beam])


@pytest.mark.parametrize("profile", [PATH, PUBLISHED, ROBUST], ids=lambda profile: profile.backup)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_worked_tree_has_the_values_of_the_sheet(profile: Profile, size: int) -> None:
    tree = without_search(profile, WORKED[:size])
    assert [node.q_local for node in tree.nodes] == pytest.approx([0.5, 0.731059, 0.047426, 0.952574][:size], abs=1e-6)
    assert [node.q_global for node in tree.nodes] == pytest.approx(GLOBAL[size - 1], abs=1e-6)
    assert [node.value for node in tree.nodes] == pytest.approx(VALUES[profile.backup][size - 1], abs=1e-6)


def test_the_worked_tree_ends_with_b() -> None:
    choice = choose(without_search(ROBUST, WORKED))
    assert [number for number, _ in choice.ranking] == [1, 3, 0, 2]
    assert [score for _, score in choice.ranking] == pytest.approx([0.973106, 0.695257, 0.35, 0.004743], abs=1e-6)
    assert (choice.best, choice.worst) == (1, 2)


def test_backing_up_twice_changes_nothing_in_robust_and_something_in_published() -> None:
    for profile, same in ((ROBUST, True), (PUBLISHED, False)):
        tree = without_search(profile, WORKED)
        before = [node.value for node in tree.nodes]
        tree.standing.back_up(3)
        assert ([node.value for node in tree.nodes] == before) is same


def test_relations_are_the_last_verdicts_without_ties() -> None:
    tree = without_search(ROBUST, [*WORKED, (3, 5.0, 5.0)])
    assert tree.relations == {(1, 0), (1, 2), (3, 0)}


@settings(max_examples=40, deadline=None)
@given(profiles, searches, st.integers(0, 10**6), st.integers(0, 12), st.booleans())
def test_applying_the_events_again_gives_the_same_tree(
    profile: Profile, search: Search, seed: int, rollouts: int, objective: bool
) -> None:
    problem = MadeUp(seed, generation_fails=0.1, judging_fails=0.2, repeats=0.1, objective=objective)
    tree, events = searched(problem, profile, rollouts, search=search, seed=seed)
    assert replay(tree.profile, events).to_json() == tree.to_json()


@settings(max_examples=40, deadline=None)
@given(profiles, st.integers(0, 10**6), st.integers(0, 10))
def test_a_tree_read_from_json_is_the_tree_and_goes_on_as_it_would(profile: Profile, seed: int, rollouts: int) -> None:
    def problem() -> MadeUp:
        return MadeUp(seed, generation_fails=0.1, judging_fails=0.2, repeats=0.1)

    tree, _ = searched(problem(), profile, rollouts, seed=seed)
    written = json.loads(json.dumps(tree.to_json(), allow_nan=False))
    read = Tree.from_json(written)
    assert read.to_json() == tree.to_json()
    _, rest = searched(problem(), profile, rollouts + 4, seed=seed, tree=read)
    whole, events = searched(problem(), profile, rollouts + 4, seed=seed)
    assert read.to_json() == whole.to_json()
    assert rest == events[len(events) - len(rest) :]


@settings(max_examples=30, deadline=None)
@given(profiles, st.integers(0, 10**6))
def test_a_repeated_robust_or_posterior_pass_changes_nothing(profile: Profile, seed: int) -> None:
    tree, _ = searched(MadeUp(seed, judging_fails=0.1), replace(profile, backup="robust"), 10, seed=seed)
    before = tree.to_json()
    for node in tree.nodes:
        tree.standing.back_up(node.id)
    assert tree.to_json() == before


def test_what_happens_inside_a_rollout_is_not_in_the_tree_before_its_end() -> None:
    tree = without_search(ROBUST, WORKED)
    before = tree.to_json()
    how = Expansion("child", 1)
    tree.apply(Selected(4, 1, how, 0.0))
    tree.apply(Created(4, 4, 1, 2, "new", None, None, "ok", how, {"a": 1}))
    tree.apply(Scored(4, 4, 1, None, 0.5, "judge_failed", {"b": 2}))
    assert tree.pending is not None
    assert tree.node(4) is tree.pending
    assert tree.pending.data == {"a": 1, "b": 2}
    assert tree.to_json() == before
    tree.apply(Stopped("budget", "calls"))
    assert tree.pending is None
    assert {**tree.to_json(), "stopped": None} == before


@pytest.mark.parametrize(
    "event",
    [
        Selected(6, 0, Expansion("child", 0), 0.0),
        Created(9, 4, 0, 1, "a", None, None, "ok", Expansion("child", 0), {}),
        Created(4, 2, 0, 1, "a", None, None, "ok", Expansion("child", 0), {}),
        Scored(4, 4, 0, None, 0.5, "ok"),
        BackedUp(4, 4),
    ],
    ids=repr,
)
def test_an_event_out_of_order_is_refused(event: Selected | Created | Scored | BackedUp) -> None:
    with pytest.raises(InvalidInput, match="cannot follow"):
        without_search(ROBUST, WORKED).apply(event)


def test_a_node_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match="node 9 does not exist"):
        without_search(EVIDENCE, WORKED).node(9)
