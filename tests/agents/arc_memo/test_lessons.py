"""Lessons: derived and written from a verified program, chosen by number for another puzzle."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.arc_memo.concept import Lesson
from agents.arc_memo.keeping import lesson_draft
from agents.arc_memo.library import SHORTLIST
from runtime.budget import Budget
from runtime.events import CheckFailed, MemoryRead
from runtime.llm.estimate import estimate_tokens
from runtime.llm.scripted import Rule
from tests.agents.arc_memo.puzzles import MIRROR, Asked, Solver, detail, learning, opened, puzzle, stored
from tests.agents.empirical_mcts.world import OWNER
from tests.trial import Trial

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("arena")]
OE = {"format": "oe"}


async def put(trial: Trial, count: int) -> None:
    """Lessons that the vault holds."""
    drafts = [lesson_draft(Lesson(f"situation {n}", f"suggestion {n}", f"p{n}")) for n in range(1, count + 1)]
    await trial.parts.memory.add(OWNER, drafts, wait="indexed", force=True)


def numbering(*numbers: Any, **more: Any) -> Solver:
    return Solver(select_lessons=lambda asked: json.dumps({"numbers": numbers}), **more)


async def test_a_verified_program_leaves_lessons_and_the_next_puzzle_is_told_them() -> None:
    async with opened() as (trial, model):
        await trial.run(learning(config=OE))
        run = await trial.run(learning(input=puzzle(called="p2"), memory="read", config=OE))
        (cube,) = await stored(trial, "lesson")
        events = await trial.events(run.id)
    assert model.purposes == ["solve", "derive", "lessons", "caption", "select_lessons", "solve"]
    assert MIRROR in model.of("derive")[0].text
    assert "The rows are the same backwards." in model.of("lessons")[0].text
    assert cube.data["source"] == "p1"
    assert "1. When: rows look turned\n   Then: mirror them" in model.of("select_lessons")[0].lessons
    assert "When: rows look turned" in model.of("solve")[1].lessons
    assert "rows turn\nmirror" in model.of("solve")[1].text
    assert detail(run)["selected"] == [cube.id]
    assert [e.payload.id for e in events if isinstance(e.payload, MemoryRead)] == [cube.id]


async def test_numbers_that_no_lesson_has_are_dropped_and_the_others_kept_up_to_the_limit() -> None:
    async with opened(numbering(0, 99, 3, "1", "x", 2, 4)) as (trial, model):
        await put(trial, 4)
        await trial.run(learning(memory="read", config={**OE, "top_k": 2}))
    shown = model.of("solve")[0].lessons
    assert [f"situation {n}" in shown for n in (1, 2, 3, 4)] == [True, False, True, False]
    assert "Choose the 2 lessons" in model.of("select_lessons")[0].text


async def test_no_number_is_a_choice_and_the_description_stays() -> None:
    async with opened(numbering()) as (trial, model):
        await put(trial, 2)
        run = await trial.run(learning(memory="read", config=OE))
    assert detail(run)["selection"] == "abstained"
    assert model.of("solve")[0].lessons == ""
    assert "<description>" in model.of("solve")[0].text


async def test_details_of_a_speculation_are_left_out() -> None:
    said = {"observations": "o", "speculation": "It turns. <details>Colour 3 maybe.</details> Perhaps."}
    async with opened(Solver(caption=lambda asked: json.dumps(said))) as (trial, model):
        await put(trial, 1)
        await trial.run(learning(memory="read", config=OE))
    assert "o\nIt turns. Perhaps." in model.of("select_lessons")[0].text
    assert "Colour 3" not in model.of("solve")[0].text


@pytest.mark.parametrize("said", [Rule(reply="nothing"), Rule(fault="400")])
async def test_without_a_caption_lessons_are_chosen_by_the_grids(said: Rule) -> None:
    async with opened(Solver(caption=lambda asked: said)) as (trial, model):
        await put(trial, 1)
        run = await trial.run(learning(memory="read", config=OE))
        events = await trial.events(run.id)
    assert "Example 1\ninput (2 x 2)" in model.of("select_lessons")[0].text
    assert "<description>" not in model.of("solve")[0].text
    assert len(detail(run)["selected"]) == 1
    assert [e.step for e in events if isinstance(e.payload, CheckFailed)] == ["caption"]


async def test_a_picture_goes_with_the_caption_when_it_is_asked_for_and_is_left_out_where_it_is_refused() -> None:
    def blind(asked: Asked) -> str | Rule:
        pictured = any(isinstance(message.content, list) for message in asked.messages)
        return Rule(fault="400") if pictured else json.dumps({"summary": "seen as text"})

    for caption, calls in ((Solver().caption, 1), (blind, 2)):
        async with opened(Solver(caption=caption)) as (trial, model):
            await put(trial, 1)
            await trial.run(learning(memory="read", config={**OE, "vision": True}))
        asked = model.of("caption")
        assert len(asked) == calls
        assert isinstance(asked[0].messages[0].content, list)
        assert str(asked[0].messages[0].content[1]["image_url"]).count("data:image/png;base64,") == 1
        assert "<description>" in model.of("solve")[0].text


async def test_an_empty_memory_asks_for_no_caption() -> None:
    async with opened() as (trial, model):
        await trial.run(learning(memory="read", config=OE))
    assert model.purposes == ["solve"]


async def test_more_lessons_than_the_budget_holds_are_searched_for_a_shortlist() -> None:
    async with opened(numbering(1)) as (trial, model):
        model.caption = lambda asked: json.dumps({"summary": "situation 37 suggestion 37"})
        await put(trial, 120)
        await trial.run(learning(memory="read", config={**OE, "context_tokens": 600}))
    shown = model.of("select_lessons")[0].lessons
    assert estimate_tokens(shown) <= 600
    assert 2 * 40 < len(shown.splitlines()) < 2 * 60
    assert "situation 37\n" in shown


async def test_of_many_lessons_a_shortlist_is_searched_even_when_all_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.arc_memo.library.WHOLE", 50)
    async with opened(numbering(1)) as (trial, model):
        model.caption = lambda asked: json.dumps({"summary": "situation 7 suggestion 7"})
        await put(trial, 100)
        await trial.run(learning(memory="read", config=OE))
    assert model.purposes == ["caption", "select_lessons", "solve"]
    shown = model.of("select_lessons")[0].lessons
    assert len(shown.splitlines()) == 2 * SHORTLIST
    # It is none of the newest, so the search found it.
    assert "situation 7\n" in shown


@pytest.mark.parametrize(("calls", "asked"), [(2, ["solve"]), (3, ["caption", "select_lessons", "solve"])])
async def test_one_call_is_kept_for_an_answer(calls: int, asked: list[str]) -> None:
    async with opened(numbering(1)) as (trial, model):
        await put(trial, 1)
        run = await trial.run(learning(memory="read", budget=Budget(calls=calls), config={**OE, "retries": 0}))
    assert run.status == "succeeded"
    assert model.purposes == asked
    assert len(detail(run)["selected"]) == (calls > 2)


@pytest.mark.parametrize(
    ("solver", "asked"),
    [
        (Solver(derive=lambda asked: Rule(fault="400")), ["solve", "derive"]),
        (Solver(lessons=lambda asked: "no list"), ["solve", "derive", "lessons", "lessons", "lessons"]),
        (Solver(lessons=lambda asked: '{"lessons": [{"situation": "s"}, "x"]}'), ["solve", "derive", "lessons"]),
    ],
)
async def test_what_the_model_does_not_give_leaves_the_memory_as_it_is(solver: Solver, asked: list[str]) -> None:
    async with opened(solver) as (trial, model):
        run = await trial.run(learning(config=OE))
        assert await stored(trial, "lesson") == []
    assert run.status == "succeeded"
    assert model.purposes == asked
