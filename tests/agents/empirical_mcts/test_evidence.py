"""What is ours: code outranks opinion, the judge meets parent and champion, wider or deeper, early ends."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.types import JsonObject
from tests.agents.empirical_mcts.world import (
    Asked,
    Model,
    answered,
    detail,
    judgement,
    judging_each,
    learning,
    scored,
    search,
    spec,
    tree,
)

pytestmark = pytest.mark.anyio
MATH: JsonObject = {"kind": "math", "problem": "3x + 4 = 19?", "check": {"equations": ["3*x+4=19"]}}


@pytest.mark.parametrize("profile", ["robust", "evidence"])
async def test_an_answer_that_passes_ends_the_search_and_is_given(profile: str) -> None:
    # The judge, who cannot count, prefers every answer to the right one.
    def worth(answer: str) -> float:
        return 1 if "{5}" in answer else 9

    model = Model(generate=lambda asked: f"\\boxed{{{[8, 9, 5, 7][asked.number]}}}", judge=judging_each(worth))
    async with search(model) as (trial, _):
        run = await trial.run(spec(input=MATH, config={"profile": profile}))
        nodes = tree(profile, await trial.events(run.id))["nodes"]
    told = detail(run)
    assert answered(run) == "\\boxed{5}"
    assert (told["by"], told["stopped"], told["rollouts"], told["best"]) == ("verifier", "verified", 2, 2)
    assert [node["objective"] for node in nodes] == [0.0, 0.0, 1.0]
    assert len(model.of("generate")) == 3


async def test_published_knows_no_checker() -> None:
    def worth(answer: str) -> float:
        return 1 if "{5}" in answer else 9

    model = Model(generate=lambda asked: f"\\boxed{{{[8, 5, 7][asked.number]}}}", judge=judging_each(worth))
    async with search(model) as (trial, _):
        run = await trial.run(spec(input=MATH, config={"profile": "published", "rollouts": 2}))
    assert detail(run)["stopped"] == "rollouts"
    assert answered(run) != "\\boxed{5}"


async def test_the_first_answer_can_be_enough() -> None:
    async with search(Model(generate=lambda asked: "\\boxed{5}")) as (trial, model):
        run = await trial.run(spec(input=MATH, config={"profile": "evidence", "role": False}))
    assert detail(run)["rollouts"] == 0
    assert len(trial.llm.calls) == 1
    assert model.of("judge") == []


async def test_it_is_judged_beside_its_parent_and_the_champion_and_chosen_by_mass() -> None:
    def worth(answer: str) -> float:
        # So close that the draws differ in which of them is the best.
        return 6 + (int(answer[7:-1]) * 7 % 10) / 20

    model = Model(generate=lambda asked: f"\\boxed{{{asked.number}}}", judge=judging_each(worth))
    config = {"profile": "evidence", "rollouts": 16, "stop_at": 1.0}
    async with search(model) as (trial, _):
        run = await trial.run(spec(input={"kind": "math", "problem": "?"}, config=config))
        events = await trial.events(run.id)
    told = detail(run)
    pairs = [(each["id"], each["opponent"]) for each in scored(events)]
    assert len(pairs) > 16, "some were judged beside two"
    assert len(set(pairs)) == len(pairs)
    assert told["by"] == "mass"
    assert sum(told["answers"].values()) == pytest.approx(1.0, abs=0.01)
    nodes = tree("evidence", events)["nodes"]
    assert told["answers"][nodes[told["best"]]["final"]] == max(told["answers"].values())


async def test_a_second_judgement_without_a_prompt_leaves_the_prompt_that_the_first_one_wrote() -> None:
    def judge(asked: Asked) -> str:
        # Beside the first answer it rewrites the prompt, beside any other it has nothing to add.
        first = "answer one" in asked.answers
        return judgement(6, 6.2, (), "A prompt that counts twice." if first else "")

    def generate(asked: Asked) -> str:
        return "answer one" if len(model.of("generate")) == 1 else f"answer {asked.number}"

    model = Model(generate=generate, judge=judge)
    config = {"profile": "evidence", "rollouts": 12, "stop_at": 1.0}
    async with search(model) as (trial, _):
        run = await trial.run(spec(input={"kind": "math", "problem": "?"}, config=config))
        events = await trial.events(run.id)
    judged: dict[str, list[str]] = {}
    for each in scored(events):
        judged.setdefault(each["id"], []).append(str(each["opponent"]))
    twice = [number for number, opponents in judged.items() if len(opponents) == 2 and opponents[0] == "0"]
    assert twice, "some were judged beside the first answer and then beside the champion"
    nodes = {str(node["id"]): node for node in tree("evidence", events)["nodes"]}
    for number in twice:
        assert nodes[number]["evolved_prompt"].startswith("A prompt that counts twice.")


async def test_it_goes_wider_with_the_best_lessons_and_merges_two_answers() -> None:
    def judge(asked: Asked) -> str:
        # To go on from an answer makes it worse, so that another beginning is worth a try.
        one, two = (int(answer[7:-1]) for answer in asked.answers)
        scores = (8, 3) if one < two else (3, 8)
        return judgement(*scores, (f"Lesson of {max(one, two)}",), f"Prompt {max(one, two)}.")

    kinds: set[str] = set()
    lessons: list[str] = []
    async with search(Model(generate=lambda asked: f"\\boxed{{{asked.number + 40}}}")) as (trial, model):
        model.judge = judge
        for seed in range(4):
            model._counts.clear()
            model.seen.clear()
            config = {"profile": "evidence", "rollouts": 12, "stop_at": 1.0}
            run = await trial.run(spec(input=MATH, seed=seed, config=config))
            nodes = tree("evidence", await trial.events(run.id))["nodes"]
            for node, asked in [*zip(nodes, model.of("generate"), strict=True)][1:]:
                kinds.add(node["how"])
                answers = asked.text.count("<answer number=")
                assert answers == (2 if node["how"] == "merge" else 0)
                if node["how"] == "merge":
                    assert f'<answer number="1">\n{nodes[node["parent"]]["answer"]}\n</answer>' in asked.text
                if node["how"] == "fresh":
                    assert (node["parent"], node["depth"]) == (None, 0)
                    lessons += asked.experiences
                else:
                    assert asked.experiences == []
    assert kinds == {"child", "fresh", "merge"}
    # A new start is given lessons of this very search, also without a store.
    assert lessons
    assert all(lesson.startswith("Lesson of ") for lesson in lessons)


async def test_it_ends_early_when_the_answers_agree() -> None:
    model = Model(generate=lambda asked: f"{asked.number}: \\boxed{{7}}", judge=lambda asked: judgement(6, 6))
    task: JsonObject = {"kind": "math", "problem": "How many?"}
    async with search(model) as (trial, _):
        run = await trial.run(spec(input=task, config={"profile": "evidence", "rollouts": 30}))
        whole = await trial.run(spec(input=task, config={"profile": "evidence", "rollouts": 10, "stop_at": 1.0}))
    told = detail(run)
    assert told["stopped"] == "consensus"
    assert told["rollouts"] < 10
    assert told["answers"] == {"7": pytest.approx(1.0)}
    assert detail(whole)["rollouts"] == 10


@pytest.mark.parametrize(
    ("config", "by"),
    [({"final": "vote"}, "vote"), ({"final": "q"}, "q"), ({"final": "posterior"}, "mass"), ({}, "fused")],
)
async def test_how_the_answer_is_chosen_can_be_said(config: dict[str, Any], by: str) -> None:
    # One answer wins every comparison; another one is given three times.
    finals = [1, 2, 2, 2]

    def worth(answer: str) -> float:
        return 9 if "{1}" in answer else 5

    model = Model(
        generate=lambda asked: f"{asked.number}: \\boxed{{{finals[asked.number]}}}", judge=judging_each(worth)
    )
    async with search(model) as (trial, _):
        run = await trial.run(
            spec(input={"kind": "math", "problem": "How many?"}, config={"rollouts": 3, "k": 3, **config})
        )
    told = detail(run)
    assert told["by"] == by
    if by == "mass":
        assert told["answers"].keys() == {"1", "2"}
    else:
        assert (told["best"] == 0) == (by != "vote")


async def test_every_option_of_the_search_reaches_it() -> None:
    async with search() as (trial, model):
        run = await trial.run(learning(config={"rollouts": 6, "k": 6, "c": 0.0, "alpha": 1.0, "gamma": 0.0}))
        nodes = tree("robust", await trial.events(run.id))["nodes"]
    assert {node["parent"] for node in nodes[1:]} == {0}
    assert len(model.of("generate")) == 7


@pytest.mark.parametrize(
    "config", [{"profile": "best"}, {"rollout": 3}, {"k": 0}, {"alpha": 2}, {"method": "a b"}, {"final": "mass"}]
)
async def test_an_option_that_there_is_not_is_refused(config: dict[str, Any]) -> None:
    async with search() as (trial, model):
        run = await trial.run(spec(config=config))
    assert run.status == "failed"
    assert model.seen == []
