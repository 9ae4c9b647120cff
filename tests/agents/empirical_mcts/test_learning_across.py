"""What one question teaches another: acceptance checks G and I, which experiences are found, and how they are measured."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from memory.tables import MeasureRow
from memory.types import Draft, MemCube
from runtime.events import Event, MemoryRead, StepCompleted
from runtime.types import JsonObject
from tests.agents.empirical_mcts.world import (
    OWNER,
    Asked,
    Model,
    add_all,
    answered,
    judgement,
    learning,
    search,
    spec,
    start_with,
    stored,
    tree,
)

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("profile", ["published", "robust"])
LESSON = "Put the value back into the equation before you answer"
FIRST = "Which number x makes 3x + 4 = 19 true, and how do you know that it does so?"
SECOND = "Which number x makes 3x + 4 = 19 true, and how do you know that it really does so?"
GOLD = "GOLD-4711"


def math(problem: str, c: int = 5) -> JsonObject:
    return {"kind": "math", "problem": problem, "check": {"equations": [f"x={c}"]}}


def pupil() -> Model:
    """Answers well only when the lesson stands in its prompt; what it gets wrong teaches the lesson."""

    def generate(asked: Asked) -> str:
        return "\\boxed{5}" if LESSON in asked.experiences else f"\\boxed{{{90 + asked.seed}}}"

    return Model(generate=generate, judge=lambda asked: judgement(4, 4, (LESSON,)), memory=add_all)


# -- G -----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_g_one_question_fails_and_learns_the_next_one_succeeds_at_the_root(profile: str) -> None:
    async with search(pupil()) as (trial, model):
        config = {"profile": profile, "rollouts": 1}
        first = await trial.run(learning(input=math(FIRST), config=config))
        second = await trial.run(learning(input=math(SECOND), config={**config, "rollouts": 0}))
        nodes = tree(profile, await trial.events(second.id))["nodes"]
        (lesson,) = await stored(trial)
    assert "\\boxed{5}" not in answered(first)
    assert answered(second) == "\\boxed{5}"
    assert nodes[0]["memories"] == [lesson.id]
    assert nodes[0]["objective"] == 1.0
    assert model.of("generate")[-1].experiences == [LESSON]


@BOTH
@pytest.mark.parametrize("without", [{"memory": "off"}, {"vaults": ()}])
async def test_g_without_memory_both_fail(profile: str, without: dict[str, Any]) -> None:
    async with search(pupil()) as (trial, _):
        for problem in (FIRST, SECOND):
            run = await trial.run(
                learning(**{"input": math(problem), "config": {"profile": profile, "rollouts": 2}, **without})
            )
            assert answered(run) != "\\boxed{5}"
        assert await stored(trial) == []


@BOTH
async def test_g_what_is_learned_is_shown_to_the_next_answer_of_the_same_search(profile: str) -> None:
    async with search(pupil()) as (trial, _):
        run = await trial.run(learning(input=math(FIRST), config={"profile": profile, "rollouts": 2}))
        nodes = tree(profile, await trial.events(run.id))["nodes"]
    assert [node["answer"] for node in nodes][-1] == "\\boxed{5}"
    assert [len(node["memories"]) for node in nodes] == [0, 0, 1]


# -- which are found ---------------------------------------------------------------------------------------------------


async def test_published_shows_what_came_from_nearly_the_same_question_and_nothing_else() -> None:
    far = "How many apples are in three baskets of four?"
    async with search() as (trial, model):
        await start_with(trial, LESSON, question=FIRST)
        await start_with(trial, f"{FIRST} Multiply the baskets by the apples", question=far)
        await trial.run(learning(input=SECOND, config={"profile": "published", "rollouts": 0}))
        await trial.run(learning(input=far, config={"profile": "published", "rollouts": 0}))
    shown = [asked.experiences for asked in model.of("generate")]
    assert shown == [[LESSON], [f"{FIRST} Multiply the baskets by the apples"]]


async def test_robust_also_shows_what_speaks_of_the_question_and_no_two_that_say_the_same() -> None:
    about = "To find which number x makes an equation true, undo each step"
    async with search() as (trial, model):
        await start_with(trial, about, f"{about}.", "Whales sing in winter", question="Who sings in the sea?")
        await trial.run(learning(input=FIRST, config={"rollouts": 0, "threshold": 0.2}))
    assert model.of("generate")[0].experiences == [about]


async def test_the_number_and_the_threshold_can_be_set_and_nothing_is_said_to_be_nothing() -> None:
    texts = [f"{word} is a thing to look at first" for word in ("Width", "Depth", "Colour", "Weight")]
    async with search() as (trial, model):
        await start_with(trial, *texts, question=FIRST)
        await trial.run(learning(input=FIRST, config={"rollouts": 0, "retrieval_k": 2}))
        await trial.run(learning(input=FIRST, config={"rollouts": 0, "retrieval_k": 0}))
        await trial.run(learning(input="Who sings?", config={"rollouts": 0, "threshold": 0.99}))
    assert [asked.experiences for asked in model.of("generate")] == [texts[:2], [], []]
    assert "<experiences>\nnone\n</experiences>" in model.of("generate")[1].text


async def test_other_memories_of_the_vault_are_shown_beside_them_as_data() -> None:
    async with search() as (trial, model):
        await start_with(trial, LESSON, question=FIRST)
        await trial.parts.memory.add(OWNER, [Draft("Ana says that x makes 3x + 4 = 19 true for 5")], wait="indexed")
        for config in ({}, {"memories": 0}, {"profile": "published"}):
            await trial.run(learning(input=FIRST, config={"rollouts": 0, **config}))
    texts = [asked.text for asked in model.of("generate")]
    assert ["Ana says" in text for text in texts] == [True, False, False]
    assert all(asked.experiences == [LESSON] for asked in model.of("generate"))
    assert "<memories>" in texts[0]


# -- I -----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_i_two_methods_never_read_what_the_other_has_learned(profile: str) -> None:
    def judge(asked: Asked) -> str:
        # Each method learns a lesson of its own, told apart by the seed of its runs.
        return judgement(4, 4, (f"Lesson of {'one' if asked.seed < 500 else 'two'}",))

    async with search(Model(judge=judge, memory=add_all)) as (trial, model):
        for _ in range(2):
            for seed, method in ((100, "one"), (900, "two")):
                config = {"profile": profile, "rollouts": 1, "method": method}
                await trial.run(learning(input=FIRST, seed=seed, config=config))
        left = await stored(trial)
    assert {(cube.content, cube.data["method"], cube.tags) for cube in left} == {
        ("Lesson of one", "one", ("method:one",)),
        ("Lesson of two", "two", ("method:two",)),
    }
    for asked in model.of("generate") + model.of("judge"):
        mine = "one" if asked.seed < 500 else "two"
        assert set(asked.experiences) <= {f"Lesson of {mine}"}
        assert f"Lesson of {'two' if mine == 'one' else 'one'}" not in asked.text
    assert [len(asked.existing) for asked in model.of("memory")] == [0, 0, 1, 1]


async def test_i_two_methods_may_learn_the_same_words_and_each_keeps_its_own() -> None:
    async with search(Model(judge=lambda asked: judgement(4, 4, (LESSON,)), memory=add_all)) as (trial, _):
        for method in ("one", "two", "two"):
            await trial.run(learning(input=FIRST, config={"rollouts": 1, "method": method}))
        left = await stored(trial)
    assert [(cube.content, cube.data["method"]) for cube in left] == [(LESSON, "one"), (LESSON, "two")]


@BOTH
async def test_i_no_prompt_holds_what_only_a_checker_knows(profile: str) -> None:
    # The equations are what an answer is put into; a checker says why it fails in words that hold the right value.
    task: JsonObject = {
        "kind": "math",
        "problem": FIRST,
        "check": {"equations": ["x*1=47114711", "x=47114711"], "variable": "x"},
    }
    model = Model(
        generate=lambda asked: f"\\boxed{{{asked.number}}}", judge=lambda asked: judgement(6, 6, (LESSON,), "Try.")
    )
    async with search(model) as (trial, _):
        run = await trial.run(learning(input=task, config={"profile": profile, "rollouts": 3}))
        events = await trial.events(run.id)
    verdicts = [str(event.payload.detail) for event in events if isinstance(event.payload, StepCompleted)]
    assert any("47114711" in verdict for verdict in verdicts), "the checker does say it, in the log"
    assert {asked.purpose for asked in model.seen} == {"role", "generate", "judge", "memory"}
    assert not any("47114711" in asked.text for asked in model.seen)


@BOTH
async def test_i_no_prompt_holds_the_thinking_or_the_suite_of_a_run(profile: str) -> None:
    model = Model(
        generate=lambda asked: f"<think>{GOLD}</think>answer {asked.number}",
        judge=lambda asked: judgement(6, 6, (LESSON,), "Try."),
    )
    async with search(model) as (trial, _):
        run = await trial.run(learning(suite=GOLD, config={"profile": profile, "rollouts": 2}))
    assert run.status == "succeeded"
    assert len(model.of("memory")) == 2
    assert not any(GOLD in asked.text for asked in model.seen)


# -- what a memory is worth --------------------------------------------------------------------------------------------


def reads(events: list[Event]) -> list[MemoryRead]:
    return [event.payload for event in events if isinstance(event.payload, MemoryRead)]


async def some(trial: Any) -> list[MemCube]:
    texts = [f"{word} is a thing to look at first" for word in ("Width", "Depth", "Colour", "Weight")]
    return await start_with(trial, *texts, question=FIRST)


async def test_each_answer_is_a_unit_with_a_draw_of_its_own_and_the_outcome_of_the_checker() -> None:
    model = Model(generate=lambda asked: f"\\boxed{{{asked.number}}}")
    async with search(model) as (trial, _):
        await some(trial)
        asked = spec(input=math(FIRST, 77), vaults=("default",), memory="read", config={"rollouts": 5})
        run = await trial.run(asked)
        events = await trial.events(run.id)
        rows = await trial.parts.db.read(lambda c: list(c.execute(select(MeasureRow.__table__)).all()))
        nodes = tree("robust", events)["nodes"]
    found = reads(events)
    assert [*dict.fromkeys(read.unit for read in found)] == [f"node.{number}" for number in range(6)]
    assert {read.p for read in found} <= {0.8, 0.0}
    assert len({tuple(r.shown for r in found if r.unit == f"node.{n}") for n in range(6)}) > 1
    for node, said in zip(nodes, model.of("generate"), strict=True):
        mine = [read.id for read in found if read.unit == f"node.{node['id']}" and read.shown == "shown"]
        assert node["memories"] == mine
        assert len(said.experiences) == len(mine)
    outcomes = [e.payload for e in events if isinstance(e.payload, StepCompleted) and e.payload.outcome is not None]
    assert {(each.name, each.outcome, each.score) for each in outcomes} == {
        (f"node.{number}", "verifier", 0.0) for number in range(6)
    }
    assert {(row.kind, row.agent) for row in rows} == {("verifier", "empirical-mcts")}
    assert len(rows) == 4


async def test_without_a_checker_the_outcome_is_whether_the_answer_won() -> None:
    scores = iter([(8, 5), (5, 8), (6, 6)])

    def judge(asked: Asked) -> str:
        child, other = next(scores)
        one, _ = (int(answer.split()[-1]) for answer in asked.answers)
        newest = asked.number + 1
        return judgement(*((child, other) if one == newest else (other, child)))

    async with search(Model(judge=judge)) as (trial, _):
        await some(trial)
        run = await trial.run(spec(input=FIRST, vaults=("default",), memory="read", config={"rollouts": 3}))
        events = await trial.events(run.id)
        rows = await trial.parts.db.read(lambda c: list(c.execute(select(MeasureRow.__table__)).all()))
    outcomes = [e.payload for e in events if isinstance(e.payload, StepCompleted) and e.payload.outcome is not None]
    assert [(each.name, each.outcome, each.score) for each in outcomes] == [
        ("node.1", "judge", 1.0),
        ("node.2", "judge", 0.0),
        ("node.3", "judge", 0.5),
    ]
    assert {row.kind for row in rows} == {"judge"}


async def test_published_holds_nothing_back() -> None:
    async with search() as (trial, _):
        await some(trial)
        asked = spec(input=FIRST, vaults=("default",), config={"rollouts": 5, "profile": "published"})
        found = reads(await trial.events((await trial.run(asked)).id))
    assert {(read.shown, read.p) for read in found} == {("shown", 1.0)}
    assert len(found) == 24
