"""A whole measurement of memory: the store is built on other data, the test is asked, the controls beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals import controls, report
from evals.lift import CONTROLS
from evals.plan import Plan
from runtime.errors import InvalidInput
from tests.evals.conftest import MakeLab, Problems

pytestmark = pytest.mark.anyio


async def test_a_store_is_built_on_other_data_read_by_the_test_and_compared_with_every_control(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    learning = problems([1, 1], name="years", split="experience", questions=["note Jupiter", "note Saturn"])
    test = problems([5] * 6, name="exam", questions=[f"exam question {n}?" for n in range(6)])
    plan = Plan("aime", "scribe", data=(test,), memory="warm", epochs=2)
    built = await controls.build(bench.bench, plan, [learning], bench.loader())
    main = await bench.run(replace(plan, vault=built.vault))
    await controls.run_controls(bench.bench, main, bench.loader())

    assert main.header().built_by == built.log.id
    assert all(record.correct and record.usage.memory_writes == 0 for record in main.records())
    there = report.controls_of(bench.home, main.id)
    assert set(there) == set(CONTROLS)
    without, placebo, equal = (there[name] for name in CONTROLS)
    assert not any(record.correct for log in there.values() for record in log.records())
    assert {record.usage.memory_reads for record in without.records()} == {0}
    assert {record.usage.memory_reads for record in placebo.records()} == {2}
    assert {record.agent for record in equal.records()} == {"self-consistency"}
    for log in there.values():
        # The same items with the same seeds.
        assert {(r.item_id, r.run_seed) for r in log.records()} == {(r.item_id, r.run_seed) for r in main.records()}

    told = report.full(bench.home, main)
    assert told["lift"]["sentence"].startswith("Memory improves the answers: +100.0 points")
    assert told["building"]["id"] == built.log.id
    assert told["building"]["amortised_over"] == 6
    assert told["building"]["amortised"]["calls"] == pytest.approx(2 / 6)
    prompts = {name: arm["prompt_tokens"] for name, arm in told["lift"]["arms"].items()}
    assert prompts["placebo"] == pytest.approx(prompts["memory"], rel=0.15)
    assert prompts["without"] < prompts["memory"]
    text = report.text(told)
    for words in ("building the store", "equal_calls", "equal budget:", "Memory improves"):
        assert words in text


async def test_as_many_calls_are_spent_as_the_agent_with_memory_did(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    await bench.vault("for calls", "something")
    data = problems([5, 6])
    plan = Plan("aime", "best-of-n", data=(data,), config={"n": 2}, memory="warm", vault="for calls")
    main = await bench.run(plan)
    calls = {record.item_id: record.usage.calls for record in main.records()}
    assert set(calls.values()) == {3}, "two answers and a judge"
    await controls.run_controls(bench.bench, main, bench.loader())
    equal = report.controls_of(bench.home, main.id)["equal_calls"]
    assert {record.item_id: record.usage.calls for record in equal.records()} == calls


async def test_controls_that_are_there_are_not_run_again(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    plan = Plan("aime", "scribe", data=(problems([1], name="once", questions=["note Jupiter"]),), memory="continual")
    main = await bench.run(plan)
    first = await controls.run_controls(bench.bench, main, bench.loader())
    assert [log.header().control for log in first] == ["without", "equal_calls"], "nothing stands for a growing store"
    second = await controls.run_controls(bench.bench, main, bench.loader())
    assert [log.id for log in second] == [log.id for log in first]


async def test_a_store_that_is_measured_on_a_test_is_not_built_on_one(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    with pytest.raises(InvalidInput, match="is of the split 'test'"):
        await controls.build(
            bench.bench, Plan("aime", "direct", memory="warm"), [problems([1], name="tests")], bench.loader()
        )


async def test_an_agent_that_learns_nothing_is_said(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    data = problems([1], name="idle", split="experience")
    await controls.build(bench.bench, Plan("aime", "direct", memory="warm"), [data], bench.loader())
    assert any("has written no memory" in line for line in bench.said)


async def test_controls_belong_to_memory(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    main = await bench.run(Plan("aime", "direct", data=(problems([5]),)))
    with pytest.raises(InvalidInput, match="--memory"):
        await controls.run_controls(bench.bench, main, bench.loader())


async def test_the_report_of_a_control_names_what_it_is_a_control_of(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    await bench.vault("for report", "something")
    plan = Plan("aime", "direct", data=(problems([5, 6]),), memory="warm", vault="for report")
    main = await bench.run(plan)
    (without, *_) = await controls.run_controls(bench.bench, main, bench.loader())
    told: Any = report.full(bench.home, without)
    assert (told["control_of"], told["control"]) == (main.id, "without")
    rows = {row["id"]: row for row in (report.row_of(log) for log in (main, without))}
    assert rows[without.id]["control"] == "without"
    assert rows[main.id]["accuracy"] == 0.5 or rows[main.id]["accuracy"] == 1.0
    compared = report.compared(bench.home, main.id, without.id)
    assert compared.same_data
    assert "No difference" in compared.sentence
    assert "only a 0, only b 0" in report.comparison_text(compared.to_json())
