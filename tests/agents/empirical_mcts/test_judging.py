"""The judge through the agent: acceptance check D, what it is shown, what it may leave out, how it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.empirical_mcts.judging import CLOSE, Judgement, lessons_of
from agents.empirical_mcts.prompting import MAX_ANSWER_TOKENS
from runtime.events import NodeScored, StepCompleted
from runtime.llm.estimate import CHARS_PER_TOKEN
from runtime.llm.scripted import Rule
from tests.agents.empirical_mcts.world import (
    Asked,
    Model,
    alone,
    answered,
    detail,
    judgement,
    judging,
    scored,
    search,
    spec,
    tree,
)

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("profile", ["published", "robust"])


def worth(asked: Asked) -> str:
    """A judge that knows how good an answer is, wherever it stands."""
    one, two = ((int(answer.split()[-1]) * 7) % 10 + 1 for answer in asked.answers)
    return judgement(one, two)


# -- the order of the answers ------------------------------------------------------------------------------------------


@BOTH
async def test_d_a_judge_of_content_gives_the_same_state_in_either_order(profile: str) -> None:
    told: list[dict[str, Any]] = []
    swaps: list[list[bool]] = []
    async with search(Model()) as (trial, model):
        model.judge = worth
        for seed in range(4):
            model._counts.clear()
            run = await trial.run(spec(config={"profile": profile, "rollouts": 5}, seed=seed))
            events = await trial.events(run.id)
            told.append(tree(profile, events))
            # The words of the judge speak of the first and the second answer.
            words = [said.pop("data") for said in told[-1]["comparisons"]]
            assert all(each["lessons"] == [] for each in words)
            swaps.append([said.pop("swapped") for said in told[-1]["comparisons"]])
    assert all(each == told[0] for each in told)
    assert len({tuple(each) for each in swaps}) > 1
    assert {True, False} == {swapped for each in swaps for swapped in each}


async def test_d_a_judge_that_prefers_the_first_place_prefers_no_child() -> None:
    wins, judged = 0, 0
    for seed in range(125):
        profile = ("published", "robust")[seed % 2]
        asked = spec(config={"profile": profile, "rollouts": 8, "role": False}, seed=seed)
        for said in await alone(Model(judge=lambda asked: judgement(7, 6)), asked):
            if isinstance(said, NodeScored):
                compared: Any = said.detail["comparison"]
                won = compared["s_child"] > compared["s_opponent"]
                assert won == compared["swapped"]
                judged, wins = judged + 1, wins + won
    assert judged == 1000
    assert wins / judged == pytest.approx(0.5, abs=0.05)


@BOTH
async def test_d_with_both_orders_a_preferred_place_cancels_out(profile: str) -> None:
    config = {"profile": profile, "rollouts": 4, "dual_order": True}
    async with search(Model(judge=lambda asked: judgement(7, 6.5))) as (trial, model):
        run = await trial.run(spec(config=config))
        said = scored(await trial.events(run.id))
    assert len(model.of("judge")) == 8
    for each in said:
        assert (each["comparison"]["s_child"], each["comparison"]["s_opponent"]) == (6.75, 6.75)
        assert each["comparison"]["swapped"] is None
        assert each["q_local"] == 0.5
    first, second = model.of("judge")[:2]
    assert first.answers == second.answers[::-1]


async def test_a_clear_result_is_judged_once() -> None:
    model = Model(judge=lambda asked: judgement(8, 8 - CLOSE))
    async with search(model) as (trial, _):
        await trial.run(spec(config={"rollouts": 2, "dual_order": True}))
    assert len(model.of("judge")) == 2


# -- what the judge is shown -------------------------------------------------------------------------------------------


@BOTH
async def test_it_sees_no_hidden_thinking(profile: str) -> None:
    model = Model(
        generate=lambda asked: Rule(
            reply=f"<think>SECRET in marks</think>\n\nanswer {asked.number}", reasoning="SECRET apart"
        )
    )
    async with search(model) as (trial, _):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 2}))
    assert answered(run) == "answer 0"
    assert len(model.of("judge")) == 2
    assert not any("SECRET" in asked.text for asked in model.seen)
    assert {asked.answers for asked in model.of("judge")} <= {
        (f"answer {a}", f"answer {b}") for a in range(3) for b in range(3)
    }


async def test_thinking_that_never_ends_is_no_answer_and_is_asked_for_again() -> None:
    def generate(asked: Asked) -> str:
        return "<think>and so on" if asked.number < 2 else f"no opening mark</think>answer {asked.number}"

    async with search(Model(generate=generate)) as (trial, model):
        run = await trial.run(spec(config={"rollouts": 0}))
    assert answered(run) == "answer 2"
    assert len({asked.seed for asked in model.of("generate")}) == 3


async def test_a_long_answer_is_cut_and_its_end_is_kept() -> None:
    long = "word " * (MAX_ANSWER_TOKENS * CHARS_PER_TOKEN // 5 + 500)
    model = Model(generate=lambda asked: f"{long}the result is {asked.number}")
    async with search(model) as (trial, _):
        await trial.run(spec(config={"rollouts": 1}))
    for answer in model.of("judge")[0].answers:
        assert len(answer) < MAX_ANSWER_TOKENS * CHARS_PER_TOKEN + 100
        assert "characters are left out here" in answer
        assert answer.endswith(("the result is 0", "the result is 1"))


async def test_the_call_names_purpose_and_schema_with_the_seven_fields_in_order() -> None:
    async with search(Model()) as (trial, _):
        await trial.run(spec(config={"rollouts": 1}))
    (call,) = [call for call in trial.llm.calls if call.purpose == "empirical_mcts.judge"]
    assert call.schema is not None
    assert call.schema.name == "empirical_mcts_judge"
    fields = [
        "specific_criteria",
        "critique",
        "weight_allocation",
        "scoring_process",
        "final_score",
        "new_experiences",
        "new_system_prompt",
    ]
    assert [*call.schema.schema["properties"]] == fields  # type: ignore[misc]
    assert call.schema.schema["required"] == fields
    assert call.schema.schema["additionalProperties"] is False


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0, 99], [1.0, 10.0]),
        (["7", " 6.5/10"], [7.0, 6.5]),
        ([3, 4, 5], [3.0, 4.0]),
        ([1e300, -1e300], [10.0, 1.0]),
    ],
)
def test_scores_are_read_kindly_and_brought_into_their_range(scores: list[Any], expected: list[float]) -> None:
    assert Judgement.model_validate_json(json.dumps({"final_score": scores})).final_score == expected


@pytest.mark.parametrize("scores", [[7], [], None, "7", ["good", "bad"], [True, False], [float("nan"), 5], [5, None]])
def test_what_is_no_two_scores_is_refused(scores: Any) -> None:
    with pytest.raises(ValueError, match="final_score"):
        Judgement.model_validate_json(json.dumps({"final_score": scores}))


@BOTH
async def test_missing_fields_are_empty_and_a_missing_prompt_is_inherited(profile: str) -> None:
    async with search(Model(judge=lambda asked: json.dumps({"final_score": [7, 7]}))) as (trial, _):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 1}))
        (said,) = scored(await trial.events(run.id))
        told = tree(profile, await trial.events(run.id))
    assert (said["status"], said["q_local"]) == ("ok", 0.5)
    assert said["comparison"]["data"]["lessons"] == []
    assert told["nodes"][1]["evolved_prompt"] == told["nodes"][1]["gen_prompt"]


def test_lessons_are_kept_once_and_on_one_line() -> None:
    assert lessons_of(["Check\n the units", " ", "Check the units", "a\x00b \ud800c"]) == ["Check the units", "a b c"]


# -- when it fails -----------------------------------------------------------------------------------------------------


@BOTH
async def test_h_a_judge_that_always_fails_ends_nothing(profile: str) -> None:
    async with search(Model(judge=lambda asked: "Hm, both are nice.")) as (trial, model):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 3}))
        told = tree(profile, await trial.events(run.id))
    assert run.status == "succeeded"
    assert answered(run) == "answer 0"
    assert detail(run)["rollouts"] == 3
    assert [node["status"] for node in told["nodes"]] == ["ok", *["judge_failed"] * 3]
    assert {node["q_local"] for node in told["nodes"]} == {0.5}
    assert len(model.of("judge")) == 9, "three tries each"
    assert model.of("memory") == []


@BOTH
async def test_a_judge_that_comes_to_its_senses_is_asked_again_and_counts(profile: str) -> None:
    def judge(asked: Asked) -> str:
        return judgement(2, 2, final_score=[5]) if "cannot be used" not in asked.text else judgement(8, 8)

    async with search(Model(judge=judge)) as (trial, model):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 2}))
        said = scored(await trial.events(run.id))
    assert [each["status"] for each in said] == ["ok", "ok"]
    assert len(model.of("judge")) == 4


@pytest.mark.parametrize("fault", ["500", "400", "malformed"])
async def test_a_judge_that_cannot_be_reached_costs_its_node_the_judgement(fault: Any) -> None:
    def judge(asked: Asked) -> str | Rule:
        return Rule(fault=fault) if asked.number == 0 else judgement(5, 5)

    async with search(Model(judge=judge)) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 2}))
        events = await trial.events(run.id)
    assert run.status == "succeeded"
    assert [each["status"] for each in scored(events)] == ["judge_failed", "ok"]
    failed = [e.payload for e in events if isinstance(e.payload, StepCompleted) and e.payload.name == "judge.1.0"]
    assert failed[0].detail == {"failed": "no usable judgement"}


async def test_the_second_look_that_fails_leaves_the_first() -> None:
    def judge(asked: Asked) -> str:
        return judgement(7, 6.5) if asked.number == 0 else "?"

    async with search(Model(judge=judge)) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 1, "dual_order": True}))
        (said,) = scored(await trial.events(run.id))
    assert sorted([said["comparison"]["s_child"], said["comparison"]["s_opponent"]]) == [6.5, 7.0]
    assert said["comparison"]["swapped"] is not None


async def test_an_answer_that_repeats_its_parent_is_not_judged() -> None:
    scores = {("new", "same"): (6.0, 5.0)}
    model = Model(generate=lambda asked: "new" if asked.number == 3 else "same", judge=judging(scores))
    async with search(model) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 3}))
        told = tree("robust", await trial.events(run.id))
    assert [node["status"] for node in told["nodes"]] == ["ok", "duplicate", "duplicate", "ok"]
    assert len(model.of("judge")) == 1
    assert detail(run)["rollouts"] == 3
