"""Samples and retries through the agent, with programs run in the sandbox: check F, and what a sample that fails is told."""

from __future__ import annotations

import json

import pytest

from agents.arc_memo.grids import text_of
from agents.tasks import parse_input
from runtime.errors import InvalidInput
from runtime.events import StepCompleted, ToolCalled, ToolResult
from runtime.llm.scripted import Rule
from tests.agents.arc_memo.puzzles import LUCKY, MIRROR, SAME, Solver, code, detail, opened, puzzle, spec, stored
from tests.agents.empirical_mcts.world import answered

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("arena")]


async def test_a_program_that_passes_is_run_on_the_tests_and_submitted() -> None:
    tests = ([[4, 5, 6]], [[0, 1], [2, 3]])
    async with opened(Solver()) as (trial, model):
        run = await trial.run(spec(input=puzzle(test=tests), config={"samples": 2, "format": "none"}))
        events = await trial.events(run.id)
    right = [[[6, 5, 4]], [[1, 0], [3, 2]]]
    assert run.status == "succeeded"
    assert json.loads(answered(run)) == [[right[0]], [right[1]]]
    told = detail(run)
    assert told["attempts"] == [[right[0]], [right[1]]]
    assert told["depths"] == [told["attempts"]] * 3
    assert told["samples"] == [{"outputs": right, "train": 1.0}] * 2
    assert (told["train"], told["programs"], told["passing"], told["problem"]) == (1.0, 2, 2, "p1")
    assert told["sandbox"] in ("strong", "standard", "reduced")
    assert model.purposes == ["solve", "solve"]
    calls = [e.payload for e in events if isinstance(e.payload, ToolCalled)]
    results = [e.payload for e in events if isinstance(e.payload, ToolResult)]
    assert sorted(call.call_id for call in calls) == [f"run.{n}.0.{name}" for n in (0, 1) for name in ("test", "train")]
    assert all(result.ok for result in results)
    scores = {e.payload.name: e.payload.score for e in events if isinstance(e.payload, StepCompleted)}
    assert scores == {"sample.0": 1.0, "sample.1": 1.0, "choose": 1.0}


async def test_f_a_sample_that_fails_a_pair_is_retried_with_its_wrong_output_and_stops_after_the_last_retry() -> None:
    wrong = "def transform(g):\n    return [row[::-1] for row in g] if g[0][0] == 1 else [[9, 9, 8]]\n"
    async with opened(Solver(solve=lambda a: code(wrong), retry=lambda a: code(SAME))) as (trial, model):
        run = await trial.run(spec(config={"retries": 2, "format": "none"}))
    assert model.purposes == ["solve", "retry", "retry"]
    first, second = model.of("retry")
    assert "Right: example 1." in first.text
    assert f"Example 2 is wrong. The program gave {text_of([[9, 9, 8]])}" in first.text
    assert "The output should be 2 x 2." in first.text
    assert code(wrong, "").strip() in first.text
    # The last attempt only, and the same beginning.
    assert wrong not in second.text
    assert code(SAME, "").strip() in second.text
    assert first.messages[0] == second.messages[0] == model.of("solve")[0].messages[0]
    told = detail(run)
    assert told["train"] == 0.0
    assert told["depths"][0] == [[[[9, 9, 8]]]]
    assert told["depths"][2] == told["attempts"] == [[[[4, 5, 6]]]]


async def test_f_a_program_that_passes_the_train_pairs_is_not_retried_whatever_it_gives_for_the_tests() -> None:
    async with opened(Solver(solve=lambda a: code(LUCKY))) as (trial, model):
        run = await trial.run(spec(config={"format": "none"}))
    assert model.purposes == ["solve"]
    assert detail(run)["attempts"] == [[[[7, 7, 7]]]]


async def test_f_what_a_program_gives_for_the_tests_stands_in_no_prompt() -> None:
    async with opened(Solver(solve=lambda a: code(SAME + "\n# try"), retry=lambda a: code(MIRROR))) as (trial, model):
        task = puzzle(test=([[4, 5, 6], [8, 8, 1]],))
        run = await trial.run(spec(input=task, vaults=("default",), explore=0.0, config={"samples": 2}))
    gold = [[6, 5, 4], [1, 8, 8]]
    assert detail(run)["attempts"][0][0] == gold
    for asked in model.seen:
        assert text_of(gold) not in asked.text
        assert json.dumps(gold) not in asked.text
        assert "1 8 8" not in asked.text
    assert {"solve", "retry", "pseudocode", "abstract"} == set(model.purposes)


def test_h_a_test_output_cannot_even_be_handed_in() -> None:
    task = puzzle()
    task["test"] = [{"input": [[1]], "output": [[2]]}]
    with pytest.raises(InvalidInput, match="output"):
        parse_input(task)


