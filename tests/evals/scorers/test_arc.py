"""Grids in answers, two attempts, oracle@k: the figures of the sheets, and what other agents may send."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Answer
from agents.verifiers.grids import grid_of, read_text
from evals.scorers.arc import Tried, oracle, oracle_strict, score, solved

A, B, C = [[1]], [[2, 3]], [[4], [5]]
GRIDS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4).filter(
    lambda grid: len({len(row) for row in grid}) == 1
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["outputs", "train", "x"]), inner),
    max_leaves=20,
)


def detail(**fields: Any) -> Answer:
    return Answer("", detail=fields)


def test_the_sheet_s_example_of_scoring() -> None:
    tries = [Tried((True, False)), Tried((False, True)), Tried((False, False))]
    assert oracle(tries, 1) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert oracle(tries, 2) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert oracle(tries, 3) == 1.0
    assert [oracle_strict(tries, k) for k in (1, 2, 3)] == [0, 0, 0]


def test_one_right_try_of_three_is_worth_two_thirds_at_two() -> None:
    assert oracle([Tried((True,)), Tried((False,)), Tried((False,))], 2) == pytest.approx(2 / 3)


@given(
    st.integers(1, 3).flatmap(lambda t: st.lists(st.tuples(*[st.booleans()] * t), min_size=1, max_size=5)), st.data()
)
def test_the_closed_form_is_the_mean_over_all_sets_of_tries(
    rights: list[tuple[bool, ...]], data: st.DataObject
) -> None:
    tries = [Tried(right) for right in rights]
    k = data.draw(st.integers(1, len(tries)))
    sets = list(itertools.combinations(tries, k))
    one = [sum(any(column) for column in zip(*(t.right for t in each), strict=True)) / len(rights[0]) for each in sets]
    strict = [any(tried.strict for tried in each) for each in sets]
    assert oracle(tries, k) == pytest.approx(sum(one) / len(sets))
    assert oracle_strict(tries, k) == pytest.approx(sum(strict) / len(sets))


def test_two_attempts_count_for_each_test_input_and_the_third_is_one_too_many() -> None:
    told = score(detail(attempts=[[B, A], [C, A, B]]), [A, B])
    assert (told.value, told.correct, told.how) == (0.5, False, "attempts")
    assert told.parts["solved"] == [True, False]
    assert told.answer == json.dumps([B, C], separators=(",", ":"))


def test_strict_takes_one_attempt_that_solves_every_test_input() -> None:
    mixed, whole = score(detail(attempts=[[A, C], [C, B]]), [A, B]), score(detail(attempts=[[C, A], [C, B]]), [A, B])
    assert (mixed.value, mixed.parts["strict"]) == (1.0, False)
    assert (whole.value, whole.parts["strict"]) == (1.0, True)


def test_samples_are_the_tries_and_depths_are_scored_like_the_end() -> None:
    samples = [{"outputs": [A, None], "train": 1.0}, {"outputs": [A, B], "train": 0.5}, {"outputs": [], "train": 0}]
    depths = [[[C], []], [[C, A], [B]]]
    told = score(detail(attempts=depths[-1], samples=samples, depths=depths), [A, B])
    assert told.parts["tries"] == [[True, False], [True, True], [False, False]]
    assert told.parts["depths"] == [[False, False], [True, True]]
    without = score(detail(attempts=[[C, A], [B]]), [A, B])
    assert without.parts["tries"] == [[False, True]], "without samples the first attempt is the one try"


def test_equal_means_the_same_shape_and_the_same_cells() -> None:
    assert solved([[[[1, 2]]]], [[[1, 2]]]) == (True,)
    for other in ([[1], [2]], [[1, 2], [0, 0]], [[1]], [[2, 1]]):
        assert solved([[other]], [[[1, 2]]]) == (False,)


@pytest.mark.parametrize(
    ("text", "tests", "found"),
    [
        ("[[1]]", 1, [A]),
        ("[[[1]]]", 1, [A]),
        ("Train says [[9]], so the answer is\n```json\n[[ 1 ]]\n```", 1, [A]),
        ("[ [ [1] ],\n [ [2, 3] ] ]", 2, [A, B]),
        ("first [[1]] then [[2,3]]", 2, [A, B]),
        ("inputs [[7]] [[8]]; outputs: [[1]] and [[2,3]]", 2, [A, B]),
        ('{"output": [[1]]}', 1, [A]),
        ('[{"output": [[1]]}, {"output": [[2, 3]]}]', 2, [A, B]),
        ("[[1]]", 2, [A, None]),
        ("[[[1]], [[2,3]], [[4],[5]]]", 2, [A, B]),
        ("[[[1]], [[2,3]]]", 1, [A]),
        ("[see [[1]]", 1, [A]),
        ("[[7]] [[1", 1, [[[7]]]),
        ("[[1, 2], [3]]", 1, [None]),
        ("[[10]]", 1, [None]),
        ("[1, 2]", 1, [None]),
        ("1 2\n3 4", 1, [None]),
        ("", 2, [None, None]),
    ],
)
def test_the_last_grids_of_a_reply_are_the_attempt(text: str, tests: int, found: list[Any]) -> None:
    assert read_text(text, tests) == found


def test_a_reply_without_a_grid_has_no_answer() -> None:
    told = score(Answer("I cannot tell."), [A])
    assert (told.value, told.answer, told.how, told.parts["attempts"]) == (0.0, None, None, [[]])


@pytest.mark.parametrize("text", ["[" * 50_000, "[[1],[2]," * 20_000, "[[" + "1," * 50_000, "[ " * 50_000])
@pytest.mark.timeout(5)
def test_a_long_reply_of_brackets_costs_no_more_than_reading_it(text: str) -> None:
    assert len(read_text(text, 2)) == 2


@given(GRIDS, GRIDS, st.text(alphabet="abc[]1, \n", max_size=20).filter(lambda text: "]" not in text))
def test_what_is_written_as_json_is_read_back(one: Any, two: Any, before: str) -> None:
    assert read_text(f"{before}: {json.dumps([one, two])}", 2) == [one, two]
    assert read_text(f"{before}: {json.dumps(one)}.", 1) == [one]


@settings(max_examples=60)
@given(JSON, JSON, JSON)
def test_whatever_an_agent_sends_is_graded_and_nothing_is_raised(attempts: Any, samples: Any, depths: Any) -> None:
    told = score(detail(attempts=attempts, samples=samples, depths=depths), [A, B])
    assert 0 <= told.value <= 1
    json.dumps(told.parts)


@pytest.mark.parametrize(
    "value", [None, [], [[]], [1], [[1], [1, 2]], [[True]], [[1.0]], [[10]], [[-1]], [[1]] * 31, [[1] * 31], "[[1]]"]
)
def test_what_is_no_grid_is_none(value: object) -> None:
    assert grid_of(value) is None
