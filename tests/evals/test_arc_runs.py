"""ARC through the whole bench: scripted programs, attempts, depths; a stop and a resume; nothing hidden is ever asked."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from evals import controls, report
from evals import log as logs
from evals.export_inspect import exported
from evals.log import Log
from evals.plan import Plan
from evals.records import Record
from evals.suites import arc_data
from memory.types import Draft, MemCube
from runtime.events import MemoryWritten
from runtime.llm.scripted import Planned, Script
from runtime.settings import Settings
from runtime.types import JsonObject
from tests.conftest import make_settings
from tests.evals.conftest import Lab, MakeLab
from tests.serving import bare_environment

pytestmark = pytest.mark.anyio
# Training tasks that one line solves: mirrored, upside down, transposed, turned half; and one that none of the lines does.
EASY = ("67a3c6ac", "68b16354", "74dd1130", "3c9b0459")
HARD = "007bbfb7"
PROGRAMS = ("[r[::-1] for r in g]", "g[::-1]", "[list(r) for r in zip(*g)]", "[r[::-1] for r in g[::-1]]")
REPLIES = [f"```python\ndef transform(g):\n    return {line}\n```" for line in PROGRAMS]
SCRIPT = f"""
[[rule]]
purpose = "arcmemo.solve"
replies = {json.dumps(REPLIES)}
first_delay_ms = 5
[[rule]]
purpose = "arcmemo.retry"
replies = {json.dumps(REPLIES)}
[[rule]]
purpose = "arcmemo.pseudocode"
json = {{ pseudocode = "turn the grid", summary = "The grid is turned." }}
[[rule]]
purpose = "arcmemo.abstract"
json = {{ concepts = [{{ name = "turn grid", kind = "routine", description = "Turns a grid." }}] }}
[[rule]]
purpose = "arcmemo.select_concepts"
json = {{ names = ["turn grid"] }}
"""

Write = Callable[..., str]


@pytest.fixture(scope="module")
def lab_settings(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Settings:
    home = tmp_path_factory.mktemp("arc")
    script = home / "script.toml"
    script.write_text(SCRIPT, encoding="utf-8")
    shutil.copy(migrated_file, home)
    return make_settings(home, llm__model=f"scripted/{script}", llm__retries=0, runs__flush_ms=5)


@pytest.fixture
def tasks(tmp_path: Path) -> Write:
    """A data set of the named training tasks, asked as a test."""

    def write(ids: Sequence[str] = (*EASY, HARD), *, flip: bool = False) -> str:
        records = [deepcopy(arc_data.find(f"arc1:{id_}").record) for id_ in ids]
        for pair in (pair for record in records for pair in record["test"] if flip):
            pair["output"] = [[9 - cell for cell in row] for row in pair["output"]]
        path = tmp_path / "tasks.jsonl"
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
        return str(path)

    return write


def told(log: Log) -> list[Any]:
    """What must be the same however often an evaluation was stopped."""
    return sorted((r.key, r.run_seed, r.answer, r.score, r.parts, r.usage.calls) for r in log.records())


async def test_programs_solve_what_they_fit_and_the_report_says_how_well_and_at_what_cost(
    lab: MakeLab, tasks: Write
) -> None:
    bench = lab(8)
    config: JsonObject = {"samples": 2, "retries": 1, "format": "none"}
    log = await bench.run(Plan("arc1", "arcmemo", data=(tasks(),), config=config, seeds=2))
    records = {record.key: record for record in log.records()}
    solved = [record for record in records.values() if record.correct]
    assert 0 < len(solved) < 10
    assert not any(record.correct for record in records.values() if record.item_id == HARD)
    for record in records.values():
        assert record.how == "attempts"
        assert len(record.parts["tries"]) == 2  # type: ignore[arg-type]
        assert len(record.parts["depths"]) == 2  # type: ignore[arg-type]
        assert record.parts["sandbox"] in ("strong", "standard", "reduced")
        assert record.parts["rule"]
        assert 2 <= record.usage.calls <= 4
        assert record.usage.programs >= record.usage.calls, (
            "each program on the train pairs, good ones on the tests too"
        )
        assert (record.usage.by_depth == ()) == (record.usage.calls == 2)
        if record.usage.by_depth:
            assert record.usage.by_depth[0][0] == 2
            assert record.usage.by_depth[-1] == (record.usage.calls, record.usage.tokens)
    # What was run before costs nothing, so an attempt whose programs are all known takes no time.
    assert sum(record.usage.sandbox_seconds for record in records.values()) > 0
    full = report.full(bench.home, log)
    figures = full["figures"]
    assert figures["pass_at_2"] == pytest.approx(full["scores"]["all"]["accuracy"]) == len(solved) / 10
    assert figures["tries"] == 4
    first, second = figures["depths"]
    assert first["pass_at_2"] <= second["pass_at_2"] == figures["pass_at_2"]
    assert first["calls"] == 2 < second["calls"]
    text = report.text(full)
    assert "pass@2 (official)" in text
    assert "after 1 retries" in text
    assert f"{full['cost']['programs']} programs run" in text
    assert len(exported(log)["samples"]) == 10
    picture = report.picture(log, HARD, colour=False)
    assert "attempt 1 ✗" in picture
    assert "0 0 0 0 7 7 0 7 7" in picture


async def test_a_stopped_evaluation_goes_on_and_ends_as_one_that_was_not(lab: MakeLab, tasks: Write) -> None:
    plan = Plan("arc1", "arcmemo", data=(tasks(),), config={"samples": 2, "retries": 1, "format": "none"}, epochs=3)
    whole = told(await lab(8).run(plan))
    bench = lab(2)
    log = await bench.bench.open(plan, bench.loader())
    stops = 0
    while len(log.records()) < 15:
        before = log.records()
        async with anyio.create_task_group() as group:
            group.start_soon(bench.resume, log)
            with anyio.fail_after(60):
                while len(log.records()) < min(15, len(before) + 4):
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert log.records()[: len(before)] == before
        stops += 1
    await bench.resume(log)
    assert stops >= 3
    assert (log.summary() or {})["status"] == "complete"
    assert told(log) == whole


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that the model gets."""
    seen: list[str] = []
    plan = Script.plan

    def recorded(self: Script, purpose: str, messages: Any, sampling: Any, schema: Any) -> Planned:
        seen.append(repr((purpose, messages, sampling, schema)))
        return plan(self, purpose, messages, sampling, schema)

    monkeypatch.setattr(Script, "plan", recorded)
    return seen


