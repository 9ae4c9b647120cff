"""The process in which symbolic mathematics runs, because that can hang: it is killed at the limit and replaced.

Reads one JSON request per line, answers one JSON line. `equal`: do two answers mean the same (math-verify)? `solves`:
do equations hold when an answer such as `\\sqrt{2}` is put in? `warm`: import everything. Model text is parsed by
math-verify's LaTeX grammar only; its other reader evaluates text as Python, so it is never asked. Source: evaluation
sheet §3.2; ours.
"""

from __future__ import annotations

import logging
import resource
import signal
import sys
from fractions import Fraction
from typing import Any

import orjson

from agents.equations import compute, read_equation

# A second lock behind the parent's limit: a worker whose parent was killed must not go on for ever.
ALARM_S = 70
MEMORY_BYTES = 2 << 30
MAX_REPLY_CHARS = 400


def read_latex(text: str) -> list[Any]:
    """The readings of an answer: sympy objects, and its text. Empty when there is none."""
    from math_verify import LatexExtractionConfig, parse

    return list(parse(f"\\boxed{{{text}}}", extraction_config=[LatexExtractionConfig()], parsing_timeout=None))


def equal(gold: str, answer: str) -> dict[str, Any]:
    """Do the two mean the same? math-verify's own time limits are off: the parent's limit is the one that holds."""
    from math_verify import verify

    return {"ok": bool(verify(read_latex(gold), read_latex(answer), timeout_seconds=None))}


def solves(equations: list[str], variable: str, answer: str) -> dict[str, Any]:
    """Put a symbolic answer into every equation."""
    import sympy

    value = next((r for r in read_latex(answer) if isinstance(r, sympy.Expr) and r.is_number), None)
    if value is None:
        return {"ok": False, "detail": f"{answer!r} is not a number"}

    def number(constant: Fraction) -> sympy.Expr:
        return sympy.Rational(constant.numerator, constant.denominator)

    for text in equations:
        equation = read_equation(text, variable)
        difference = compute(equation.left, value, number) - compute(equation.right, value, number)
        if sympy.simplify(difference) != 0:
            return {"ok": False, "detail": f"{text}: the sides differ at {variable} = {value}"}
    return {"ok": True, "detail": f"holds at {variable} = {value}"}


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
    match request["op"]:
        case "equal":
            return equal(request["gold"], request["answer"])
        case "solves":
            return solves(request["equations"], request["variable"], request["answer"])
        case _:
            read_latex("1")
            return {"ok": True}


def main() -> None:
    """Serve the parent until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    for line in sys.stdin.buffer:
        signal.alarm(ALARM_S)
        try:
            reply = reply_to(orjson.loads(line))
        except Exception as error:  # noqa: BLE001 - the process boundary: sympy raises anything; the parent gets the words
            reply = {"error": f"{type(error).__name__}: {error}"}
        signal.alarm(0)
        short = {key: v[:MAX_REPLY_CHARS] if isinstance(v, str) else v for key, v in reply.items()}
        sys.stdout.buffer.write(orjson.dumps(short) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
