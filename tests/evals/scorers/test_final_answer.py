"""The examples of the evaluation sheet §6.2, and what a model writes besides."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agents.verifiers.math import MathVerifier, MathWorker
from evals.scorers.final_answer import expression, integer, number

pytestmark = pytest.mark.anyio


@pytest.fixture
async def grader() -> AsyncIterator[MathVerifier]:
    worker = MathWorker()
    yield MathVerifier(worker)
    await worker.aclose()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{070}", "70"),
        (r"first \boxed{12}, no: \boxed{70}", "70"),
        (r"\boxed{\boxed{70}}", "70"),
        (r"\boxed{ 70 } and \boxed{}", "70"),
        (r"\boxed{$70$}", "70"),
        (r"the answer is 12, no, \boxed{7{0}}", "7{0}"),
    ],
)
def test_the_last_box_is_the_answer(text: str, answer: str) -> None:
    score = integer(text, 70)
    assert (score.answer, score.how) == (answer, "boxed")
    assert score.correct is (answer == "70")


@pytest.mark.parametrize("inside", ["70.0", "1,070", "-70", "70^\\circ", "seventy", "7 0 1 0"])
def test_what_is_no_integer_of_the_range_is_wrong(inside: str) -> None:
    score = integer(rf"\boxed{{{inside}}}", 70)
    assert not score.correct
    assert score.how == "boxed"


def test_one_thousand_is_no_answer_of_the_aime() -> None:
    assert not integer(r"\boxed{1,000}", 0).correct
    assert not integer(r"\boxed{1,000}", 1000).correct


def test_a_stated_answer_is_a_fallback_and_does_not_count() -> None:
    score = integer("The answer is 70.", 70)
    assert (score.value, score.answer, score.how, score.fallback) == (0.0, None, None, 1.0)
    assert integer("The answer is 71.", 70).fallback == 0.0


def test_without_an_answer_there_is_no_fallback_either() -> None:
    score = integer("I do not know, maybe 70", 70)
    assert (score.value, score.answer, score.fallback) == (0.0, None, None)


EQUAL = (
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\dfrac{\pi}{2})", True),
    (r"\left( 3, \frac{\pi}{2} \right)", r"\left(\frac{\pi}{2}, 3\right)", False),
    (r"\frac{1}{2}", "0.5", True),
    (r"\frac{1}{2}", r"\frac{2}{3}", False),
    ("p - q", "-q + p", True),
    (r"2\sqrt{3}", r"\sqrt{12}", True),
    ("70000", "70,000", True),
    ("42", r"\$42", True),
)


async def test_expressions_are_compared_by_what_they_mean_and_only_boxed_ones_count(grader: MathVerifier) -> None:
    # One test, because the process that compares takes two seconds to start.
    for gold, said, right in EQUAL:
        score = await expression(rf"therefore \boxed{{{said}}}", gold, grader)
        assert (score.correct, score.how) == (right, "boxed"), (gold, said)
    stated = await expression("the answer is 1/2", r"\frac{1}{2}", grader)
    assert (stated.value, stated.answer, stated.fallback) == (0.0, None, 1.0)


@pytest.mark.parametrize(
    ("text", "answer", "how"),
    [
        (r"5 + 3 = \boxed{8}", "8", "boxed"),
        ("The answer is 8, I think, of 2", "8", "stated"),
        ("5 + 3 = 8", "8", "bare"),
        ("It is 1,008.", "1008", "bare"),
        ("minus one: -1", "-1", "bare"),
        ("x8 is a name", None, None),
        ("none", None, None),
    ],
)
def test_a_number_is_found_leniently(text: str, answer: str | None, how: str | None) -> None:
    score = number(text, "8")
    assert (score.answer, score.how) == (answer, how)
    assert score.correct is (answer == "8")
