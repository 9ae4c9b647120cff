"""Equations: what is read, what is refused, and that nothing of it can do harm."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.equations import failing, number_of, read_equation


@pytest.mark.parametrize(
    ("equation", "solution"),
    [
        ("3*x+4=19", "5"),
        ("3x + 4 = 19", "5"),
        ("2(x+1) = (x+1)(x)", "2"),
        ("x^3 = 343", "7"),
        ("x**2 - 1 = 0", "-1"),
        ("-x^2 = -4", "2"),
        ("2^-1 * x = 3.5", "7"),
        ("0.1*x = 0.3", "3"),
        ("x/3 = 1/9", "1/3"),
    ],
)
def test_a_solution_is_found_to_hold_and_a_near_one_not(equation: str, solution: str) -> None:
    value = number_of(solution)
    assert value is not None
    read = [read_equation(equation, "x")]
    assert failing(read, value) is None
    assert failing(read, value + Fraction(1, 1000)) is not None


def test_every_equation_must_hold_and_the_reason_names_the_one_that_does_not() -> None:
    equations = [read_equation(text, "y") for text in ("y = 2", "y + y = 5")]
    assert failing(equations, Fraction(2)) == "y + y = 5: the sides are 4 and 5"


def test_division_by_zero_is_a_reason_and_not_an_error() -> None:
    assert failing([read_equation("1/(x-2) = 1", "x")], Fraction(2)) == "1/(x-2) = 1: division by zero"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3*x+4", "exactly one '='"),
        ("x == 3", "exactly one '='"),
        ("y = 3", "'y' is not the variable 'x'"),
        ("x5 = 3", "not part of the grammar"),
        ("__import__('os').system('true') = 1", "expected numbers"),
        ("x.real = 3", "'real' is not the variable"),
        ("[1][0] = x", "expected numbers"),
        ("x if x else x = 1", "'if' is not the variable"),
        ("2^x = 8", "cannot be a power"),
        ("x // 2 = 1", "not part of the grammar"),
        ("x = ", "not an expression"),
        ("0777 = x", "not an expression"),
        ("(" * 300 + "x" + ")" * 300 + " = 1", "at most 400"),
    ],
)
def test_anything_outside_the_grammar_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        read_equation(text, "x")
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["(" * 199 + "x" + ")" * 199 + " = 1", "-" * 399 + "x = 1", "x" + "+1" * 190 + " = 1"])
def test_deep_nesting_is_read_or_refused_but_breaks_nothing(text: str) -> None:
    try:
        equation = read_equation(text, "x")
    except ValueError:
        return
    failing([equation], Fraction(1))


@pytest.mark.parametrize("text", ["((((9^64)^64)^64)^64)^64 = x", "9^(9^9) = x", "x^65 = 1"])
def test_numbers_that_explode_are_a_reason_and_take_no_time(text: str) -> None:
    begin = time.perf_counter()
    assert failing([read_equation(text, "x")], Fraction(10**300))
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", Fraction(7)),
        ("-7.50", Fraction(-15, 2)),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("-\\dfrac{1}{2}", Fraction(-1, 2)),
        ("1/0", None),
        ("\\frac{1}{0}", None),
        ("1e999999999", None),
        ("\\sqrt{2}", None),
        ("1,2", None),
        ("", None),
        ("9" * 500, None),
    ],
)
def test_numbers_are_read_exactly_and_nothing_else_is_one(text: str, value: Fraction | None) -> None:
    assert number_of(text) == value


@given(st.integers(-999, 999).filter(bool), st.integers(-999, 999), st.fractions(max_denominator=50))
def test_a_linear_equation_holds_at_its_solution_only(a: int, b: int, x: Fraction) -> None:
    right = a * x + b
    equation = read_equation(f"{a}*x + {b} = {right.numerator}/{right.denominator}".replace("+ -", "- "), "x")
    assert failing([equation], x) is None
    assert failing([equation], x + 1) is not None


@given(st.text(max_size=60))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        equation = read_equation(text, "x")
    except ValueError:
        return
    failing([equation], Fraction(3))
