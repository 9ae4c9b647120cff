"""Whole runs: what programs do outranks what a judge thinks of them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from agents.runner import Runner
from runtime.events import StepCompleted
from runtime.llm.pool import LLMs
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.runs import RunSpec
from runtime.types import JsonObject
from tests.agents.empirical_mcts.world import Model, answered, detail, judging_each, spec, tree
from tests.trial import OneModel, Trial, Watched, open_trial

pytestmark = pytest.mark.anyio
# Every number goes up by one.
ARC: JsonObject = {
    "kind": "arc",
    "train": [
        {"input": [[1]], "output": [[2]]},
        {"input": [[3]], "output": [[4]]},
        {"input": [[5]], "output": [[6]]},
        {"input": [[7]], "output": [[8]]},
    ],
    "test": [{"input": [[2]]}],
}
CODE: JsonObject = {
    "kind": "code",
    "task": "Write double(x).",
    "tests": ["assert double(3) == 6", "assert double(2) == 4"],
}


@pytest.fixture(scope="module")
async def trial(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> AsyncIterator[Trial]:
    home = tmp_path_factory.mktemp("trial")
    shutil.copy(migrated_file, home)
    async with open_trial(home) as trial:
        yield trial


def asking(trial: Trial, script: Script) -> Trial:
    """The trial with a model of one's own."""
    trial.llm = Watched(Scripted("watched", script))
    trial.parts = replace(trial.parts, llms=cast(LLMs, OneModel(trial.llm)))
    trial.runner = Runner(trial.parts)
    return trial


def fenced(program: str, end: str = "") -> str:
    return f"```python\n{program}\n```\n{end}"


def solving(known: Sequence[int]) -> str:
    """A reply whose program is right on the inputs that are named."""
    program = f"def transform(grid):\n    return [[grid[0][0] + (grid[0][0] in {list(known)})]]"
    return fenced(program, f"[[[{len(known)}]]]")


def disliking(*right: int) -> Model:
    """It writes programs that are right on so many pairs, one after the other, and prefers the one that is right on the
    fewest."""
    replies = [solving([1, 3, 5, 7][:count]) for count in right]

    def worth(answer: str) -> float:
        return 9 - 2 * int(answer[-4])

    return Model(generate=lambda asked: replies[asked.number], judge=judging_each(worth))


async def test_a_program_that_passes_ends_the_search_and_is_given(trial: Trial) -> None:
    model = disliking(0, 1, 4, 0)
    run = await asking(trial, model).run(spec(input=ARC, config={"profile": "evidence"}))
    events = await trial.events(run.id)
    nodes = tree("evidence", events)["nodes"]
    told = detail(run)
    assert answered(run) == solving([1, 3, 5, 7])
    assert (told["by"], told["stopped"], told["best"]) == ("verifier", "verified", 2)
    assert [node["objective"] for node in nodes] == [0.0, 0.25, 1.0]
    assert nodes[2]["final"] == "[[[4]]]"
    told_of = [event.payload.detail for event in events if isinstance(event.payload, StepCompleted)]
    verdicts = [each["verdict"] for each in told_of if isinstance(each, dict) and "verdict" in each]
    assert "program: 1 of 4 train pairs right; train pair 2: 1 of 1 cells differ" in verdicts
    assert all("`transform(grid)`" in asked.text for asked in model.of("generate"))


async def test_the_program_that_is_right_on_most_pairs_is_given_whatever_the_judge_prefers(trial: Trial) -> None:
    config = {"profile": "evidence", "rollouts": 3, "stop_at": 1.0}
    run = await asking(trial, disliking(0, 3, 1, 2)).run(spec(input=ARC, config=config))
    assert answered(run) == solving([1, 3, 5])
    assert detail(run)["by"] == "mass"


async def test_best_of_n_takes_the_code_that_passes_most_tests_and_asks_no_judge(trial: Trial) -> None:
    replies = ["I cannot.", fenced("def double(x):\n    return x + 3"), fenced("def double(x):\n    return 2 * x")]
    rule = Script((Rule(purpose="*.answer", replies=tuple(replies)),))
    run = await asking(trial, rule).run(RunSpec(agent="best-of-n", input=CODE, seed=0, config={"n": 3}))
    assert answered(run) == replies[2]
    told = detail(run)
    assert (told["by"], told["scores"], told["why"]) == ("verifier", [0.0, 0.5, 1.0], "2 of 2 tests pass")
    assert {call.purpose for call in trial.llm.calls} == {"best_of_n.answer"}
    assert all("assert double(3) == 6" in call.messages[-1].text for call in trial.llm.calls)
