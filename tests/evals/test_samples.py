"""Problems one by one, and what became of them between two evaluations."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from evals.compare import Side, compare
from evals.samples import changes, tallies
from tests.evals.making import header, record

SCORES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0]), min_size=1)


def side(name: str, scores: dict[str, float]) -> Side:
    return Side(name, header(len(scores)), [record(item, score) for item, score in scores.items()])


def test_the_attempts_at_a_problem_are_told_in_order_with_their_answers() -> None:
    made = [record("a", 0.0, attempt=1, answer="7"), record("a", 1.0), record("b", 0.0, answer=None, error="gone")]
    a, b = tallies(made)
    assert (a.scores, a.score, a.answers, a.missing, a.tokens) == ((1.0, 0.0), 0.5, ("1", "7"), 0, 15)
    assert (b.item, b.missing, b.failed) == ("b", 1, 1)


def test_a_change_is_told_from_the_first_one() -> None:
    found = changes(side("a", {"x": 1.0, "y": 0.0, "z": 1.0, "w": 1.0}), side("b", {"x": 0.0, "y": 1.0, "z": 1.0}))
    assert [(change.item, change.verdict) for change in found] == [("x", "fixed"), ("y", "broken"), ("z", "same")]


@settings(deadline=None, max_examples=20)  # each draws a whole bootstrap
@given(SCORES, SCORES)
def test_the_verdicts_agree_with_the_comparison(first: dict[str, float], second: dict[str, float]) -> None:
    a, b = side("a", first), side("b", second)
    counts = Counter(change.verdict for change in changes(a, b))
    if set(first) & set(second):
        told = compare(a, b)
        assert counts.total() == told.problems
        assert counts["fixed"] + counts["broken"] == told.difference.differing
    else:
        assert not counts
