"""Equations in one variable that an answer is put into: read with a small grammar, computed exactly, never run as code.

Text goes through Python's parser for its tree only; a tree with anything but numbers, the variable, + - * / ^ and
parentheses is refused, and so is one whose numbers would grow without end. Source: ours.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

MAX_CHARS = 400
MAX_POWER = 64
MAX_BITS = 20_000
N = TypeVar("N")

WORD = re.compile(r"[A-Za-z]+")
ALLOWED = re.compile(r"[0-9A-Za-z+\-*/^(). ]*")
NUMBER = re.compile(r"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})")
FRACTION = re.compile(
    r"([-+]?)\\[dt]?frac\{([-+]?[0-9]{1,400})\}\{([-+]?[0-9]{1,400})\}|([-+]?[0-9]{1,400})/([0-9]{1,400})"
)

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`, read and found harmless."""

    text: str
    left: ast.expr
    right: ast.expr


def read_equation(text: str, variable: str) -> Equation:
    """Read an equation in `variable`. Raises `ValueError` with the words for whoever wrote it."""
    left, equals, right = text.partition("=")
    if not equals or "=" in right:
        raise ValueError(f"equation {text!r}: expected exactly one '='")
    try:
        return Equation(text, _read(left, variable), _read(right, variable))
    except ValueError as error:
        raise ValueError(f"equation {text!r}: {error}") from error


def number_of(answer: str) -> Fraction | None:
    """An integer, a decimal, `a/b` or `\\frac{a}{b}`; None for anything else."""
    plain = answer.replace(" ", "")
    if NUMBER.fullmatch(plain):
        return Fraction(plain)
    match = FRACTION.fullmatch(plain)
    if match is None:
        return None
    sign, above, below = (match[1] or "", match[2] or match[4], match[3] or match[5])
    if int(below) == 0:
        return None
    value = Fraction(int(above), int(below))
    return -value if sign == "-" else value


def failing(equations: Sequence[Equation], value: Fraction) -> str | None:
    """Why the value does not solve the equations, in words; None when it does."""
    for equation in equations:
        try:
            left, right = (compute(side, value, Fraction) for side in (equation.left, equation.right))
        except ZeroDivisionError:
            return f"{equation.text}: division by zero"
        except ValueError as error:
            return f"{equation.text}: {error}"
        if left != right:
            return f"{equation.text}: the sides are {_short(left)} and {_short(right)}"
    return None


def compute(node: ast.expr, value: N, number: Callable[[Fraction], N]) -> N:
    """The value of a side. `N` is any type of exact numbers, `number` makes one of a constant.

    Raises `ZeroDivisionError`, and `ValueError` for a number that grows too large.
    """
    match node:
        case ast.Constant(value=int() | float() as constant):
            return number(Fraction(str(constant)))
        case ast.Name():
            return value
        case ast.UnaryOp(op=sign, operand=inner):
            result: Any = compute(inner, value, number)
            return -result if isinstance(sign, ast.USub) else result  # type: ignore[no-any-return]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base: Any = compute(left, value, number)
            power = compute(right, Fraction(0), Fraction)
            if power.denominator != 1 or abs(power) > MAX_POWER:
                raise ValueError(f"expected whole powers up to {MAX_POWER}, got {_short(power)}")
            return _bounded(base, abs(int(power))) ** int(power)  # type: ignore[no-any-return]
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](  # type: ignore[no-any-return]
                _bounded(compute(left, value, number)), _bounded(compute(right, value, number))
            )
    raise ValueError(f"not part of the grammar: {ast.dump(node)}")


def _read(text: str, variable: str) -> ast.expr:
    text = text.strip()
    if len(text) > MAX_CHARS:
        raise ValueError(f"expected at most {MAX_CHARS} characters a side, got {len(text)}")
    if not ALLOWED.fullmatch(text):
        raise ValueError(f"expected numbers, {variable}, + - * / ^ and parentheses")
    for word in WORD.findall(text):
        if word != variable:
            raise ValueError(f"{word!r} is not the variable {variable!r}")
    # "3x" and "2(x + 1)" mean a product.
    product = re.sub(rf"(?<=[0-9)])\s*(?=[({variable}])", "*", text).replace("^", "**")
    try:
        tree = ast.parse(product, mode="eval").body
        _admit(tree, variable)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is not an expression") from error
    return tree


def _admit(node: ast.expr, variable: str) -> None:
    match node:
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name) if name == variable:
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            _admit(inner, variable)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            _admit(left, variable)
            _admit(right, variable)
            if any(isinstance(part, ast.Name) for part in ast.walk(right)):
                raise ValueError("the variable cannot be a power")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            _admit(left, variable)
            _admit(right, variable)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not part of the grammar")


def _bounded(number: Any, times: int = 1) -> Any:
    if isinstance(number, Fraction):
        bits = max(number.numerator.bit_length(), number.denominator.bit_length())
        if bits * times > MAX_BITS:
            raise ValueError("a number grows too large")
    return number


def _short(number: object) -> str:
    text = str(number)
    return text if len(text) <= 40 else f"{text[:40]}…"
