"""The process in which symbolic comparison runs, because it can hang: it is killed at the limit and replaced.

Reads one JSON request per line, answers one JSON line. `equal`: do two answers mean the same (math-verify)? `check`: do
equations hold when a number is put in? Text is parsed by a small grammar over Python's expression tree, or by
math-verify's LaTeX parser; nothing of it is ever evaluated as code. Source: evaluation sheet §3.2.
"""

from __future__ import annotations

import ast
import operator
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import orjson

BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
MAX_POWER = 64


def evaluate(text: str, variable: str, value: Fraction) -> Fraction:
    """An expression of numbers, the variable, + - * / ^ and parentheses. Raises `ValueError` for anything else."""
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"not an expression: {text!r}") from error
    return _value(tree.body, variable, value)


def _value(node: ast.expr, variable: str, value: Fraction) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Fraction(str(number))
        case ast.Name(id=name) if name == variable:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, variable, value)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, variable, value)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            power = _value(right, variable, value)
            if power.denominator != 1 or abs(power) > MAX_POWER:
                raise ValueError("only whole powers up to 64")
            return _value(left, variable, value) ** int(power)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return BINARY[type(op)](_value(left, variable, value), _value(right, variable, value))
    raise ValueError(f"not allowed in an equation: {ast.unparse(node)!r}")


def number_of(text: str) -> Fraction | None:
    """An integer, decimal or simple fraction; also `\\frac{a}{b}`."""
    plain = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace(" ", "")
    if plain.startswith("\\frac{") and plain.endswith("}") and "}{" in plain:
        plain = plain[len("\\frac{") : -1].replace("}{", "/")
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def check(equations: list[str], variable: str, answer: str) -> dict[str, Any]:
    """Put the answer into every equation."""
    value = number_of(answer.partition("=")[2] or answer)
    if value is None:
        return {"ok": False, "detail": f"{answer!r} is not a number"}
    for equation in equations:
        left, equals, right = equation.partition("=")
        if not equals or "=" in right:
            return {"error": f"equation {equation!r}: expected exactly one '='"}
        try:
            a, b = evaluate(left.strip(), variable, value), evaluate(right.strip(), variable, value)
        except ZeroDivisionError:
            return {"ok": False, "detail": f"{equation}: division by zero at {variable} = {value}"}
        except (ValueError, RecursionError, MemoryError) as error:
            return {"error": f"equation {equation!r}: {error}"}
        if a != b:
            return {"ok": False, "detail": f"{equation}: {a} is not {b} at {variable} = {value}"}
    return {"ok": True, "detail": f"holds at {variable} = {value}"}


def equal(gold: str, answer: str) -> dict[str, Any]:
    """Do the two mean the same? math-verify's own time limits need signals of the main thread; ours is the parent."""
    from math_verify import parse, verify

    parsed = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
    return {"ok": bool(verify(parsed[0], parsed[1], timeout_seconds=None))}


def main() -> None:
    """Serve the parent until it closes the pipe."""
    for line in sys.stdin.buffer:
        request = orjson.loads(line)
        try:
            if request["op"] == "check":
                reply = check(request["equations"], request["variable"], request["answer"])
            else:
                reply = equal(request["gold"], request["answer"])
        except Exception as error:  # noqa: BLE001 - the process boundary: sympy raises anything; the parent gets the words
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.buffer.write(orjson.dumps(reply) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
