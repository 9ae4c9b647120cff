"""Siblings that need nothing of each other run side by side, and the events do not tell in which order they came."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agents.tim.parallel import side_by_side
from runtime.budget import Budget
from runtime.errors import BudgetExhausted
from tests.agents.tim.world import Part, World, document, live, words
from tests.trial import Call, story

pytestmark = pytest.mark.anyio
SIDES = {
    "1": Part("three at once", "all three", side=("a", "b", "c")),
    "1.1": Part("first", "one", tool={"q": "a"}, title="a"),
    "1.2": Part("second", "two", below=True, title="b"),
    "1.2.1": Part("inner", "in"),
    "1.2.2": Part("inner too", "in too"),
    "1.3": Part("third", "three", title="c"),
    "2": Part("sum up", "sum"),
}
RESULTS: dict[str, Any] = {"1.1": "what stands at a"}


@pytest.fixture
def sides(world: World) -> World:
    world.tree = dict(SIDES)
    return world


async def test_independent_siblings_are_asked_for_at_the_same_time(sides: World) -> None:
    run = await sides.run()
    assert run.record.status == "succeeded"
    assert sides.trial.llm.most_at_once >= 2
    assert run.document == document(SIDES, RESULTS)
    assert run.tree["document"] == run.document
    assert [node["path"] for node in run.tree["nodes"]] == ["1", "1.1", "1.2", "1.2.1", "1.2.2", "1.3", "2"]


async def test_a_sibling_sees_nothing_of_the_others(sides: World) -> None:
    await sides.run()
    (third,) = [call for call in sides.calls if "task 1.3," in words(call)]
    assert "first" not in str(live(third))
    assert 'Its title is "c"' in words(third)
    (behind,) = [call for call in sides.calls if call.purpose == "tim.after_list" and "task 1." in words(call)][-1:]
    assert [task["title"] for task in live(behind)["reasoning"][0]["subtasks"]] == ["a", "b", "c"]


@pytest.mark.parametrize("slow", ["1.1", "1.2", "1.3"])
async def test_whoever_is_slow_the_events_are_the_same(slow: str, sides: World) -> None:
    plain = await sides.run()
    sides.forget()

    async def wait(call: Call) -> None:
        if f"task {slow}" in words(call):
            await anyio.sleep(0.03)

    sides.trial.llm.before = wait
    run = await sides.told(await sides.trial.run(sides.spec()))
    assert run.record.output == plain.record.output
    assert story(run.events) == story(plain.events)


@pytest.mark.parametrize("at", [2, 4, 6, 8])
async def test_a_run_killed_among_siblings_ends_the_same_and_calls_no_tool_twice(at: int, sides: World) -> None:
    whole = await sides.run()
    sides.forget()
    sides.trial.breaking_off_at(at)
    record = await sides.trial.run(sides.spec())
    assert record.status == "interrupted"
    sides.trial.llm.before = None
    run = await sides.told(await sides.trial.go_on(record.id))
    assert run.record.output == whole.record.output
    assert len(run.of("tool.call")) == 1
    steps = {step: lines for step, lines in story(run.events).items() if step}
    assert steps == {step: lines for step, lines in story(whole.events).items() if step}


async def test_what_is_left_is_shared_out_before_they_begin(sides: World) -> None:
    for path in ("1.1", "1.2", "1.3"):
        sides.tree[path] = Part(f"look {path}", tool={"q": path})
    await sides.run(max_tool_calls=2)
    openings = {words(call).split()[2]: call for call in sides.calls if call.purpose == "tim.open"}
    offered = [str(openings[f"1.{n},"].schema).count("'look'") for n in (1, 2, 3)]
    assert offered == [1, 1, 0]


async def test_a_budget_that_ends_in_a_branch_ends_the_run_as_itself(sides: World) -> None:
    run = await sides.run(budget=Budget(calls=4))
    assert run.record.status == "budget_exhausted"


async def test_the_first_error_of_ours_stops_the_others() -> None:
    stopped: list[int] = []

    async def one(number: int) -> None:
        try:
            if number == 1:
                raise BudgetExhausted("no more", limit="calls")
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            stopped.append(number)
            raise

    with pytest.raises(BudgetExhausted, match="no more"), anyio.fail_after(5):
        await side_by_side([partial(one, number) for number in range(3)])
    assert sorted(stopped) == [0, 2]


async def test_no_more_than_so_many_at_once() -> None:
    going, most = 0, 0

    async def one() -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await anyio.lowlevel.checkpoint()
        going -= 1

    await side_by_side([one] * 10, at_once=3)
    assert most == 3