@pytest.mark.parametrize(
    ("agent", "config"),
    [("arcmemo", {"samples": 2, "retries": 1}), ("direct", {})],
)
async def test_hidden_outputs_change_no_prompt_and_nothing_that_is_learned(
    lab: MakeLab, tasks: Write, prompts: list[str], agent: str, config: dict[str, Any]
) -> None:
    seen, learned, written, scores = [], [], [], []
    for flip in (False, True):
        bench = lab(1)
        memory: Any = "continual" if agent == "arcmemo" else "off"
        log = await bench.run(
            Plan(
                "arc1",
                agent,
                data=(tasks(flip=flip),),
                config=config,
                memory=memory,
                batch=2 if memory == "continual" else 1,
            )
        )
        # The samples of a run are side by side, so their requests come in any order.
        seen.append(sorted(prompts))
        scores.append([record.score for record in log.records()])
        if memory == "continual":
            learned.append([await _learned(bench, log, cube) for cube in await bench.cubes(f"{log.id} memory 0-0-0")])
            written.append([await _written(bench, record) for record in sorted(log.records(), key=lambda r: r.place)])
            assert any(record.memory_ids for record in log.records())
        prompts.clear()
    assert seen[0] == seen[1] != []
    if agent == "arcmemo":
        assert scores[0] != scores[1], "the scorer does see them"
        assert learned[0] == learned[1] != []
        assert written[0] == written[1]
        assert {op for each in written[0] for op, _ in each} == {"add", "modify"}, "new ones, and more of a known one"
        solving = [prompt for prompt in seen[0] if prompt.startswith("('arcmemo.solve'")]
        assert any("turn grid" in prompt for prompt in solving), "memory is in the prompts that are compared"
        assert any("turn grid" not in prompt for prompt in solving)


