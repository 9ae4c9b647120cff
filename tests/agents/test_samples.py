"""Drawing side by side: how many at a time, with which seeds and temperature, and choosing among what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from agents.self_consistency.agent import majority
from runtime.budget import Budget
from runtime.errors import ModelOverloaded
from runtime.events import LlmCall, ReasoningDelta, RunFinished, StepCompleted
from runtime.llm.scripted import Rule
from runtime.runs import RunSpec
from runtime.types import JsonObject
from tests.trial import Call, completed, open_trial, story, text_of

pytestmark = pytest.mark.anyio

MATH = {"kind": "math", "problem": "3x + 4 = 19?", "check": {"equations": ["3*x+4=19"]}}


def sc(n: int, **rest: object) -> RunSpec:
    return RunSpec(agent="self-consistency", input="How many?", seed=0, config={"n": n}, **rest)  # type: ignore[arg-type]


def bon(n: int, **rest: object) -> RunSpec:
    defaults: dict[str, Any] = {"input": "How many?", "seed": 0}
    return RunSpec(agent="best-of-n", config={"n": n}, **{**defaults, **rest})


def boxed(*answers: str) -> Rule:
    return Rule(purpose="*.answer", replies=tuple(f"I say {a}" if a == "none" else f"\\boxed{{{a}}}" for a in answers))


# -- majority ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        (["5", "5", "7", None], 0),
        (["7", "5", "5"], 1),
        (["7", "5", "5", "7"], 0),
        ([None, None, "5"], 2),
        ([None, None], 0),
        (["5"], 0),
    ],
)
def test_the_majority_is_the_first_of_the_most_frequent_and_missing_answers_do_not_vote(
    answers: list[str | None], first: int
) -> None:
    assert majority(answers)[0] == first


async def test_self_consistency_answers_with_the_majority_and_says_how_the_votes_fell(tmp_path: Path) -> None:
    spec = RunSpec(agent="self-consistency", input={"kind": "math", "problem": "?"}, seed=0, config={"n": 4})
    async with open_trial(tmp_path, boxed("5", "7", "07", "none")) as trial:
        record = await trial.run(spec)
        events = await trial.events(record.id)
    assert record.output == {
        "text": "\\boxed{7}",
        "finish_reason": "stop",
        "detail": {"chosen": 1, "answer": "7", "votes": {"5": 1, "7": 2}, "without_answer": 1},
    }
    assert [e.payload.score for e in events if isinstance(e.payload, StepCompleted)][-1] == 0.5


# -- drawing -----------------------------------------------------------------------------------------------------------


async def test_each_answer_has_its_own_seed_and_the_agents_temperature(tmp_path: Path) -> None:
    async with open_trial(tmp_path) as trial:
        await trial.run(sc(3))
        await trial.run(sc(2, sampling={"temperature": 0.1, "max_tokens": 9, "top_k": 4}))
    first, second = trial.llm.calls[:3], trial.llm.calls[3:]
    assert sorted(call.sampling.seed or 0 for call in first) == [0, 1, 2]
    assert {call.sampling.temperature for call in first} == {0.7}
    assert {(c.sampling.temperature, c.sampling.max_tokens, c.sampling.extra) for c in second} == {
        (0.1, 9, (("top_k", 4),))
    }


async def test_answers_are_drawn_side_by_side_up_to_the_limit(tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(reply="one two three", delay_ms=5)) as trial:
        await trial.run(sc(6))
        assert trial.llm.most_at_once == 6
    async with open_trial(tmp_path / "b", Rule(reply="one two three", delay_ms=5)) as trial:
        await trial.run(RunSpec(agent="self-consistency", input="x", seed=0, config={"n": 6, "at_once": 2}))
        assert trial.llm.most_at_once == 2


async def test_with_a_limit_of_tokens_they_are_drawn_one_by_one(tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(reply="one two three", delay_ms=5)) as trial:
        record = await trial.run(sc(4, budget=Budget(tokens=10_000)))
    assert record.status == "succeeded"
    assert trial.llm.most_at_once == 1


async def test_every_answer_is_shown_as_reasoning_and_only_the_chosen_one_as_text(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("1", "2", "2")) as trial:
        record = await trial.run(sc(3))
        events = await trial.events(record.id)
    shown = {e.step: e.payload.text for e in events if isinstance(e.payload, ReasoningDelta)}
    assert shown == {"answer.0": "\\boxed{1}", "answer.1": "\\boxed{2}", "answer.2": "\\boxed{2}"}
    assert text_of(events) == "\\boxed{2}"
    assert sorted(completed(events)) == ["answer.0", "answer.1", "answer.2", "choose"]


async def test_one_answer_that_fails_fails_the_run_and_a_resumed_one_draws_only_what_is_missing(tmp_path: Path) -> None:
    async def third_fails(call: Call) -> None:
        if call.sampling.seed == 2:
            raise ModelOverloaded("scripted", status=500)

    async with open_trial(tmp_path, boxed("1", "2", "2")) as trial:
        trial.llm.before = third_fails
        record = await trial.run(RunSpec(agent="self-consistency", input="x", seed=0, config={"n": 3, "at_once": 1}))
        assert record.status == "failed"
        assert len(trial.llm.calls) == 3
        trial.llm.before = None
        await trial.store.requeue(record.id)
        record = await trial.go_on(record.id)
    assert record.status == "succeeded"
    assert [call.sampling.seed for call in trial.llm.calls] == [0, 1, 2, 2]


# -- budgets -----------------------------------------------------------------------------------------------------------


async def test_a_budget_that_ends_in_between_answers_with_what_there_is(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("1", "2", "2", "2")) as trial:
        record = await trial.run(sc(4, budget=Budget(calls=3)))
        events = await trial.events(record.id)
        assert record.status == "budget_exhausted"
        assert record.output == {
            "text": "\\boxed{2}",
            "finish_reason": "stop",
            "detail": {"chosen": 1, "answer": "2", "votes": {"1": 1, "2": 2}, "without_answer": 0},
        }
        assert text_of(events) == "\\boxed{2}"
        end = events[-1].payload
        assert isinstance(end, RunFinished)
        assert end.reason == "budget used up: 3 of 3 calls; the answer is chosen from 3 of 4"
        # The choice was not final: the resumed run makes it anew, and the log shows the new one only.
        await trial.store.requeue(record.id, budget=Budget(calls=8))
        record = await trial.go_on(record.id)
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert isinstance(record.output, dict)
    assert record.output["detail"]["votes"] == {"1": 1, "2": 3}  # type: ignore[index,call-overload]
    assert text_of(events) == "\\boxed{2}"
    assert len(trial.llm.calls) == 4


async def test_a_budget_that_ends_before_the_judge_answers_with_the_first(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("1", "2")) as trial:
        record = await trial.run(bon(2, budget=Budget(calls=2)))
    assert record.status == "budget_exhausted"
    assert record.output == {"text": "\\boxed{1}", "finish_reason": "stop"}


async def test_a_budget_that_ends_in_the_first_answer_leaves_none(tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(reply="x " * 50, delay_ms=50)) as trial:
        record = await trial.run(sc(2, budget=Budget(seconds=0.2)))
    assert record.status == "budget_exhausted"
    assert record.output is None


# -- choosing ----------------------------------------------------------------------------------------------------------


async def test_the_checker_takes_the_first_that_holds_and_no_judge_is_asked(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("4", "none", "5", "5.0")) as trial:
        record = await trial.run(bon(4, input=MATH))
        events = await trial.events(record.id)
    assert isinstance(record.output, dict)
    assert record.output["text"] == "\\boxed{5}"
    assert record.output["detail"] == {
        "by": "verifier",
        "chosen": 2,
        "why": "boxed: holds at x = 5",
        "scores": [0.0, 0.0, 1.0, 1.0],
    }
    assert {call.purpose for call in trial.llm.calls} == {"best_of_n.answer"}
    told = story(events)["answer.0"][-1]
    assert told == (
        "step.completed",
        {
            "name": "answer.0",
            "score": 0.0,
            "detail": {"canonical": "4", "verdict": "boxed: 3*x+4=19: the sides are 16 and 19"},
        },
    )


async def test_without_a_checker_the_judge_names_the_best_of_a_shuffled_list(tmp_path: Path) -> None:
    said: JsonObject = {"reason": "It is right.", "best": 1}
    async with open_trial(tmp_path, boxed("1", "2", "3"), Rule(purpose="eval.judge", json=said)) as trial:  # type: ignore[call-arg]
        chosen = [await trial.run(bon(3, seed=seed)) for seed in range(6)]
    judged = [call for call in trial.llm.calls if call.purpose == "eval.judge"]
    for call, record in zip(judged, chosen, strict=True):
        assert isinstance(record.output, dict)
        first = call.messages[0].text.split("--- answer 1 ---\n")[1].split("\n")[0]
        assert record.output["text"] == first
        assert record.output["detail"]["by"] == "judge"  # type: ignore[index,call-overload]
        assert call.schema is not None
        assert call.schema.name == "eval_judge"
        assert call.schema.schema["properties"]["best"]["maximum"] == 3  # type: ignore[index,call-overload]
    assert len({record.output["detail"]["chosen"] for record in chosen}) > 1  # type: ignore[index,call-overload]


async def test_a_judge_that_names_an_answer_there_is_not_is_asked_again(tmp_path: Path) -> None:
    wrong = Rule(purpose="eval.judge", reply='{"reason": "mm", "best": 9}')
    right = Rule(purpose="eval.judge", contains="cannot be used", reply='{"reason": "yes", "best": 2}')
    async with open_trial(tmp_path, boxed("1", "2"), right, wrong) as trial:
        record = await trial.run(bon(2))
    assert record.status == "succeeded"
    assert [call.purpose for call in trial.llm.calls][2:] == ["eval.judge", "eval.judge"]


async def test_a_judge_that_never_makes_sense_fails_the_run_and_keeps_the_answers(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("1", "2"), Rule(purpose="eval.judge", reply="Hm.")) as trial:
        record = await trial.run(bon(2))
        events = await trial.events(record.id)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] == "malformed_reply"
    assert sorted(completed(events)) == ["answer.0", "answer.1"]


async def test_a_single_answer_needs_no_judge(tmp_path: Path) -> None:
    async with open_trial(tmp_path, boxed("1")) as trial:
        record = await trial.run(bon(1))
        events = await trial.events(record.id)
    assert isinstance(record.output, dict)
    assert record.output["detail"]["by"] == "only answer"  # type: ignore[index,call-overload]
    assert sum(isinstance(e.payload, LlmCall) for e in events) == 1


async def test_an_answer_that_fails_stops_the_others_before_the_run_ends(tmp_path: Path) -> None:
    async def first_fails(call: Call) -> None:
        if call.sampling.seed == 0:
            while trial.llm.under_way < 4:
                await anyio.lowlevel.checkpoint()
            raise ModelOverloaded("scripted", status=500)

    async with open_trial(tmp_path, Rule(fault="hang")) as trial:
        trial.llm.before = first_fails
        with anyio.fail_after(10):
            record = await trial.run(sc(4))
        assert record.status == "failed"
        assert trial.llm.under_way == 0
