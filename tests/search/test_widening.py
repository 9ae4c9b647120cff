"""The choice between a child, a new start and a merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from search.base import Expansion
from search.events import BackedUp, Comparison, Created, Scored, Selected
from search.profile import EVIDENCE, Profile
from search.strength import by_strength, champion, same_answer
from search.tree import Tree
from search.widening import choose
from tests.search.scripted import without_search

EVEN = [(None, 0.0, 0.0), (0, 6.0, 6.0), (0, 6.0, 6.0)]


def kinds(tree: Tree, draws: int = 400) -> Counter[str]:
    found = [choose(tree, np.random.default_rng(seed)) for seed in range(draws)]
    return Counter(how.kind for _, how in (one for one in found if one))


def grown(kind: str, gain: float, count: int) -> Tree:
    """A root, and answers of one kind made from the best, each judged `gain` points better or worse."""
    tree = Tree(EVIDENCE)
    tree.apply(Created(0, 0, None, 0, "answer 0", None, None, "ok", Expansion("fresh"), {}))
    tree.apply(BackedUp(0, 0))
    for number in range(1, count + 1):
        other = 0 if kind == "merge" and number > 1 else None
        how = Expansion("fresh") if kind == "fresh" else Expansion(kind, max(0, number - 1), other)  # type: ignore[arg-type]
        depth = 0 if how.parent is None else tree.nodes[how.parent].depth + 1
        tree.apply(Selected(number, 0, how, 0.0))
        tree.apply(Created(number, number, how.parent, depth, f"answer {number}", None, None, "ok", how, {}))
        said = Comparison(number, number - 1, 5.0 + gain, 5.0, None, number)
        tree.apply(Scored(number, number, number - 1, said, 0.5, "ok"))
        tree.apply(BackedUp(number, number))
    return tree


def test_a_single_answer_cannot_be_merged() -> None:
    assert set(kinds(without_search(EVIDENCE, EVEN[:1]))) == {"child", "fresh"}


def test_the_same_answers_cannot_be_merged() -> None:
    assert "merge" not in kinds(without_search(EVIDENCE, EVEN, finals=["x", "x", "x"]))
    assert kinds(without_search(EVIDENCE, EVEN, finals=["x", "y", "x"]))["merge"] > 50


@pytest.mark.parametrize("kind", ["child", "merge"])
def test_a_kind_that_gains_is_made_more_often_than_one_that_loses(kind: str) -> None:
    gains, loses = kinds(grown(kind, 3.0, 8)), kinds(grown(kind, -3.0, 8))
    assert gains[kind] > 1.3 * loses[kind]


def test_new_starts_that_were_weak_are_made_less() -> None:
    weak = [(None, 0.0, 0.0), (0, 9.0, 2.0), (1, 9.0, 2.0), (2, 9.0, 2.0)]
    assert kinds(without_search(EVIDENCE, weak))["fresh"] < 0.8 * kinds(without_search(EVIDENCE, EVEN))["fresh"]


def test_only_the_kinds_of_the_profile_are_made() -> None:
    rules = replace(EVIDENCE, expansions=("child", "merge"))
    assert set(kinds(without_search(rules, EVEN))) == {"child", "merge"}


def test_a_merge_is_of_two_different_answers_the_better_of_the_draw_first() -> None:
    tree = without_search(EVIDENCE, [(None, 0.0, 0.0), (0, 10.0, 1.0), (0, 1.0, 10.0)])
    for seed in range(300):
        chosen = choose(tree, np.random.default_rng(seed))
        assert chosen is not None
        pick, how = chosen
        if how.kind == "merge":
            assert how.parent == pick.id != how.other
        if how.kind == "fresh":
            assert (pick.id, how.parent, how.lessons) == (1, None, (1, 0, 2))


def with_signal(objectives: list[float | None], profile: Profile = EVIDENCE) -> Tree:
    tree = Tree(profile)
    for number, objective in enumerate(objectives):
        if number:
            tree.apply(Selected(number, 0, Expansion("fresh"), 0.0))
        how = Expansion("fresh")
        tree.apply(Created(number, number, None, 0, f"answer {number}", None, objective, "ok", how, {}))
        tree.apply(BackedUp(number, number))
    return tree


def test_what_passes_more_is_gone_deeper_from_more_often() -> None:
    tree = with_signal([0.0, 0.75, 0.0])
    found = [choose(tree, np.random.default_rng(seed)) for seed in range(400)]
    parents = Counter(how.parent for _, how in (one for one in found if one) if how.kind == "child")
    assert parents[1] > 0.8 * parents.total()


def test_a_signal_that_is_the_same_everywhere_changes_nothing() -> None:
    drawn = [
        [choose(with_signal([signal] * 3), np.random.default_rng(seed)) for seed in range(50)]
        for signal in (None, 0.0, 0.5)
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_the_champion_is_the_one_code_puts_first_then_the_strongest() -> None:
    assert champion(with_signal([0.0, None, 0.75])) == 2
    assert [node.id for node in by_strength(with_signal([0.0, None, 0.75]))] == [2, 1, 0]
    assert champion(without_search(EVIDENCE, [(None, 0.0, 0.0), (0, 9.0, 2.0), (0, 9.0, 6.0)])) == 1
    assert champion(without_search(EVIDENCE, EVEN)) == 0


def test_answers_are_the_same_by_canonical_form_or_else_by_text() -> None:
    a, b, c = without_search(EVIDENCE, EVEN, finals=["x", "x", "y"]).nodes
    assert same_answer(a, b)
    assert not same_answer(a, c)
    a.final = None
    assert not same_answer(a, b)
    b.answer = a.answer
    assert same_answer(a, b)
