"""Programs in answers to puzzles: run on the train pairs, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tasks import ArcTask, QATask
from agents.verifiers.arc import ArcVerifier
from agents.verifiers.programs import Programs

pytestmark = pytest.mark.anyio
# Each row is turned round.
TASK = ArcTask.model_validate(
    {
        "train": [
            {"input": [[1, 2]], "output": [[2, 1]]},
            {"input": [[3, 3]], "output": [[3, 3]]},
            {"input": [[1, 2], [3, 4]], "output": [[2, 1], [4, 3]]},
            {"input": [[5]], "output": [[5]]},
        ],
        "test": [{"input": [[7, 8]]}, {"input": [[9]]}],
    }
)
RIGHT = "def transform(grid):\n    return [row[::-1] for row in grid]"
NO_FUNCTION = "def solve(grid):\n    return grid"


def reply(*programs: str, end: str = "[[[8, 7]], [[9]]]") -> str:
    return "\n".join(["I see.", *(f"```python\n{each}\n```" for each in programs), end])


@pytest.mark.parametrize(
    ("program", "score", "words"),
    [
        (RIGHT, 1.0, "4 of 4 train pairs right"),
        ("import numpy as np\ntransform = lambda grid: np.fliplr(np.array(grid))", 1.0, "4 of 4"),
        ("def transform(grid):\n    return grid", 0.5, "2 of 4 train pairs right; train pair 1: 2 of 2 cells differ"),
        ("def transform(grid):\n    return grid[0][::-1]", 0.0, "train pair 1: expected a list of rows"),
        ("def transform(grid):\n    return [grid[0][::-1]]", 0.75, "train pair 3: the output is 1 x 2, expected 2 x 2"),
        (
            "def transform(grid):\n    if len(grid) > 1: raise ValueError('two rows')\n    return [grid[0][::-1]]",
            0.75,
            "train pair 3: ValueError: two rows",
        ),
        ("def transform(grid):\n    return (", 0.0, "SyntaxError"),
    ],
)
async def test_the_score_is_the_share_of_train_pairs_and_the_first_wrong_one_is_named(
    programs: Programs, program: str, score: float, words: str
) -> None:
    verdict = await ArcVerifier(programs).verify(TASK, reply(program))
    assert verdict is not None
    assert verdict.score == score
    assert words in verdict.detail
    assert "\n" not in verdict.detail


async def test_the_first_block_that_defines_the_function_is_the_program(programs: Programs) -> None:
    verifier = ArcVerifier(programs)
    wrong = "def transform(grid):\n    return grid"
    for blocks, score in (((NO_FUNCTION, RIGHT), 1.0), ((RIGHT, wrong), 1.0), ((wrong, RIGHT), 0.5)):
        verdict = await verifier.verify(TASK, reply(*blocks))
        assert verdict is not None
        assert verdict.score == score


async def test_a_program_that_does_not_end_passes_nothing(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.verifiers import arc
    from runtime.sandbox.base import Limits

    monkeypatch.setattr(arc, "LIMITS", Limits(seconds=0.2))
    verdict = await ArcVerifier(programs).verify(TASK, reply("def transform(grid):\n    while True: pass"))
    assert verdict is not None
    assert verdict.score == 0.0
    assert "time limit" in verdict.detail


async def test_a_program_that_is_too_long_is_not_run(programs: Programs) -> None:
    verdict = await ArcVerifier(programs).verify(TASK, reply(f"{RIGHT}\n#{'x' * 40_000}"))
    assert verdict is not None
    assert (verdict.score, "longer than" in verdict.detail) == (0.0, True)


@pytest.mark.parametrize(
    "text", ["", "[[[8, 7]], [[9]]]", reply(NO_FUNCTION), "def transform(grid): ...", f"<think>{reply(RIGHT)}</think>"]
)
async def test_a_reply_without_a_program_has_no_verdict(programs: Programs, text: str) -> None:
    assert await ArcVerifier(programs).verify(TASK, text) is None


async def test_other_tasks_are_not_its_business(programs: Programs) -> None:
    verifier = ArcVerifier(programs)
    assert await verifier.verify(QATask(question="Who?"), reply(RIGHT)) is None
    assert await verifier.canonical(QATask(question="Who?"), reply(RIGHT)) is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (reply(RIGHT), "[[[8,7]],[[9]]]"),
        ("So: [[[8,7]],\n [[9]]].", "[[[8,7]],[[9]]]"),
        ("<think>[[[1]], [[1]]]</think> [[8, 7]]", "[[[8,7]],null]"),
        ("I do not know.", None),
    ],
)
async def test_answers_are_equal_when_they_submit_equal_grids(programs: Programs, text: str, canonical: Any) -> None:
    assert await ArcVerifier(programs).canonical(TASK, text) == canonical
