"""Ids that name the same problem everywhere: what was learned on a problem is not read where it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals import guards, registry, vaults
from evals.base import DataSet, Sample, SuiteSpec
from evals.guards import LeakFound
from evals.plan import Plan
from evals.preparing import prepare
from evals.suites import arc_data
from evals.suites.fields import NoOptions
from memory.types import Change, Draft, Source
from runtime.run_types import RunSpec
from tests.evals.conftest import Lab, MakeLab

pytestmark = pytest.mark.anyio
# An evaluation task of ARC-AGI-2 that is one of ARC-AGI-1 as well, and one that is not.
BOTH, OTHER = "0934a4d8", "135a2760"


@pytest.fixture
def asked(tmp_path: Path) -> str:
    """Both tasks, as a data set."""
    path = tmp_path / "two.jsonl"
    records = [record for record in arc_data.records("arc2", "eval") if record["id"] in (BOTH, OTHER)]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return str(path)


def concept(**data: Any) -> Draft:
    return Draft(
        f"A concept about grids: {data}.", "concept", data={"concept": "reflect grid", "kind": "routine", **data}
    )


def item(id_: str) -> tuple[Source, ...]:
    return (Source("run", uri=f"mneme-eval:evl_{1:032x}/arc1/train/{id_}"),)


@pytest.mark.parametrize(
    ("name", "draft"),
    [
        ("learned on it", Draft("a lesson", "experience", sources=item(BOTH))),
        ("seeded from it", Draft("a lesson", "experience", sources=(Source("document", uri=f"arc1:{BOTH}"),))),
        ("used in it", concept(used_in=["007bbfb7", BOTH])),
        ("used in it, with the version", concept(used_in=[f"arc1:{BOTH}"])),
        ("lesson", Draft("l", "lesson", data={"situation": "s", "suggestion": "t", "source": BOTH})),
    ],
)
@pytest.mark.parametrize("mode", ["warm", "continual"])
async def test_a_memory_of_an_evaluation_task_is_refused_whatever_split_it_was_learned_on(
    lab: MakeLab, asked: str, name: str, draft: Draft, mode: Any
) -> None:
    bench, vault = lab(), f"{name} {mode}"
    await bench.vault(vault, concept(used_in=["007bbfb7"]), draft)
    with pytest.raises(LeakFound, match=f"of the problem '{BOTH}', which is asked"):
        await bench.run(Plan("arc2", "direct", data=(asked,), memory=mode, vault=vault))


async def test_memories_of_other_tasks_may_be_read(lab: MakeLab, asked: str) -> None:
    bench = lab()
    await bench.vault("seeds", concept(used_in=["007bbfb7"]), Draft("a lesson", "experience", sources=item("00d62c1b")))
    log = await bench.run(Plan("arc2", "direct", data=(asked,), memory="warm", vault="seeds"))
    assert len(log.records()) == 2


async def test_what_was_made_from_a_memory_of_the_task_is_one_too(lab: MakeLab, asked: str) -> None:
    bench = lab()
    memory = bench.service.memory
    await bench.vault("first", concept(used_in=[BOTH]))
    await bench.vault("second")
    await vaults.copy(memory, bench.actor, "first", "second")
    (copied,) = await bench.cubes("second")
    without = {name: value for name, value in copied.data.items() if name != "used_in"}
    await memory.edit(bench.actor, copied.id, Change({"data": without}), expect=copied.version)
    with pytest.raises(LeakFound, match=BOTH):
        await bench.run(Plan("arc2", "direct", data=(asked,), memory="warm", vault="second"))


async def test_what_a_run_wrote_that_was_asked_the_same_task_is_refused_even_without_its_name(
    lab: MakeLab, asked: str
) -> None:
    bench = lab()
    sample = next(s for s in await samples(bench, asked) if s.id == OTHER)
    task = {name: value for name, value in sample.task.items() if name != "id"}
    live = await bench.service.foreground(RunSpec(agent="direct", input=task, memory="off"), owner=bench.actor.user_id)
    async for _ in live.items():
        pass
    await bench.vault("by hand", Draft("a lesson", "experience", sources=(Source("run", uri=live.run_id),)))
    with pytest.raises(LeakFound, match=f"{live.run_id}, which was asked the same"):
        await bench.run(Plan("arc2", "direct", data=(asked,), memory="warm", vault="by hand"))


async def test_training_tasks_may_be_gone_over_again_but_not_measured_frozen(lab: MakeLab, tmp_path: Path) -> None:
    bench = lab()
    path = tmp_path / "train.jsonl"
    record = {**arc_data.find("arc1:007bbfb7").record, "split": "train"}
    path.write_text(json.dumps(record), encoding="utf-8")
    await bench.vault("first pass", concept(used_in=["007bbfb7"]))
    plan = Plan("arc1", "direct", data=(str(path),), memory="continual", vault="first pass")
    assert len((await bench.run(plan)).records()) == 1
    with pytest.raises(LeakFound, match="007bbfb7"):
        await bench.run(Plan("arc1", "direct", data=(str(path),), memory="warm", vault="first pass"))


def test_ids_of_other_suites_name_nothing() -> None:
    samples = registry.get("arc1").samples(_data([{**arc_data.find("arc1:007bbfb7").record}]), NoOptions())
    own = SuiteSpec("own", 1, "", ("x",), NoOptions)
    assert guards.asked_of(Plan("own", "direct", memory="warm"), own, samples) == guards.NOTHING
    held = guards.asked_of(Plan("arc1", "direct", memory="warm"), registry.get("arc1").spec, samples)
    assert held.ids == {"007bbfb7"}


def _data(records: list[dict[str, Any]]) -> DataSet:
    return DataSet("d", "s", "", "test", tuple(records))


async def samples(bench: Lab, words: str) -> list[Sample]:
    return list((await prepare(Plan("arc2", "direct", data=(words,)), bench.loader())).samples)
