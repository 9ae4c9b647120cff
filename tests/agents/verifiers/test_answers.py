"""Extraction and normal forms: the documented outcome of every shape an answer comes in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.verifiers.answers import Extracted, boxed, extract, normal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{070}.", Extracted("070", "boxed")),
        (r"\boxed{\frac{1}{2}}", Extracted(r"\frac{1}{2}", "boxed")),
        (r"\boxed{1} no, \boxed{2}", Extracted("2", "boxed")),
        (r"\boxed{7} and then \boxed{8", Extracted("7", "boxed")),
        (r"\boxed{ \boxed{9}", Extracted("9", "boxed")),
        (r"\boxed {5}", Extracted("5", "boxed")),
        (r"\fbox{6}", Extracted("6", "boxed")),
        (r"\boxed{\{1, 2\}}", Extracted(r"\{1, 2\}", "boxed")),
        (r"\boxed{\left\{3\right.}", Extracted(r"\left\{3\right.", "boxed")),
        (r"put it in \boxed{}. The answer is 12.", Extracted("12", "stated")),
        (r"\boxed{4} (in \boxed{})", Extracted("4", "boxed")),
        ("The answer is 1,000.", Extracted("1,000", "stated")),
        ("the ANSWER is **42**", Extracted("42", "stated")),
        ("Final answer: $-3.5$", Extracted("-3.5", "stated")),
        ("the answer is 3/4 of it", Extracted("3/4", "stated")),
        ("first the answer is 1, then the answer is 2, at last", Extracted("2", "stated")),
        ("I counted 5 apples", None),
        ("the answer is not 5", None),
        ("", None),
    ],
)
def test_where_the_answer_stands(text: str, found: Extracted | None) -> None:
    assert extract(text) == found


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("070", "70"),
        ("$70$", "70"),
        ("\\$70", "70"),
        (" 70 .", "70"),
        ("+70", "70"),
        ("-070", "-70"),
        ("-0", "0"),
        ("000", "0"),
        ("70.0", "70.0"),
        ("1,000", "1000"),
        ("1{,}000", "1000"),
        ("1\\,000", "1000"),
        ("1,234,567.5", "1234567.5"),
        ("(1,2)", "(1,2)"),
        ("(1, 2)", "(1,2)"),
        ("1,2", "1,2"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\left(3, 4\\right)", "(3,4)"),
        ("\\leftarrow", "\\leftarrow"),
        ("0" * 6000 + "7", "7"),
        ("9" * 6000, "9" * 6000),
    ],
)
def test_the_form_in_which_answers_compare(answer: str, form: str) -> None:
    assert normal(answer) == form


@given(st.text(alphabet="\\boxed{}1 ", max_size=200))
def test_what_is_boxed_is_balanced_and_not_empty(text: str) -> None:
    inside = boxed(text)
    if inside is not None:
        assert inside.strip()
        assert inside in text


@pytest.mark.parametrize("text", ["\\boxed{" * 40_000, "answer is " + " " * 300_000, "answer " * 40_000, "{" * 300_000])
def test_a_model_that_repeats_itself_costs_no_time(text: str) -> None:
    begin = time.perf_counter()
    assert extract(text) is None
    assert time.perf_counter() - begin < 2
