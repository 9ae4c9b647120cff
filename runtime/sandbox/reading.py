"""From what a child wrote to outcomes. The bytes may be anything: what is not the lines we expect is a failed case.

The limits are applied again here: those that the harness applies, a program can have taken away. How long all of it can
be is decided before, in `Job.most_bytes`.

Source: ours.
"""

from __future__ import annotations

import json
import math
import os
import signal
from typing import Final, NoReturn, get_args

from pydantic import JsonValue

from runtime.sandbox import harness, zygote
from runtime.sandbox.base import Case, Failure, Level, Limits, Outcome, Program
from runtime.sandbox.worker import Answer

# Deeper values than this break those who work with them later.
DEEPEST: Final = 64
FAILURES: Final = frozenset(get_args(Failure))
TOO_LONG: Final = Case(failure="output", error="the returned value is longer than the output limit")
BROKEN: Final = Case(failure="error", error="the program wrote something else than its result")


def read(programs: list[Program], answer: Answer, level: Level, limits: Limits) -> list[tuple[Outcome, bool]]:
    """The outcome of each program that was begun, and whether it was finished; those after it did not run."""
    *finished, rest = answer.body.split(harness.DONE)
    finished = finished[: len(programs)]
    cpu = answer.cpu_seconds / min(len(finished) + 1, len(programs))
    outcomes = [
        (Outcome(_cases(part, len(program.inputs), BROKEN, limits), level, cpu), True)
        for program, part in zip(programs, finished, strict=False)
    ]
    if len(outcomes) < len(programs):
        cases = _cases(rest, len(programs[len(outcomes)].inputs), _ended(answer), limits)
        outcomes.append((Outcome(cases, level, cpu), False))
    return outcomes


def _cases(part: bytes, wanted: int, missing: Case, limits: Limits) -> tuple[Case, ...]:
    lines = part.split(b"\n", wanted)[:-1]
    return tuple(_case(line, limits.output_bytes) for line in lines) + (missing,) * (wanted - len(lines))


def _case(line: bytes, output_bytes: int) -> Case:
    try:
        value, failure, error, stdout = json.loads(line.decode(), parse_constant=_no_constant, parse_float=_finite)
        if line.count(b"[") + line.count(b"{") > DEEPEST and _deeper(value, DEEPEST):
            return Case(failure="error", error=f"the returned value is nested deeper than {DEEPEST}")
        if b"\\u" in line:
            # Half of a surrogate pair is no text, and cannot be stored.
            json.dumps([value, error, stdout], ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return BROKEN
    known = failure is None or (isinstance(failure, str) and failure in FAILURES)
    if not known or not isinstance(error, str | None) or not isinstance(stdout, str):
        return BROKEN
    if failure is not None:
        value = None
    elif len(line) > output_bytes and len(json.dumps(value, ensure_ascii=False).encode()) > output_bytes:
        return TOO_LONG
    error = error if error is None else error[: harness.ERROR_CHARACTERS]
    return Case(value=value, failure=failure, error=error, stdout=stdout[:output_bytes])


def _ended(answer: Answer) -> Case:
    """The case that stands for what a child could not report any more."""
    if answer.end == zygote.DEADLINE:
        return Case(failure="timeout", error="the time limit was reached")
    if answer.end == zygote.FLOOD:
        return Case(failure="output", error="more output than the limit")
    if os.WIFSIGNALED(answer.status):
        number = os.WTERMSIG(answer.status)
        if number == signal.SIGXCPU:
            return Case(failure="timeout", error="the time limit was reached")
        return Case(failure="killed", error=f"the program ended its process: {signal.Signals(number).name}")
    return Case(failure="killed", error="the program ended its process")


def _deeper(value: JsonValue, left: int) -> bool:
    if isinstance(value, dict):
        return left == 0 or any(_deeper(item, left - 1) for item in value.values())
    return isinstance(value, list) and (left == 0 or any(_deeper(item, left - 1) for item in value))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
