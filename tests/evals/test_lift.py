"""What memory is worth: the claim takes every control, and each interval above zero."""

from __future__ import annotations

from typing import Any

import pytest

from evals.compare import Side
from evals.lift import CONTROLS, Control, lift
from evals.records import Usage
from evals.summary import curve
from runtime.errors import InvalidInput
from tests.evals.making import header, record


def arm(share: int, tokens: int = 100, n: int = 40, epochs: int = 1) -> Side:
    records = [
        record(f"i{i:03}", float(i < share), attempt=a, usage=Usage(calls=1, prompt_tokens=tokens))
        for i in range(n)
        for a in range(epochs)
    ]
    return Side("arm", header(expected=len(records)), records)


def test_a_gain_over_every_control_may_be_claimed() -> None:
    found = lift(arm(30), {"without": arm(5), "placebo": arm(8), "equal_calls": arm(10)})
    assert found.sentence.startswith("Memory improves the answers: +62.5 points")
    assert "a placebo of equal length" in found.sentence


@pytest.mark.parametrize("control", CONTROLS)
def test_one_control_that_does_as_well_forbids_the_claim(control: Control) -> None:
    arms = {"without": arm(5), "placebo": arm(5), "equal_calls": arm(5), control: arm(30)}
    found = lift(arm(30), arms)  # type: ignore[arg-type]
    assert "improve" not in found.sentence
    assert "A gain of memory is not shown" in found.sentence
    assert "no gain against" in found.sentence


def test_a_loss_is_written_with_the_minus_of_the_pages() -> None:
    assert "no gain against no memory (−62.5 points, 95 % interval −" in lift(arm(5), {"without": arm(30)}).sentence


@pytest.mark.parametrize("missing", CONTROLS)
def test_a_control_that_was_not_run_forbids_it_too_and_is_named(missing: Control) -> None:
    arms = {control: arm(5) for control in CONTROLS if control != missing}
    found = lift(arm(30), arms)
    assert "improve" not in found.sentence
    assert "no control with" in found.sentence


def test_an_evaluation_or_a_control_that_is_not_finished_forbids_the_claim() -> None:
    arms: dict[Control, Side] = {"without": arm(5), "placebo": arm(5), "equal_calls": arm(5)}
    half = Side("arm", header(expected=80), arm(5).records)
    assert "attempts are missing of a placebo of equal length" in lift(arm(30), {**arms, "placebo": half}).sentence
    unfinished = Side("arm", header(expected=80), arm(30).records)
    assert "attempts are missing of the evaluation" in lift(unfinished, arms).sentence


def test_a_control_on_other_data_forbids_it() -> None:
    arms: dict[Control, Side] = {"without": arm(5), "placebo": arm(5), "equal_calls": arm(5)}
    other = [record(f"i{i:03}", 0.0, data_sha256="e" * 64) for i in range(40)]
    found = lift(arm(30), {**arms, "without": Side("arm", header(expected=40), other)})
    assert "the problems were not the same against no memory" in found.sentence


def test_accuracy_against_tokens_does_not_depend_on_which_run_ended_first() -> None:
    records = [record("x", 1.0, answer="a"), record("x", 0.0, answer="b", attempt=1)]
    assert curve(records) == curve(records[::-1])


def test_without_any_control_nothing_is_said() -> None:
    with pytest.raises(InvalidInput, match="--controls"):
        lift(arm(30), {})


def test_the_point_of_equal_budget_is_the_most_votes_that_cost_no_more() -> None:
    found = lift(arm(30, tokens=350), {"without": arm(10, tokens=100, epochs=4)})
    budget: Any = found.equal_budget()
    assert (budget["k"], budget["tokens"], budget["tokens_of_memory"]) == (2, 200, 350)
    assert lift(arm(30, tokens=50), {"without": arm(10, tokens=100)}).equal_budget() is None


def test_arms_show_what_they_cost_so_that_equal_length_can_be_checked() -> None:
    told: Any = lift(arm(30, tokens=300), {"without": arm(5), "placebo": arm(5, tokens=310)}).to_json()
    assert {name: each["prompt_tokens"] for name, each in told["arms"].items()} == {
        "memory": 300,
        "without": 100,
        "placebo": 310,
    }
    assert [(point["arm"], point["k"]) for point in told["tokens"]] == [("memory", 1), ("without", 1), ("placebo", 1)]
