"""Acceptance check H: budgets, crashes, cancelling, failures, counts of calls, and the same story for the same seed."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio
import pytest
from sqlalchemy import update

from runtime.budget import Budget
from runtime.events import RunFinished
from runtime.llm.scripted import Rule
from runtime.runs import RunRecord
from runtime.tables import Run
from tests.agents.empirical_mcts.world import (
    Asked,
    Model,
    add_all,
    answered,
    detail,
    judgement,
    learning,
    purposes,
    search,
    spec,
    stored,
    tree,
)
from tests.trial import Call, Trial, story, text_of

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("profile", ["published", "robust"])
ALL = pytest.mark.parametrize("profile", ["published", "robust", "evidence"])
MEMORY = re.compile(r"mem_[0-9a-f]{32}")


def learner() -> Model:
    """Scores by the answers, writes prompts, and learns a lesson from each answer; the same for the same request."""

    def generate(asked: Asked) -> str:
        return f"answer {asked.seed}"

    def judge(asked: Asked) -> str:
        one, two = (int(answer.split()[-1]) * 37 % 10 + 1 for answer in asked.answers)
        newest = max(asked.answers)
        return judgement(one, two, (f"Remember what made {newest} what it is",), f"Prompt after {newest}.")

    return Model(generate=generate, judge=judge, memory=add_all)


async def outcome(trial: Trial, run: RunRecord) -> tuple[Any, list[Any], set[str], str]:
    """What is the same for a run that was never interrupted: output, tree, experiences, and the text that was read.

    Ids of new memories are made by chance; they are called by their number here.
    """
    events = await trial.events(run.id)
    told = tree(detail(run)["profile"], events)
    known: dict[str, str] = {}
    text = MEMORY.sub(lambda found: known.setdefault(found.group(), f"mem_{len(known)}"), json.dumps(told))
    return run.output, json.loads(text), {cube.content for cube in await stored(trial)}, text_of(events)


# -- counts ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("rollouts", [0, 1, 4])
async def test_h_the_calls_are_as_many_as_the_sheet_says(rollouts: int, profile: str) -> None:
    async with search(learner()) as (trial, _):
        config: dict[str, Any] = {"profile": profile, "rollouts": rollouts}
        run = await trial.run(learning(config=config))
        assert len(trial.llm.calls) == 2 + 3 * rollouts
        trial.llm.calls.clear()
        await trial.run(learning(input="Something else?", config={**config, "memory_when": "question"}))
        assert len(trial.llm.calls) == (3 + 2 * rollouts if rollouts else 2)
    assert detail(run)["rollouts"] == rollouts
    assert {purpose: part.calls for purpose, part in run.usage.items()} == {
        "empirical_mcts.role": 1,
        "empirical_mcts.generate": 1 + rollouts,
        **({f"empirical_mcts.{name}": rollouts for name in ("judge", "memory")} if rollouts else {}),
    }


# -- the same story ----------------------------------------------------------------------------------------------------


@ALL
async def test_h_the_same_seed_tells_the_same_story(profile: str) -> None:
    told = []
    async with search(learner()) as (trial, _):
        for seed in (3, 3, 4):
            run = await trial.run(spec(config={"profile": profile, "rollouts": 5, "stop_at": 1.0}, seed=seed))
            events = await trial.events(run.id)
            told.append((story(events), text_of(events), run.output))
    assert json.dumps(told[0], default=str) == json.dumps(told[1], default=str)
    assert told[0] != told[2]


# -- budgets -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("calls", [6, 7])
async def test_h_a_budget_for_one_and_a_half_rollouts_gives_the_result_of_one(calls: int, profile: str) -> None:
    async with search(learner()) as (trial, _):
        one = await trial.run(learning(config={"profile": profile, "rollouts": 1}))
        run = await trial.run(
            learning(input="How many apples are there?", config={"profile": profile}, budget=Budget(calls=calls))
        )
        events = await trial.events(run.id)
        assert len(trial.llm.calls) == 5 + calls
    assert run.status == "budget_exhausted"
    assert answered(run) == answered(one)
    told, expected = detail(run), detail(one)
    assert (told["ranking"], told["nodes"], told["stopped"]) == (expected["ranking"], 2, "budget")
    assert len(tree(profile, events)["nodes"]) == 2
    end = events[-1].payload
    assert isinstance(end, RunFinished)
    assert end.reason == "budget used up (calls): the answer is the best of 2, after 1 rollouts"
    assert text_of(events) == answered(run)


@BOTH
async def test_h_more_budget_goes_on_where_it_ended(profile: str) -> None:
    async with search(learner()) as (trial, _):
        run = await trial.run(learning(config={"profile": profile, "rollouts": 4}))
        expected = await outcome(trial, run)
    async with search(learner()) as (trial, _):
        run = await trial.run(learning(config={"profile": profile, "rollouts": 4}, budget=Budget(calls=7)))
        assert run.status == "budget_exhausted"
        await trial.store.requeue(run.id, budget=Budget(calls=100))
        run = await trial.go_on(run.id)
        assert run.status == "succeeded"
        assert await outcome(trial, run) == expected
        assert len(trial.llm.calls) == 2 + 3 * 4


async def test_h_a_budget_that_ends_before_the_first_answer_leaves_none() -> None:
    async with search() as (trial, _):
        run = await trial.run(spec(budget=Budget(tokens=1)))
    assert (run.status, run.output) == ("budget_exhausted", None)


async def test_h_a_budget_of_one_call_is_spent_on_an_answer() -> None:
    async with search() as (trial, _):
        run = await trial.run(spec(budget=Budget(calls=1)))
    assert [call.purpose for call in trial.llm.calls] == ["empirical_mcts.generate"]
    assert run.status == "budget_exhausted"
    assert run.output is not None


async def test_h_a_limit_of_tokens_is_kept_to_within_one_call() -> None:
    async with search(learner()) as (trial, _):
        run = await trial.run(spec(budget=Budget(tokens=1500)))
    assert run.status == "budget_exhausted"
    assert run.output is not None
    last = trial.llm.calls[-1]
    assert run.total_usage.total_tokens - 1500 < sum(len(message.text) for message in last.messages)


# -- crashes -----------------------------------------------------------------------------------------------------------


@ALL
async def test_h_killed_at_any_model_call_it_ends_the_same(profile: str) -> None:
    asked = learning(config={"profile": profile, "rollouts": 3, "stop_at": 1.0})
    async with search(learner()) as (trial, _):
        expected = await outcome(trial, await trial.run(asked))
        calls = len(trial.llm.calls)
    async with search(learner()) as (trial, _):
        # One run, broken off again and again: each execution makes one more call than it was broken off at.
        run = await trial.accept(asked)
        for number in range(1, calls + 1):
            trial.breaking_off_at(2 if number > 1 else 1)
            record = await trial.go_on(run.id)
            if record.status != "interrupted":
                break
            await _recovered(trial, run.id)
        trial.llm.before = None
        record = await trial.go_on(run.id) if record.status == "interrupted" else record
        assert record.status == "succeeded", record.error
        assert await outcome(trial, record) == expected


async def _recovered(trial: Trial, run_id: str) -> None:
    """A run may be picked up only so often; here the kills are no fault of its own."""
    await trial.parts.db.write(lambda c: c.execute(update(Run).where(Run.id == run_id).values(attempt=1)))


@BOTH
async def test_h_killed_after_any_rollout_it_asks_for_nothing_twice(profile: str) -> None:
    asked = learning(config={"profile": profile, "rollouts": 3})
    async with search(learner()) as (trial, _):
        expected = await outcome(trial, await trial.run(asked))
    for rollout in (1, 2, 3):
        async with search(learner()) as (trial, _):
            # The first call behind the rollout; behind the last one there is none, so the kill comes in its middle.
            trial.breaking_off_at(2 + 3 * rollout + 1 if rollout < 3 else 2 + 3 * rollout)
            run = await trial.run(asked)
            assert run.status == "interrupted"
            trial.llm.before = None
            run = await trial.go_on(run.id)
            assert await outcome(trial, run) == expected
            assert len(trial.llm.calls) == 2 + 3 * 3 + 1


async def test_h_a_plan_that_was_written_just_before_the_kill_is_not_written_twice() -> None:
    async with search(learner()) as (trial, _):
        expected = await outcome(trial, await trial.run(learning(config={"rollouts": 2})))
    async with search(learner()) as (trial, _):
        revising = trial.parts.memory.revising
        whole = revising.revise

        async def torn(*given: Any, **named: Any) -> Any:
            revised = await whole(*given, **named)
            if named["token"].endswith("write.1"):
                trial.runner.interrupt_all()
                await anyio.sleep_forever()
            return revised

        revising.revise = torn  # type: ignore[method-assign]
        run = await trial.run(learning(config={"rollouts": 2}))
        assert run.status == "interrupted"
        assert len(await stored(trial)) == 1
        revising.revise = whole  # type: ignore[method-assign]
        run = await trial.go_on(run.id)
        assert await outcome(trial, run) == expected
        events = await trial.events(run.id)
        written = [event for event in events if event.type == "memory.written"]
        assert [event.step for event in written] == ["write.1", "write.2"]
        assert {cube.version for cube in await stored(trial)} == {1}


async def test_h_a_fork_shares_what_was_done_and_goes_on_alone() -> None:
    async with search(learner()) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 3}))
        events = await trial.events(run.id)
        at = next(event.seq for event in events if event.step == "judge.1.0" and event.type == "step.completed")
        calls = len(trial.llm.calls)
        fork = await trial.store.fork(run.id, at, owner="usr_test")
        record = await trial.go_on(fork.id)
        assert record.output == run.output
        assert len(trial.llm.calls) - calls == calls - 4


# -- cancelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["role", "generate", "judge", "memory"])
async def test_h_a_cancel_stops_within_the_call_that_is_under_way(purpose: str) -> None:
    async with search(learner()) as (trial, _):
        run = await trial.accept(learning(config={"rollouts": 4}))

        async def before(call: Call) -> None:
            if call.purpose == f"empirical_mcts.{purpose}":
                await trial.store.request_cancel(run.id, "enough")
                trial.runner.stop(run.id, "enough")
                await anyio.sleep_forever()

        trial.llm.before = before
        with anyio.fail_after(20):
            await trial.runner.execute(run.id)
        record = await trial.store.get(run.id, owner=None)
        assert record.status == "cancelled"
        assert trial.llm.under_way == 0
        assert purposes(trial.llm.calls)[-1] == purpose
        assert purposes(trial.llm.calls).count(purpose) == 1


# -- failures ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_h_every_rollout_that_fails_counts_and_the_first_answer_is_given(profile: str) -> None:
    def generate(asked: Asked) -> str | Rule:
        return "answer 0" if asked.number == 0 else Rule(fault="500") if asked.number % 2 else ""

    async with search(Model(generate=generate)) as (trial, model):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 3}))
        nodes = tree(profile, await trial.events(run.id))["nodes"]
    assert run.status == "succeeded"
    assert answered(run) == "answer 0"
    assert [node["status"] for node in nodes] == ["ok", "gen_failed", "gen_failed", "gen_failed"]
    assert detail(run)["rollouts"] == 3
    assert model.of("judge") == []


async def test_h_an_answer_without_a_word_is_asked_for_six_times() -> None:
    model = Model(generate=lambda asked: "one" if asked.number == 0 else "")
    async with search(model) as (trial, _):
        await trial.run(spec(config={"rollouts": 1}))
    assert len(model.of("generate")) == 1 + 6
    assert len({asked.seed for asked in model.of("generate")}) == 7


@pytest.mark.parametrize("fault", ["500", "400"])
async def test_h_a_question_whose_first_answer_fails_fails(fault: Any) -> None:
    async with search(Model(generate=lambda asked: Rule(fault=fault))) as (trial, _):
        run = await trial.run(spec())
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["code"] == {"500": "model_overloaded", "400": "model_rejected"}[fault]


async def test_a_first_answer_without_a_word_fails_with_a_clear_text() -> None:
    async with search(Model(generate=lambda asked: " ")) as (trial, _):
        run = await trial.run(spec())
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["message"] == "the first answer failed: it wrote nothing"
