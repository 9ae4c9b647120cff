"""The agent as a run: picked up after a kill, within its budget, cancelled, in any order, without a sandbox."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anyio
import pytest

from agents import registry
from agents.arc_memo.agent import ArcMemo
from agents.runner import Runner
from runtime.budget import Budget
from runtime.errors import InvalidInput
from runtime.events import LlmCall, RunFinished
from runtime.runs import RunSpec
from tests.agents.arc_memo.puzzles import (
    LONGER_MIRROR,
    MIRROR,
    SAME,
    Solver,
    code,
    concept,
    detail,
    learning,
    opened,
    puzzle,
    spec,
    stored,
)
from tests.agents.empirical_mcts.world import answered
from tests.trial import Call, Trial, story, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("arena")]
CONFIG: dict[str, Any] = {"samples": 2, "retries": 1, "at_once": 1}


def learner() -> Solver:
    """The first sample needs a retry; what it learns is one concept, and the next puzzle selects it."""
    return Solver(
        solve=lambda asked: code(SAME if asked.seed % 2 else LONGER_MIRROR),
        retry=lambda asked: code(MIRROR),
        select_concepts=lambda asked: json.dumps({"names": ["reflect grid"]}),
    )


async def told(trial: Trial, run_id: str) -> dict[str, Any]:
    """What the log tells of the run, without ids that are made anew."""
    return {step: lines for step, lines in story(await trial.events(run_id)).items() if step and step != "learn.write"}


def test_it_is_an_agent_for_puzzles_only_and_an_unknown_option_is_refused() -> None:
    agent = registry.get("arcmemo")
    assert isinstance(agent, ArcMemo)
    assert agent.spec.kinds == {"arc"}
    with pytest.raises(ValueError, match="Extra inputs"):
        agent.spec.config.model_validate({"rollouts": 3})


async def test_another_kind_of_task_is_refused() -> None:
    async with opened() as (trial, model):
        run = await trial.run(RunSpec("arcmemo", "How many apples?", seed=1))
    assert run.error is not None
    assert run.error["code"] == InvalidInput.code
    assert model.seen == []


# -- picked up again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ps", "oe"])
async def test_a_run_that_is_killed_at_any_call_goes_on_and_asks_for_nothing_twice(kind: str) -> None:
    solver = learner()
    asked = learning(input=puzzle(called="p2"), config={**CONFIG, "format": kind})
    async with opened(solver) as (trial, model):
        await trial.run(learning(config={"format": kind}))
        before = len(model.seen)
        whole = await trial.run(asked)
        calls = model.purposes[before:]
        expected, written = (
            await told(trial, whole.id),
            len(await stored(trial, "lesson" if kind == "oe" else "concept")),
        )
    assert len(calls) == (7 if kind == "oe" else 6)
    for number in range(1, len(calls) + 1):
        async with opened(solver) as (trial, model):
            await trial.run(learning(config={"format": kind}))
            trial.breaking_off_at(number)
            first = await trial.run(asked)
            assert first.status == "interrupted"
            trial.llm.before = None
            run = await trial.go_on(first.id)
            assert run.status == "succeeded"
            events = await trial.events(run.id)
            assert [
                e.payload.purpose.removeprefix("arcmemo.") for e in events if isinstance(e.payload, LlmCall)
            ] == calls
            assert _without_ids(detail(run)) == _without_ids(detail(whole))
            assert (await told(trial, run.id)).keys() == expected.keys()
            assert len(await stored(trial, "lesson" if kind == "oe" else "concept")) == written


def _without_ids(account: dict[str, Any]) -> dict[str, Any]:
    return {**account, "selected": len(account["selected"])}


async def test_every_reply_beside_those_with_a_program_is_bounded() -> None:
    long = concept(cues=[f"cue {n}" for n in range(9)])
    async with opened(Solver(abstract=lambda asked: json.dumps({"concepts": [long]}))) as (trial, _):
        before = len(trial.llm.calls)
        for kind in ("ps", "oe"):
            for number in range(2):
                await trial.run(learning(input=puzzle(called=f"p{number}"), config={"format": kind}))
        bounds = {call.purpose.removeprefix("arcmemo."): call.sampling.max_tokens for call in trial.llm.calls[before:]}
    assert bounds.pop("solve") is None
    assert bounds == {
        **dict.fromkeys(("select_concepts", "select_lessons"), 8_000),
        **dict.fromkeys(("caption", "pseudocode", "abstract", "consolidate", "derive", "lessons"), 4096),
    }


# -- budget ------------------------------------------------------------------------------------------------------------


async def test_a_budget_that_ends_between_samples_gives_the_best_of_them_and_goes_on_later() -> None:
    async with opened(Solver(solve=lambda asked: code(SAME if asked.seed == 5 else MIRROR))) as (trial, model):
        asked = learning(budget=Budget(calls=2), config={"samples": 3, "retries": 0, "at_once": 1})
        run = await trial.run(asked)
        events = await trial.events(run.id)
        assert await stored(trial) == []
        assert run.status == "budget_exhausted"
        assert detail(run)["attempts"] == [[[[6, 5, 4]], [[4, 5, 6]]]]
        assert len(detail(run)["samples"]) == 2
        assert text_of(events) == answered(run)
        ends = [e.payload.reason for e in events if isinstance(e.payload, RunFinished)]
        assert ends[0] is not None
        assert "2 of 3 samples" in ends[0]
        assert len(model.seen) == 2


async def test_a_budget_that_ends_in_a_retry_keeps_what_the_sample_had() -> None:
    async with opened(Solver(solve=lambda asked: code(SAME))) as (trial, model):
        run = await trial.run(spec(budget=Budget(calls=1), config={"format": "none", "retries": 2}))
    assert run.status == "budget_exhausted"
    assert detail(run)["attempts"] == [[[[4, 5, 6]]]]
    assert model.purposes == ["solve"]


async def test_a_budget_without_a_call_gives_no_answer() -> None:
    async with opened() as (trial, model):
        run = await trial.run(spec(budget=Budget(calls=0)))
    assert (run.status, run.output, model.seen) == ("budget_exhausted", None, [])


async def test_a_budget_that_ends_while_learning_loses_neither_answer_nor_memory() -> None:
    async with opened() as (trial, _):
        run = await trial.run(learning(budget=Budget(calls=2)))
        assert await stored(trial) == []
    assert run.status == "budget_exhausted"
    assert detail(run)["train"] == 1.0


async def test_one_call_is_kept_for_an_answer_rather_than_for_a_selection() -> None:
    async with opened(learner()) as (trial, model):
        await trial.run(learning(seed=0))
        before = len(model.seen)
        run = await trial.run(learning(budget=Budget(calls=1), memory="read", seed=0, config={"retries": 0}))
    assert run.status == "succeeded"
    assert model.purposes[before:] == ["solve"]


async def test_a_limit_of_tokens_draws_one_sample_at_a_time() -> None:
    async with opened() as (trial, _):
        run = await trial.run(spec(budget=Budget(tokens=100_000), config={"samples": 3}))
        assert run.status == "succeeded"
        assert trial.llm.most_at_once == 1


# -- order, cancelling, the sandbox --------------------------------------------------------------------------------------


async def test_j_samples_that_finish_in_any_order_give_the_same_answer_and_the_same_memory() -> None:
    programs = {5: LONGER_MIRROR, 6: MIRROR, 7: SAME}
    seen = []
    for late in programs:

        async def slowly(call: Call, late: int = late) -> None:
            if call.purpose == "arcmemo.solve" and call.sampling.seed == late:
                await anyio.sleep(0.05)

        async with opened(Solver(solve=lambda asked: code(programs[asked.seed]))) as (trial, _):
            trial.llm.before = slowly
            run = await trial.run(learning(config={"samples": 3, "retries": 0}))
            assert trial.llm.most_at_once == 3
            cubes = [(cube.content, json.dumps(dict(cube.data))) for cube in await stored(trial)]
            seen.append((detail(run), cubes))
    assert seen[0] == seen[1] == seen[2]


async def test_g_what_a_run_may_only_read_never_changes_and_the_next_writer_is_seen_by_the_next_reader() -> None:
    async with opened(learner()) as (trial, model):
        for number in range(3):
            await trial.run(learning(input=puzzle(called=f"q{number}"), memory="read", seed=0))
        assert "select_concepts" not in model.purposes
        assert await stored(trial) == []
        await trial.run(learning(seed=0))
        before = [(cube.id, cube.version) for cube in await stored(trial)]
        await trial.run(learning(input=puzzle(called="q4"), memory="read", seed=0))
        assert [(cube.id, cube.version) for cube in await stored(trial)] == before
    assert model.purposes[-2:] == ["select_concepts", "solve"]


async def test_two_runs_that_learn_at_once_lose_nothing_of_each_other() -> None:
    async with opened() as (trial, model):
        model.abstract = lambda asked: json.dumps({"concepts": [concept(), concept(f"only {asked.number}")]})
        runs = [await trial.accept(learning(input=puzzle(called=f"p{n}"))) for n in range(3)]
        async with anyio.create_task_group() as group:
            for run in runs:
                group.start_soon(trial.runner.execute, run.id)
        cubes = {str(cube.subject): sorted(cube.data["used_in"]) for cube in await stored(trial)}  # type: ignore[arg-type,type-var]  # a list
    assert cubes["reflect grid"] == ["p0", "p1", "p2"]
    assert sorted(cubes) == ["only 0", "only 1", "only 2", "reflect grid"]


async def test_cancelling_stops_the_model_call_and_writes_nothing() -> None:
    async with opened() as (trial, _):
        reached = anyio.Event()

        async def hang(call: Call) -> None:
            reached.set()
            await anyio.sleep_forever()

        trial.llm.before = hang
        run = await trial.accept(learning(config={"samples": 3}))
        async with anyio.create_task_group() as group:
            group.start_soon(trial.runner.execute, run.id)
            await reached.wait()
            trial.runner.stop(run.id, "enough")
        ended = await trial.store.get(run.id, owner=None)
        assert (ended.status, trial.llm.under_way) == ("cancelled", 0)
        assert await stored(trial) == []


async def test_without_a_sandbox_it_fails_clearly_and_every_other_agent_answers() -> None:
    async with opened() as (trial, model):
        whole = trial.parts
        trial.parts = replace(whole, sandbox=None)
        try:
            run = await trial.run(spec())
            assert model.seen == []
            other = await trial.run(RunSpec("self-consistency", "x", seed=1, config={"n": 1}))
        finally:
            trial.parts = whole
            trial.runner = Runner(whole)
    assert run.error is not None
    assert run.error["code"] == "sandbox_unavailable"
    assert other.status == "succeeded"