async def _learned(bench: Lab, log: Log, cube: MemCube) -> Any:
    """A memory with its versions and sources; runs by the items that they answered."""
    memory, names = bench.service.memory, {str(record.run_id): record.item_id for record in log.records()}
    names[log.id] = "the evaluation"

    def named(text: str | None) -> str:
        return re.sub(r"(run|evl)_[0-9a-f]{32}", lambda found: names[found.group()], text or "")

    versions = [(each.content, each.change) for each in await memory.history(bench.actor, cube.id)]
    sources = [
        replace(each.source, uri=named(each.source.uri), message_id=named(each.source.message_id))
        for each in (await memory.provenance(bench.actor, cube.id)).sources
    ]
    assert any(each.quote for each in sources), "the program that it comes from"
    return cube.content, cube.title, dict(cube.data), cube.state, cube.version, versions, sources


async def _written(bench: Lab, record: Record) -> list[tuple[str, int]]:
    """What a run wrote, in order."""
    events = await bench.service.store.events(str(record.run_id), types=("memory.written",), limit=1000)
    return [(event.payload.op, event.payload.version) for event in events if isinstance(event.payload, MemoryWritten)]


async def test_what_memory_is_worth_is_compared_with_as_many_programs_and_a_vote(lab: MakeLab, tasks: Write) -> None:
    bench = lab(8)
    await bench.vault("concepts", Draft("Turns a grid.", "concept", data={"concept": "turn grid", "kind": "routine"}))
    plan = Plan("arc1", "arcmemo", data=(tasks(EASY[:2]),), config={"samples": 1, "retries": 1})
    main = await bench.run(replace(plan, memory="warm", vault="concepts"))
    calls = {record.item_id: record.usage.calls for record in main.records()}
    assert all(2 <= each <= 3 for each in calls.values()), "a selection, a program, perhaps a second one"
    await controls.run_controls(bench.bench, main, bench.loader())
    equal = report.controls_of(bench.home, main.id)["equal_calls"]
    assert {record.item_id: record.usage.calls for record in equal.records()} == calls
    assert {len(record.parts["tries"]) for record in equal.records()} == set(calls.values())  # type: ignore[arg-type]
    assert report.full(bench.home, main)["lift"]["sentence"]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_an_evaluation_whose_process_is_killed_goes_on_in_another_one(
    lab: MakeLab, tasks: Write, tmp_path: Path, lab_settings: Settings, migrated_file: Path
) -> None:
    config: JsonObject = {"samples": 2, "retries": 1, "format": "none"}
    plan = Plan("arc1", "arcmemo", data=(tasks(),), config=config, epochs=4)
    whole = told(await lab(8).run(plan))
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(migrated_file, home)
    env = bare_environment() | {"MNEME_HOME": str(home), "MNEME_LLM__MODEL": str(lab_settings.llm.model)}
    options = [part for name, value in config.items() for part in ("-C", f"{name}={json.dumps(value)}")]
    options += ["--data", plan.data[0], "--epochs", "4", "--jobs", "2"]
    command = [sys.executable, "-m", "api.cli", "eval", "run", "arc1", "--agent", "arcmemo", *options]
    async with await anyio.open_process(command, env=env, stdout=None, stderr=None) as process:
        with anyio.fail_after(90):
            while not (recorded := [log for log in logs.every(home) if len(log.records()) >= 4]):
                assert process.returncode is None
                await anyio.sleep(0.02)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
    (log,) = recorded
    before = log.records()
    assert 4 <= len(before) < 20
    await anyio.run_process([*command[:5], "--resume", log.id], env=env)
    assert log.records()[: len(before)] == before
    assert (log.summary() or {})["status"] == "complete"
    assert told(log) == whole


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_all_400_evaluation_tasks_end_after_a_stop_and_the_report_opens(lab: MakeLab) -> None:
    bench = lab(8)
    plan = Plan("arc1", "arcmemo", config={"samples": 1, "retries": 0, "format": "none"})
    log = await bench.bench.open(plan, bench.loader())
    start = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.resume, log)
        while len(log.records()) < 100:
            await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    await bench.resume(log)
    took = time.monotonic() - start
    assert len({record.item_id for record in log.records()}) == 400
    full = report.full(bench.home, log)
    assert full["status"] == "complete"
    assert full["figures"]["test_inputs"] == 419
    assert "of 400 tasks" in report.text(full)
    assert took < 240
