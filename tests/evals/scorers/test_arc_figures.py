"""The figures of ARC over tasks, tries and depths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals.records import Usage
from evals.scorers.arc import Tried
from evals.scorers.arc_figures import figures, lines, oracle_at
from evals.statistics import spread
from tests.evals.making import record


def arc(item: str, tries: list[list[bool]], depths: list[list[bool]] | None = None, **fields: Any) -> Any:
    right = (depths or [[any(column) for column in zip(*tries[:2], strict=True)]])[-1]
    parts = {
        "attempts": [],
        "solved": right,
        "strict": any(map(all, tries[:2])),
        "tries": tries,
        "depths": depths or [],
    }
    return record(item, sum(right) / len(right), parts=parts, **fields)


def told(value: Any) -> Any:
    """JSON of which a test knows more than its type says."""
    return value


def test_a_task_is_worth_the_share_of_its_test_inputs_and_the_suite_the_mean_of_its_tasks() -> None:
    found = told(figures([arc("a", [[True, False, False]]), arc("b", [[True]])]))
    assert (found["tasks"], found["test_inputs"]) == (2, 4)
    assert found["pass_at_2"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["test_input_mean"] == pytest.approx(2 / 4)
    assert found["strict"] == 0.5
    assert found["tokens_per_solved_task"] == pytest.approx(30 / (4 / 3))


def test_the_deviation_is_over_runs_and_over_pairs_of_runs() -> None:
    tasks = [[Tried((True,)), Tried((False,)), Tried((True,))], [Tried((True,)), Tried((False,)), Tried((False,))]]
    one, two, three = (told(oracle_at(tasks, k)) for k in (1, 2, 3))
    assert (one["mean"], one["sd"], one["sets"]) == (0.5, pytest.approx(spread([1.0, 0.0, 0.5]).sd), 3)
    assert (two["mean"], two["sd"]) == (pytest.approx((1 + 2 / 3) / 2), pytest.approx(spread([1.0, 1.0, 0.5]).sd))
    assert (three["mean"], three["sd"], three["sets"]) == (1.0, None, 1)


def test_the_published_runs_have_the_published_mean_and_deviation() -> None:
    found = spread([46.0, 45.5, 47.5])
    assert (round(found.mean, 2), round(found.sd or 0, 2)) == (46.33, 1.04)


def test_the_attempts_of_other_seeds_are_further_tries() -> None:
    found = told(figures([arc("a", [[True], [False]], seed=0), arc("a", [[False], [False]], seed=1)]))
    assert found["tries"] == 4
    assert [each["mean"] for each in found["oracle"]] == [0.25, 0.5, 0.75]
    assert found["pass_at_2"] == 0.5


@pytest.mark.parametrize("how", [{"error": "broken: x"}, {"stop_reason": "budget_exhausted"}])
def test_a_run_that_failed_or_was_cut_counts_as_wrong_tries_and_hides_no_oracle(how: dict[str, Any]) -> None:
    found = told(figures([arc("a", [[True, False], [False, False], [False, True]]), arc("b", [[False]], **how)]))
    assert found["tries"] == 3
    assert [each["k"] for each in found["oracle"]] == [1, 2, 3]
    assert found["oracle"][2]["mean"] == 0.5
    assert found["oracle"][0]["mean"] == pytest.approx(1 / 3 / 2)


def test_a_run_that_was_to_make_fewer_calls_has_as_many_tries_as_it_made() -> None:
    found = told(figures([arc("a", [[True], [False], [False]]), arc("b", [[True]])]))
    assert (found["tries"], [each["k"] for each in found["oracle"]]) == (1, [1])


def test_the_write_gate_is_said() -> None:
    one, two = arc("a", [[True]]), arc("b", [[True]], error="broken: x")
    found = figures([replace(one, parts={**one.parts, "gate": "train+agree"}), two])
    assert found["gates"] == ["train+agree"]
    assert "write gate: train+agree" in lines(found)
    assert not any("gate" in line for line in lines(figures([one])))


def test_a_depth_is_what_would_have_been_submitted_and_what_it_had_cost() -> None:
    spent = Usage(calls=5, prompt_tokens=40, completion_tokens=10, by_depth=((3, 30), (5, 50)))
    first = arc("a", [[True, True]], [[True, False], [False, True]], usage=spent)
    second = arc("b", [[True]], [[True]], usage=Usage(calls=3, prompt_tokens=6, completion_tokens=4))
    zero, one = told(figures([first, second]))["depths"]
    assert zero == {"depth": 0, "pass_at_2": 0.75, "any_depth": 0.75, "calls": 3.0, "tokens": 20.0}
    assert one == {"depth": 1, "pass_at_2": 0.75, "any_depth": 1.0, "calls": 4.0, "tokens": 30.0}


def test_the_report_says_all_of_it() -> None:
    found = figures([arc("a", [[True], [False], [False]], [[False], [True]]), arc("b", [[False], [False], [False]])])
    text = "\n".join(lines(found))
    for part in (
        "pass@2 (official): 50.0 % of 2 tasks",
        "strict 50.0 %",
        "oracle@2 of 3: 33.3 % (SD",
        "after 1 retries: pass@2",
    ):
        assert part in text
    assert lines(figures([])) == []
    assert figures([record("old")]) == {}, "records of before have no parts"
