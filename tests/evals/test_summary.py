"""Scores from records: the problem is the unit, chance stands beside, nothing is dropped silently."""

from __future__ import annotations

from typing import Any

import pytest

from evals.plan import Plan
from evals.statistics import any_guess, wilson
from evals.summary import curve, learning, runs, scores, summarise
from tests.evals.making import header, record


def told(records: list[Any]) -> dict[str, Any]:
    return dict(scores(records))


def test_the_interval_is_over_problems_and_not_over_attempts() -> None:
    once = [record(f"i{n}", float(n < 15)) for n in range(30)]
    thrice = [record(f"i{n}", float(n < 15), attempt=a) for n in range(30) for a in range(3)]
    for found in (told(once), told(thrice)):
        assert found["problems"] == 30
        assert (found["accuracy"], found["low"], found["high"]) == pytest.approx((0.5, *wilson(15, 30)))
        assert found["half_width"] == pytest.approx(wilson(15, 30).half_width)


def test_accuracy_is_the_mean_over_problems_of_their_attempts() -> None:
    records = [record("a", 1.0), record("a", 0.0, attempt=1), record("b", 1.0), record("b", 1.0, attempt=1)]
    assert told(records)["accuracy"] == 0.75


def test_several_attempts_tell_any_and_majority_and_what_blind_guesses_would_reach() -> None:
    votes: dict[str, list[str | None]] = {"a": ["5", "5", "7", None], "b": ["7", "7", "7", "5"]}
    records = [
        record(item, float(answer == "5"), attempt=n, answer=answer, chance=0.1)
        for item, answers in votes.items()
        for n, answer in enumerate(answers)
    ]
    found = told(records)
    assert found["attempts"] == 4
    assert found["pass_at"]["1"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found["pass_at"]["4"] == 1.0
    assert found["majority_at"]["4"] == 0.5
    assert found["guess_at"]["4"] == pytest.approx(any_guess(0.1, 4))
    assert found["chance"] == pytest.approx(0.1)


def test_shares_of_what_went_wrong_are_of_all_attempts() -> None:
    records = [
        record("a"),
        record("b", 0.0, answer=None, how=None, fallback=1.0),
        record("c", 0.0, answer=None, how=None, stop_reason="length"),
        record("d", 0.0, answer=None, how=None, stop_reason="failed", error="malformed_reply: x"),
    ]
    found = told(records)
    assert (found["accuracy"], found["with_fallback"]) == (0.25, 0.5)
    assert (found["missing"], found["fallback"], found["truncated"], found["failed"]) == (0.75, 0.25, 0.25, 0.25)
    assert found["chance"] is None


def test_chance_is_unknown_when_it_is_for_one_of_them() -> None:
    assert told([record("a", chance=0.5), record("b")])["chance"] is None


def test_every_pass_is_shown_with_mean_and_sample_deviation() -> None:
    records = [
        record(i, score, seed=s)
        for s, pair in enumerate([(1, 0), (1, 1), (0, 0)])
        for i, score in zip("ab", pair, strict=True)
    ]
    found: Any = runs(records)
    assert [each["accuracy"] for each in found["each"]] == [0.5, 1.0, 0.0]
    assert (found["mean"], found["sd"]) == pytest.approx((0.5, 0.5))
    assert runs([]) == {"each": []}


def test_learning_is_told_by_quarters_of_the_order() -> None:
    records = [record(f"i{n}", float(n >= 4), place=n) for n in range(8)]
    found: Any = learning(records)
    assert [part["accuracy"] for part in found] == [0, 0, 1, 1]


def test_the_curve_is_accuracy_against_tokens() -> None:
    records = [record("a", float(n < 2), attempt=n) for n in range(3)]
    assert [(point["k"], point["tokens"]) for point in curve(records)] == [(1, 15), (2, 30), (3, 45)]
    assert curve(records)[-1]["accuracy"] == 1.0
    assert curve([]) == []


def test_a_summary_says_what_it_is_of_and_whether_it_is_all() -> None:
    head = header(expected=3, plan=Plan("aime", "direct", memory="continual", orders=2))
    found = summarise(head, [record("a"), record("b", 0.0, set="two")])
    assert (found["status"], found["done"], found["expected"]) == ("incomplete", 2, 3)
    assert list(found["scores"]["sets"]) == ["one", "two"]
    assert found["memory"]["online"] is True
    assert found["config"]["orders"] == 2
    assert "learning" in found
    assert [note.split(";")[0] for note in found["notes"]] == ["1 seed", "2 orders of the items"]
    empty = summarise(header(expected=1), [])
    assert empty["notes"] == []
    assert empty["scores"]["all"] == {"problems": 0}
    assert "learning" not in empty
