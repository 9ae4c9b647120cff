"""Whole searches: the steps of a rollout, failures, budgets, resuming, and what `evidence` does differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.budget import Budget as Limits
from runtime.errors import BudgetExhausted, InvalidInput
from search.base import Budget, Evaluation, Expansion, Made
from search.beam import beam
from search.best_of_n import best_of_n
from search.events import BackedUp, Created, Scored, Selected, Stopped
from search.final import choose
from search.mcts import mcts
from search.profile import EVIDENCE, PROFILES, PUBLISHED, ROBUST, Profile
from search.tree import Node, Tree
from tests.search.scripted import MadeUp, Search, Written, searched

B, C, D = Made("b", "b"), Made("c", "c"), Made("d", "d")
WORKED = {(1, 0): (7.0, 6.0), (2, 1): (5.0, 8.0), (3, 0): (9.0, 6.0)}
EVERY = [PUBLISHED, ROBUST, EVIDENCE]
NO_STOP = replace(EVIDENCE, stop_at=None)
profiles = st.sampled_from([*EVERY, NO_STOP, replace(ROBUST, selection="puct"), replace(ROBUST, final="vote")])
searches: st.SearchStrategy[Search] = st.sampled_from([mcts, best_of_n, beam])


def test_published_walks_the_worked_tree_by_itself() -> None:
    problem = Written([B, C, D], WORKED)
    tree, events = searched(problem, PUBLISHED, 3)
    assert [(node.parent, node.answer) for node in tree.nodes] == [(None, "root"), (0, "b"), (1, "c"), (0, "d")]
    assert [node.value for node in tree.nodes] == pytest.approx([9.066971, 7.891168, 0.047426, 6.952574], abs=1e-6)
    assert choose(tree).best == 1
    kinds = [type(event) for event in events]
    assert kinds == [Created, BackedUp, *[Selected, Created, Scored, BackedUp] * 3, Stopped]
    assert [name for name, _ in problem.asked] == ["root", *["expand", "compare", "learn"] * 3]
    assert tree.stopped == Stopped("rollouts")


@pytest.mark.parametrize("profile", EVERY)
def test_a_failed_generation_counts_as_a_rollout_and_is_not_judged(profile: Profile) -> None:
    problem = Written([None] * 5)
    tree, _ = searched(problem, profile, 5)
    assert [node.status for node in tree.nodes] == ["ok", *["gen_failed"] * 5]
    assert tree.iteration == 5
    assert {name for name, _ in problem.asked} == {"root", "expand"}
    assert choose(tree).best == 0


@pytest.mark.parametrize("profile", EVERY)
def test_a_judge_that_always_fails_leaves_the_root(profile: Profile) -> None:
    problem = Written([Made(f"a{i}", f"a{i}") for i in range(6)])
    tree, _ = searched(problem, profile, 6)
    assert tree.iteration == 6
    assert {node.status for node in tree.nodes[1:]} == {"judge_failed"}
    assert {node.q_local for node in tree.nodes} == {0.5}
    assert not tree.comparisons
    assert choose(tree).best == 0
    assert "learn" not in {name for name, _ in problem.asked}


@pytest.mark.parametrize("profile", [PUBLISHED, ROBUST])
def test_an_answer_equal_to_its_parent_is_a_duplicate_and_costs_no_judgement(profile: Profile) -> None:
    problem = Written([Made("root", "root"), B], {(2, 0): (7, 6)})
    tree, _ = searched(problem, profile, 2)
    assert [node.status for node in tree.nodes] == ["ok", "duplicate", "ok"]
    assert [name for name, _ in problem.asked] == ["root", "expand", "expand", "compare", "learn"]


def test_evidence_counts_a_repeated_answer_as_a_vote_and_does_not_judge_it() -> None:
    tree, _ = searched(Written([Made("root", "root")] * 3), EVIDENCE, 3)
    assert [node.status for node in tree.nodes] == ["ok"] * 4
    assert not tree.comparisons
    assert tree.stopped == Stopped("consensus")


@pytest.mark.parametrize("profile", EVERY)
def test_equal_scores_leave_no_relation(profile: Profile) -> None:
    tree, _ = searched(Written([B], {(1, 0): (6, 6)}), profile, 1)
    assert not tree.relations
    assert tree.nodes[1].q_local == 0.5


def test_a_first_answer_that_is_none_is_refused() -> None:
    class Silent(Written):
        async def root(self) -> Made:
            return Made("", status="gen_failed")

    with pytest.raises(InvalidInput, match="first answer has status 'gen_failed'"):
        searched(Silent([]), ROBUST, 1)


@settings(max_examples=60, deadline=None)
@given(profiles, searches, st.integers(0, 10**6), st.integers(0, 10), st.integers(1, 25), st.booleans())
def test_a_budget_is_never_exceeded_and_half_a_rollout_never_kept(
    profile: Profile, search: Search, seed: int, rollouts: int, calls: int, told: bool
) -> None:
    """Whether the search is told what is spent, or the problem raises by itself."""
    problem = MadeUp(seed, generation_fails=0.1, judging_fails=0.1, limit=None if told else calls)
    budget = Budget(rollouts, Limits(calls=calls) if told else Limits(), problem.spent)
    tree, events = searched(problem, profile, rollouts, search=search, seed=seed, budget=budget)
    # What is learned is paid by the problem, which the search cannot stop in advance.
    assert problem.calls <= calls + told
    assert tree.iteration <= rollouts
    assert tree.pending is None
    assert len(tree) == 1 + tree.iteration
    assert sum(isinstance(event, BackedUp) for event in events) == len(tree)
    last = events[-1]
    assert isinstance(last, Stopped)
    assert (last.reason == "budget") == (last.limit == "calls")
    assert all(said.child < len(tree) for said in tree.comparisons)
    again, _ = searched(MadeUp(seed, 0.1, 0.1), profile, tree.iteration, search=search, seed=seed)
    assert {**again.to_json(), "stopped": None} == {**tree.to_json(), "stopped": None}


def test_a_budget_for_one_and_a_half_rollouts_gives_one() -> None:
    tree, events = searched(MadeUp(1, limit=5), ROBUST, 4)
    assert (tree.iteration, len(tree), tree.stopped) == (1, 2, Stopped("budget", "calls"))
    assert isinstance(events[-2], Scored | Created)


def test_without_a_budget_for_the_first_answer_there_is_none() -> None:
    problem = MadeUp(1, limit=0)
    with pytest.raises(BudgetExhausted):
        searched(problem, ROBUST, 4)


@settings(max_examples=25, deadline=None)
@given(profiles, searches, st.integers(0, 10**6), st.integers(0, 8))
def test_continued_after_any_rollout_it_is_the_search_that_was_not_interrupted(
    profile: Profile, search: Search, seed: int, stop_after: int
) -> None:
    whole, events = searched(MadeUp(seed), profile, 8, search=search, seed=seed)
    part, _ = searched(MadeUp(seed), profile, stop_after, search=search, seed=seed)
    _, rest = searched(MadeUp(seed), profile, 8, search=search, seed=seed, tree=Tree.from_json(part.to_json()))
    assert rest == events[len(events) - len(rest) :]
    assert choose(whole) == choose(searched(MadeUp(seed), profile, 8, search=search, seed=seed)[0])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([PUBLISHED, ROBUST, replace(NO_STOP, bias_sd=0.0)]), st.integers(0, 10**6))
def test_a_judge_that_scores_by_content_gives_the_same_state_in_both_orders(profile: Profile, seed: int) -> None:
    class Turned(MadeUp):
        async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
            said = await super().compare(tree, child, opponent)
            return said and replace(said, swapped=not said.swapped)

    plain, turned = (searched(kind(seed, 0.1, 0.1), profile, 8, seed=seed)[0] for kind in (MadeUp, Turned))
    assert [(n.answer, n.value, n.q_global) for n in plain.nodes] == [
        (n.answer, n.value, n.q_global) for n in turned.nodes
    ]
    assert choose(plain) == choose(turned)


class Circular(MadeUp):
    """Whoever comes two places later beats whoever came before, and loses to the next but one: cycles all the time."""

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        return Evaluation(6.0, 5.0) if (child.id - opponent.id) % 3 == 1 else Evaluation(5.0, 6.0)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([replace(ROBUST, opponents=("champion", "parent")), NO_STOP]), st.integers(0, 10**6))
def test_cycles_of_preference_never_crash(profile: Profile, seed: int) -> None:
    tree, _ = searched(Circular(seed, finals=0), profile, 12, seed=seed)
    assert len(tree) == 13
    assert choose(tree).best in range(13)


def test_an_unjudged_node_among_the_opponents_does_not_count() -> None:
    scores = {(1, 0): (7.0, 6.0), (3, 1): (7.0, 6.0)}
    tree, _ = searched(Written([B, C, D], scores), ROBUST, 3)
    assert [node.status for node in tree.nodes] == ["ok", "ok", "judge_failed", "ok"]
    assert tree.nodes[2].q_global == 0.0
    assert choose(tree).best == 3


# -- evidence ----------------------------------------------------------------------------------------------------------


class Verified(MadeUp):
    """The verifier passes what was made fourth; the judge prefers the first answer to everything."""

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        made = await super().expand(tree, node, how)
        assert made is not None
        return replace(made, objective=float(len(tree) == 4))

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        return Evaluation(1.0, 10.0)


@pytest.mark.parametrize("profile", [ROBUST, EVIDENCE])
def test_an_answer_that_passes_ends_the_search_and_is_the_answer_whatever_the_judge_says(profile: Profile) -> None:
    tree, _ = searched(Verified(3, finals=0), profile, 12)
    assert tree.stopped == Stopped("verified")
    assert (tree.iteration, choose(tree).best) == (4, 4)


def test_published_does_not_stop_on_a_pass() -> None:
    tree, _ = searched(Verified(3, finals=0), PUBLISHED, 12)
    assert tree.stopped == Stopped("rollouts")


def test_where_objective_signals_differ_they_decide_and_not_the_judge() -> None:
    tree, _ = searched(Written([replace(B, objective=0.5)], {(1, 0): (2.0, 9.0)}), EVIDENCE, 1)
    judged = tree.posterior().mean
    assert judged[0] > judged[1]

    class Failing(Written):
        async def root(self) -> Made:
            return Made("root", "root", 0.0)

    tree, _ = searched(Failing([replace(B, objective=0.5)], {(1, 0): (2.0, 9.0)}), EVIDENCE, 1)
    known = tree.posterior().mean
    assert known[1] > known[0]
    assert tree.nodes[1].q_local == 1.0
    assert tree.comparisons[0].s_child == 2.0
    assert choose(tree).best == 1


def test_the_judge_breaks_ties_of_the_verifier() -> None:
    class Failing(Written):
        async def root(self) -> Made:
            return Made("root", "root", 0.5)

    tree, _ = searched(Failing([replace(B, objective=0.5)], {(1, 0): (9.0, 2.0)}), EVIDENCE, 1)
    assert choose(tree).best == 1


def test_a_new_answer_is_judged_against_the_champion_and_if_it_may_be_the_best_against_its_parent_too() -> None:
    class Ranked(MadeUp):
        async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
            asked.append((tree.pending is child, child.id, opponent.id))
            return Evaluation(8.0, 6.0) if child.id < 4 else Evaluation(2.0, 9.0)

    asked: list[tuple[bool, int, int]] = []
    tree, events = searched(Ranked(11, finals=0), replace(NO_STOP, expansions=("child",)), 8, seed=5)
    opponents: dict[int, list[int]] = {}
    for pending, child, opponent in asked:
        assert pending
        opponents.setdefault(child, []).append(opponent)
    for child, judged in opponents.items():
        parent = tree.nodes[child].parent
        champion = judged[0]
        assert judged in ([champion], [champion, parent])
        if child < 4:
            assert set(judged) == {champion, parent}
        else:
            assert judged == [champion]
            assert champion == 3
    assert Counter(event.id for event in events if isinstance(event, Scored)) == Counter(c for _, c, _ in asked)


def test_evidence_makes_children_new_starts_and_merges() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(20):
        tree, _ = searched(MadeUp(seed, finals=0), NO_STOP, 8, seed=seed)
        for node in tree.nodes[1:]:
            kinds[node.how.kind] += 1
            if node.how.kind == "fresh":
                assert (node.parent, node.depth) == (None, 0)
                assert node.how.lessons
            if node.how.kind == "merge":
                assert node.how.other not in (None, node.parent)
    assert min(kinds[kind] for kind in ("child", "fresh", "merge")) >= 10


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_same_seed_gives_the_same_events_and_another_seed_others(profile: Profile) -> None:
    first, again = (searched(MadeUp(2), profile, 10, seed=4)[1] for _ in range(2))
    assert first == again
    if profile.selection == "thompson":
        assert searched(MadeUp(2), profile, 10, seed=5)[1] != first


def test_what_a_judgement_adds_to_the_child_is_in_its_data() -> None:
    class Teaching(Written):
        async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
            return Evaluation(7.0, 6.0, True, {"lessons": ["a"]}, {"evolved": "p"})

        async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
            assert child.data == {"made": 1, "evolved": "p"}
            assert [said.data for said in evaluations] == [{"lessons": ["a"]}]

    tree, _ = searched(Teaching([replace(B, data={"made": 1})]), ROBUST, 1)
    assert tree.nodes[1].data == {"made": 1, "evolved": "p"}
    assert tree.comparisons[0].data == {"lessons": ["a"]}
    assert tree.comparisons[0].swapped is True
