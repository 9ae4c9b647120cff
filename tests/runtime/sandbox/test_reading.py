"""Whatever a program writes, the service reads cases, one for each input, and fails for none of it."""

from __future__ import annotations

import json
import signal

from hypothesis import example, given
from hypothesis import strategies as st

from runtime.sandbox import zygote
from runtime.sandbox.base import Case, Level, Limits, Outcome, Program
from runtime.sandbox.harness import ERROR_CHARACTERS
from runtime.sandbox.reading import BROKEN, TOO_LONG
from runtime.sandbox.reading import read as read_all
from runtime.sandbox.worker import Answer

PROGRAMS = [Program("a", "f", (1, 2)), Program("b", "f", (1,)), Program("c", "f", (1, 2, 3))]
GOOD = b'[1, null, null, ""]\n'


def answer(body: bytes, end: bytes = zygote.BY_ITSELF, status: int = 0) -> Answer:
    return Answer(body, end, status, 0.25)


def read(programs: list[Program], said: Answer, level: Level, output_bytes: int = 1000) -> list[tuple[Outcome, bool]]:
    return read_all(programs, said, level, Limits(output_bytes=output_bytes))


WRONG = b'[null, "error", "x", "y"]\n'
pieces = st.sampled_from([b"\x1e", b"\n", GOOD, WRONG, b"[", b'[1,2,3,"\\ud800"]\n', b"1e999", b"\xff"])


@given(body=st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=12).map(b"".join)))
@example(b"[" * 100_000 + b"\n\x1e")
@example(b'{"a":' * 100_000 + b"\n\x1e")
@example(b'[NaN, null, null, ""]\n\x1e')
@example(b"[" + b"9" * 5000 + b', null, null, ""]\n\x1e')
def test_anything_becomes_cases_that_can_be_stored(body: bytes) -> None:
    outcomes = read(PROGRAMS, answer(body), "standard")
    assert 1 <= len(outcomes) <= len(PROGRAMS)
    for program, (outcome, _) in zip(PROGRAMS, outcomes, strict=False):
        assert len(outcome.cases) == len(program.inputs)
        for case in outcome.cases:
            json.dumps([case.value, case.error, case.stdout], allow_nan=False, ensure_ascii=False).encode()


def test_finished_programs_are_told_from_the_one_that_was_cut_off() -> None:
    outcomes = read(PROGRAMS, answer(GOOD * 2 + b"\x1e" + b"", zygote.DEADLINE), "strong")
    assert [whole for _, whole in outcomes] == [True, False]
    assert outcomes[0][0].cases == (Case(value=1), Case(value=1))
    assert outcomes[1][0].cases == (Case(failure="timeout", error="the time limit was reached"),)
    assert outcomes[0][0].cpu_seconds == 0.125


def test_lines_that_are_missing_fail_and_those_too_many_do_not_count() -> None:
    ((outcome, whole),) = read(PROGRAMS[:1], answer(GOOD + b"\x1e"), "standard")
    assert (whole, outcome.cases) == (True, (Case(value=1), BROKEN))
    ((outcome, _),) = read(PROGRAMS[:1], answer(GOOD * 9 + b"\x1e" + GOOD + b"\x1e"), "standard")
    assert outcome.cases == (Case(value=1), Case(value=1))


def test_what_is_longer_than_the_limits_is_cut_or_refused_here_too() -> None:
    def case(*line: object) -> Case:
        body = json.dumps(line, ensure_ascii=False).encode() + b"\n\x1e"
        ((outcome, _),) = read(PROGRAMS[1:2], answer(body), "standard", output_bytes=100)
        return outcome.cases[0]

    assert case("x" * 98, None, None, "") == Case(value="x" * 98)
    assert case("x" * 99, None, None, "") == TOO_LONG
    assert case([[]] * 50, None, None, "") == TOO_LONG
    assert case("é" * 60, None, None, "") == TOO_LONG
    assert case(1, None, None, "é" * 10**6) == Case(value=1, stdout="é" * 100)
    assert case(None, "error", "e" * 10**6, "") == Case(failure="error", error="e" * ERROR_CHARACTERS)


def test_the_end_of_a_child_is_named() -> None:
    def failure(end: bytes, status: int) -> tuple[str | None, str | None]:
        ((outcome, _),) = read(PROGRAMS[1:2], answer(b"", end, status), "standard")
        return outcome.cases[0].failure, outcome.cases[0].error

    assert failure(zygote.FLOOD, 9) == ("output", "more output than the limit")
    assert failure(zygote.BY_ITSELF, signal.SIGSEGV) == ("killed", "the program ended its process: SIGSEGV")
    assert failure(zygote.BY_ITSELF, signal.SIGXCPU) == ("timeout", "the time limit was reached")
    assert failure(zygote.BY_ITSELF, 3 << 8) == ("killed", "the program ended its process")
