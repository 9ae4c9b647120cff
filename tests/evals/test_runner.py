"""The runner over real runs of the scripted model: what is recorded, what is resumed, what stops it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from evals import log as logs
from evals.plan import Plan
from evals.runner import MAX_BROKEN, Incomplete
from runtime.budget import Budget
from runtime.errors import InvalidInput, UnknownName
from tests.evals.conftest import MakeLab, Problems

pytestmark = pytest.mark.anyio


async def test_each_sample_has_one_record_that_says_everything(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    data = problems([5, 6, 7, 8])
    log = await bench.run(Plan("aime", "direct", data=(data,), sampling={"temperature": 0.5, "max_tokens": 9}))
    records = {record.item_id: record for record in log.records()}
    assert len(records) == 4
    first = records["problems-0"]
    run = await bench.service.get(str(first.run_id), owner=None)
    assert (first.correct, first.score, first.answer, first.how) == (True, 1.0, "5", "boxed")
    assert (first.stop_reason, first.model, first.set) == ("stop", run.model, "problems")
    assert (first.usage.calls, first.usage.prompt_tokens) == (1, run.total_usage.prompt_tokens)
    assert first.usage.peak_tokens == first.usage.tokens == run.total_usage.total_tokens
    assert first.finished_at is not None
    assert run.spec.suite == "aime/test"
    assert run.spec.sampling == {"temperature": 0.5, "max_tokens": 9}
    assert (run.spec.seed, run.spec.memory, run.spec.vaults) == (first.run_seed, "off", ())
    assert (records["problems-2"].correct, records["problems-2"].fallback) == (False, 1.0)
    assert (records["problems-3"].answer, records["problems-3"].fallback) == (None, None)


async def test_the_header_says_what_was_asked_and_with_what(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    plan = Plan("aime", "direct", data=(problems([5, 6]),), epochs=2)
    log = await bench.run(plan)
    header = log.header()
    assert header.plan == plan
    assert (header.samples, header.expected) == (2, 4)
    assert header.sets[0]["sha256"] == header.data_sha256 == log.records()[0].data_sha256
    assert set(header.versions) >= {"python", "mneme", "math-verify"}
    assert len(header.prompts["task math"]) == 64
    assert header.revision is None or len(str(header.revision["commit"])) == 40
    assert sorted(log.samples()) == ["problems-0", "problems-1"]
    assert bench.seen[-1] == (4, 4)


async def test_no_gold_answer_reaches_a_request_or_a_prompt(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    data = problems([314, 159], name="echo")
    log = await bench.run(Plan("aime", "self-consistency", data=(data,), config={"n": 2}))
    for record in log.records():
        run = await bench.service.get(str(record.run_id), owner=None)
        assert "echo question" in record.output, "the echo repeats the prompt that the model saw"
        for told in (str(run.spec.input), str(run.spec.config), record.output):
            assert "314" not in told
            assert "159" not in told


async def test_seeds_and_attempts_are_runs_of_their_own_and_the_same_every_time(
    lab: MakeLab, problems: Problems
) -> None:
    plan = Plan("aime", "direct", data=(problems([5, 6]),), seed=4, seeds=2, epochs=3)
    first, second = (await lab().run(plan)).records(), (await lab().run(plan)).records()
    assert {(r.seed, r.attempt) for r in first} == {(s, a) for s in (4, 5) for a in range(3)}
    told = [sorted((r.key, r.run_seed, r.output, r.score) for r in each) for each in (first, second)]
    assert told[0] == told[1]
    assert len({r.output for r in first if r.item_id == "problems-1"}) == 2, "seeds must matter to the model"


async def test_a_stopped_evaluation_goes_on_at_the_first_missing_record(lab: MakeLab, problems: Problems) -> None:
    plan = Plan("aime", "direct", data=(problems([1] * 12, name="slow"),))
    bench = lab(2)
    log = await bench.bench.open(plan, bench.loader())
    async with anyio.create_task_group() as group:
        group.start_soon(bench.resume, log)
        with anyio.fail_after(30):
            while len(log.records()) < 3:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    before, summary = log.records(), log.summary()
    assert 3 <= len(before) < 12
    assert summary is not None
    assert (summary["status"], summary["done"]) == ("incomplete", len(before))
    page = await bench.service.store.page(None, limit=20)
    assert {run.status for run in page.items if "slow" in str(run.spec.input)} == {"succeeded", "cancelled"}, (
        "runs under way are cancelled, and none is left for another process"
    )
    await lab(4).resume(log)
    after = log.records()
    assert after[: len(before)] == before, "what was recorded is not asked again"
    assert sorted(record.item_id for record in after) == sorted(f"slow-{n}" for n in range(12))
    assert (log.summary() or {})["status"] == "complete"


async def test_a_run_that_breaks_outside_the_agent_has_no_record_and_is_asked_again(
    lab: MakeLab, problems: Problems
) -> None:
    bench = lab()
    log = await bench.bench.open(Plan("aime", "direct", data=(problems([5, 5, 5], name="flaky"),)), bench.loader())
    with pytest.raises(Incomplete, match=f"1 of 3 .*--resume {log.id}"):
        await bench.resume(log)
    assert sorted(record.item_id for record in log.records()) == ["flaky-0", "flaky-2"]
    assert any("flaky-1" in line for line in bench.said)
    await lab().resume(log)
    assert len(log.records()) == 3


async def test_a_model_server_that_is_gone_stops_the_evaluation_early(lab: MakeLab, problems: Problems) -> None:
    bench = lab(1)
    log = await bench.bench.open(Plan("aime", "direct", data=(problems([1] * 30, name="gone"),)), bench.loader())
    with pytest.raises(Incomplete, match="30 of 30"):
        await bench.resume(log)
    page = await bench.service.store.page(None, status="failed", limit=100)
    assert sum("gone question" in str(run.spec.input) for run in page.items) == MAX_BROKEN


async def test_an_agent_that_fails_is_wrong_and_not_asked_again(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    log = await lab().run(Plan("aime", "scribe", data=(problems([5], name="break"),)))
    (record,) = log.records()
    assert (record.stop_reason, record.score, record.failed) == ("failed", 0.0, True)
    assert record.error == "malformed_reply: the scribe broke its pen"
    assert (log.summary() or {})["scores"]["all"]["failed"] == 1.0


async def test_a_budget_that_ends_is_graded_on_what_there_is(lab: MakeLab, problems: Problems) -> None:
    plan = Plan("aime", "self-consistency", data=(problems([5]),), config={"n": 4}, budget=Budget(calls=2))
    (record,) = (await lab().run(plan)).records()
    assert (record.stop_reason, record.usage.calls, record.correct) == ("budget_exhausted", 2, True)


async def test_no_more_runs_than_jobs_are_under_way(lab: MakeLab, problems: Problems) -> None:
    bench, most = lab(3), 0
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(bench.service._runner.active()))
                await anyio.sleep(0.002)

        group.start_soon(watch)
        await bench.run(Plan("aime", "direct", data=(problems([1] * 9, name="slow"),)))
        group.cancel_scope.cancel()
    assert 2 <= most <= 3


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"suite": "nothing"}, UnknownName),
        ({"agent": "nothing"}, UnknownName),
        ({"options": {"x": 1}}, InvalidInput),
        ({"data": ("nothing.jsonl",)}, InvalidInput),
        ({"epochs": 0}, InvalidInput),
        ({"config": {"m": 2}}, InvalidInput),
        ({"model": "nothing"}, UnknownName),
        ({"memory": "warm", "vault": "nothing"}, UnknownName),
    ],
)
async def test_what_cannot_be_is_refused_before_there_is_a_log(
    lab: MakeLab, problems: Problems, changes: dict[str, Any], error: type[Exception]
) -> None:
    bench = lab()
    before = [log.id for log in logs.every(bench.home)]
    with pytest.raises(error):
        await bench.run(replace(Plan("aime", "direct", data=(problems([1]),)), **changes))
    assert [log.id for log in logs.every(bench.home)] == before


async def test_data_that_changed_since_is_not_gone_on_with(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    log = await bench.run(Plan("aime", "direct", data=(problems([5, 6]),)))
    problems([5, 7])
    with pytest.raises(InvalidInput, match="begin a new one"):
        await bench.resume(log)
