"""Code: the tests of a task are run with the first Python block of the answer.

Each test gets the code anew, in a module of its own, so that no test depends on what another has left behind. A test passes
when it ends without an exception. Code and tests share a process, as they do everywhere: this tells working code from
broken code, and not from code that is written to deceive its tests. Source: ours.
"""

from __future__ import annotations

from typing import Final

from agents.tasks import CodeTask, Task
from agents.verifiers.base import Verdict
from agents.verifiers.programs import MAX_SOURCE_CHARS, Programs, blocks_of, shortened, why_failed
from agents.verifiers.text import TextVerifier
from runtime.sandbox.base import Limits, Program

ENTRY: Final = "passes"
# `run` and `build` are bound before the code can put something else in the place of these names.
AROUND: Final = """
import sys
import types

def {entry}(test, code={code!r}, run=exec, build=compile):
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    run(build(code, "<solution>", "exec", dont_inherit=True), module.__dict__)
    run(build(test, "<test>", "exec", dont_inherit=True), module.__dict__)
    return True
"""
# For all tests together; those after one that hangs do not pass.
LIMITS: Final = Limits(seconds=10.0)


class CodeVerifier(TextVerifier):
    """For tasks of kind `code`."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """The share of the tests that pass; the detail names the first that does not."""
        if not isinstance(task, CodeTask) or not task.tests:
            return None
        code = next(iter(blocks_of(text)), None)
        if code is None:
            return Verdict(0.0, "no fenced Python block in the reply")
        if len(code) > MAX_SOURCE_CHARS:
            return Verdict(0.0, f"the code is longer than {MAX_SOURCE_CHARS} characters")
        around = Program(AROUND.format(entry=ENTRY, code=code), ENTRY, tuple(task.tests))
        cases = await self._programs.run(around, LIMITS)
        if cases is None:
            return None
        failing = [
            f"{shortened(test)}: {why_failed(case)}"
            for test, case in zip(task.tests, cases, strict=True)
            if case.value is not True
        ]
        passed = len(cases) - len(failing)
        told = f"{passed} of {len(cases)} tests pass"
        return Verdict(passed / len(cases), f"{told}; {failing[0]}" if failing else told)
