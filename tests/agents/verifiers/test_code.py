"""The tests of a task are run with the code of an answer."""

from __future__ import annotations

import pytest

from agents.tasks import CodeTask, QATask
from agents.verifiers import code
from agents.verifiers.code import CodeVerifier
from agents.verifiers.programs import Programs
from runtime.sandbox.base import Limits

pytestmark = pytest.mark.anyio
TASK = CodeTask(
    task="Write double(x).",
    tests=["assert double(3) == 6", "import math\nassert double(math.inf) == math.inf", "assert double('a') == 'aa'"],
)


def reply(source: str) -> str:
    return f"Here it is:\n```python\n{source}\n```\nUse it so:\n```python\ndouble('no')\n```"


@pytest.mark.parametrize(
    ("source", "score", "words"),
    [
        ("def double(x):\n    return 2 * x", 1.0, "3 of 3 tests pass"),
        ("def double(x):\n    return x + 2", 1 / 3, "1 of 3 tests pass; assert double(3) == 6: AssertionError"),
        ("def double(x):\n    return 2.0 * x", 2 / 3, "assert double('a') == 'aa': TypeError"),
        ("def twice(x):\n    return 2 * x", 0.0, "NameError: name 'double' is not defined"),
        ("def double(x) return", 0.0, "SyntaxError"),
        ("import sys\nsys.exit(0)", 0.0, "SystemExit"),
        ("exec = compile = print\ndef double(x):\n    return 0", 0.0, "AssertionError"),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
            "def double(x):\n    return A(2 * x).x",
            1.0,
            "3 of 3",
        ),
        ("def double(x):\n    return 2 * x\nif __name__ == '__main__':\n    raise ValueError", 1.0, "3 of 3"),
        ('s = \'{code}{{}}\\n"""\'\ndef double(x):\n    print(s)\n    return 2 * x', 1.0, "3 of 3"),
    ],
)
async def test_the_score_is_the_share_of_tests_that_pass_and_the_first_other_one_is_named(
    programs: Programs, source: str, score: float, words: str
) -> None:
    verdict = await CodeVerifier(programs).verify(TASK, reply(source))
    assert verdict is not None
    assert verdict.score == pytest.approx(score), verdict.detail
    assert words in verdict.detail
    assert "\n" not in verdict.detail


async def test_no_test_sees_what_another_has_left(programs: Programs) -> None:
    task = CodeTask(task="a list", tests=["made.append(1)\nassert made == [1]"] * 2 + ["assert solution_is_new"])
    verdict = await CodeVerifier(programs).verify(
        task, "```\nmade = []\nsolution_is_new = 'left' not in globals()\n```"
    )
    assert verdict is not None
    assert verdict.score == 1.0


async def test_a_test_that_hangs_ends_the_check(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LIMITS", Limits(seconds=0.3))
    task = CodeTask(task="t", tests=["assert True", "while True: pass", "assert True"])
    verdict = await CodeVerifier(programs).verify(task, "```python\nx = 1\n```")
    assert verdict is not None
    assert verdict.score == pytest.approx(1 / 3)
    assert "while True: pass: the time limit" in verdict.detail


async def test_without_tests_there_is_no_verdict_and_without_code_nothing_passes(programs: Programs) -> None:
    verifier = CodeVerifier(programs)
    assert await verifier.verify(CodeTask(task="Write double(x)."), reply("double = 1")) is None
    assert await verifier.verify(QATask(question="Who?"), reply("double = 1")) is None
    for text in ("I cannot.", "```rust\nfn main() {}\n```", reply(f"#{'x' * 40_000}")):
        verdict = await verifier.verify(TASK, text)
        assert verdict is not None
        assert verdict.score == 0.0