async def test_h_a_program_is_learned_from_for_its_train_pairs_alone() -> None:
    async with opened(Solver(solve=lambda a: code(LUCKY))) as (trial, _):
        await trial.run(spec(vaults=("default",)))
        (cube,) = await stored(trial)
    assert cube.data["used_in"] == ["p1"]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("I do not know.", "There was nothing to run: there is no fenced Python block in the reply."),
        ("```python\ndef transform(g):\n", "There was nothing to run: the code block has no end."),
        (code("x = 1\n"), "There was nothing to run: the program defines no function 'transform'."),
        (code("def transform(g):\n    return 1 / 0\n"), "Example 1 failed: error: "),
        (code("def transform(g):\n    return [[10]]\n"), "no grid: a cell is a whole number from 0 to 9, got 10"),
        (code("def transform(g):\n    return [[[1]]]\n"), "no grid: expected two dimensions, got three or more"),
        (
            code("def transform(g):\n    return 'blue'\n"),
            "no grid: expected a two-dimensional list of numbers, got 'blue'",
        ),
        (code("def transform(g:\n"), "SyntaxError"),
    ],
)
async def test_a_sample_is_told_why_it_failed_and_mended(reply: str, told: str) -> None:
    async with opened(Solver(solve=lambda a: reply, retry=lambda a: code(MIRROR))) as (trial, model):
        run = await trial.run(spec(config={"format": "none"}))
    assert model.purposes == ["solve", "retry"]
    assert told in model.of("retry")[0].text
    assert detail(run)["attempts"] == [[[[6, 5, 4]]]]
    assert detail(run)["depths"][0] == [[]]


async def test_an_endless_loop_is_stopped_and_told() -> None:
    loop = code("def transform(g):\n    while True:\n        pass\n")
    async with opened(Solver(solve=lambda a: loop, retry=lambda a: code(MIRROR))) as (trial, model):
        run = await trial.run(spec(config={"format": "none", "seconds": 0.2}))
    assert "timeout" in model.of("retry")[0].text
    assert detail(run)["train"] == 1.0


async def test_an_empty_reply_is_an_attempt_that_failed() -> None:
    empty = Rule(fault="empty")
    async with opened(Solver(solve=lambda a: empty, retry=lambda a: code(MIRROR))) as (trial, model):
        run = await trial.run(spec(config={"format": "none"}))
    assert run.status == "succeeded"
    assert "There was nothing to run: scripted model: empty reply." in model.of("retry")[0].text


async def test_a_program_that_fails_everywhere_is_not_run_on_the_tests() -> None:
    broken = code("def transform(g):\n    raise ValueError('no')\n")
    async with opened(Solver(solve=lambda a: broken)) as (trial, _):
        run = await trial.run(spec(config={"format": "none", "retries": 0}))
        events = await trial.events(run.id)
    assert [e.payload.call_id for e in events if isinstance(e.payload, ToolCalled)] == ["run.0.0.train"]
    assert [e.payload.ok for e in events if isinstance(e.payload, ToolResult)] == [False]
    assert detail(run)["attempts"] == [[]]
    assert json.loads(answered(run)) == [[]]


@pytest.mark.parametrize(
    ("config", "shown", "hidden"),
    [
        ({"num_feedback_passes": -1}, ["# one", "# two"], []),
        ({"num_feedback_passes": 0}, [], ["# one", "# two"]),
        ({}, ["# two", "Example 1 is wrong. The program gave", "Example 2 is wrong."], ["# one"]),
        ({"error_feedback": "first"}, ["Example 1 is wrong."], ["Example 2 is wrong."]),
        ({"include_past_outcomes": False}, ["Example 2 is wrong."], ["The program gave"]),
    ],
)
async def test_the_options_say_what_a_retry_is_told(
    config: dict[str, object], shown: list[str], hidden: list[str]
) -> None:
    solver = Solver(solve=lambda a: code(SAME + "# one\n"), retry=lambda a: code(SAME + "# two\n"))
    async with opened(solver) as (trial, model):
        await trial.run(spec(config={"format": "none", "retries": 2, **config}))
    text = model.of("retry")[1].text
    assert [part for part in shown if part not in text] == []
    assert [part for part in hidden if part in text] == []


async def test_each_sample_and_each_retry_has_a_seed_of_its_own() -> None:
    async with opened(Solver(solve=lambda a: code(SAME))) as (trial, model):
        await trial.run(spec(seed=100, config={"format": "none", "samples": 3, "retries": 2}))
    assert sorted(asked.seed for asked in model.of("solve", "retry")) == list(range(100, 109))
