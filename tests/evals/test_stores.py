"""What runs read as memory: nothing, an empty store, a prepared one, placebos; and never what was learned on the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.guards import LeakFound
from evals.plan import Plan
from memory.types import Change, Draft, Source
from runtime.errors import InvalidInput
from runtime.runs import RunSpec
from runtime.types import JsonObject
from tests.evals.conftest import Lab, MakeLab, Problems

pytestmark = pytest.mark.anyio
RECALL: JsonObject = {"tasks": "fact_recall"}


async def spec_of(bench: Lab, run_id: str | None) -> RunSpec:
    return (await bench.service.get(str(run_id), owner=None)).spec


async def test_off_reads_nothing(lab: MakeLab, shared_data: Path) -> None:
    bench = lab()
    (record,) = (await bench.run(Plan("small", "direct", options=RECALL, limit=1), shared_data)).records()
    assert (record.memory_ids, record.usage.memory_reads, record.correct) == ((), 0, False)
    assert (await spec_of(bench, record.run_id)).vaults == ()


async def test_cold_is_an_empty_store_for_every_attempt_that_may_be_written(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab(1)
    data = problems([1, 1], name="cold", questions=["note Mars", "what was learned?"])
    records = (await bench.run(Plan("aime", "scribe", data=(data,), memory="cold", epochs=2))).records()
    specs = [await spec_of(bench, record.run_id) for record in records]
    assert {spec.memory for spec in specs} == {"on"}
    assert len({spec.vaults for spec in specs}) == 4, "each attempt has a store of its own"
    assert {(record.item_id, record.usage.memory_writes) for record in records} == {("cold-0", 1), ("cold-1", 0)}
    assert all(record.usage.memory_reads == 0 for record in records), "and nobody else ever sees it"
    assert await bench.vault_names("evl_") == []


async def test_warm_reads_what_the_suite_prepares_and_leaves_no_vault_behind(lab: MakeLab, shared_data: Path) -> None:
    bench = lab()
    log = await bench.run(Plan("small", "direct", options=RECALL, limit=2, epochs=2, memory="warm"), shared_data)
    records = log.records()
    by_item = {record.item_id: record for record in records}
    assert by_item["recall-41-000"].correct, "the fact is in the store, and is found"
    assert all(record.usage.memory_reads > 0 for record in records)
    specs = {(await spec_of(bench, record.run_id)).vaults for record in records}
    assert len(specs) == 2, "attempts at one item share its store"
    assert {(await spec_of(bench, r.run_id)).memory for r in records} == {"read"}
    assert await bench.vault_names("evl_") == []


async def test_a_named_vault_is_read_and_not_written(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    vault = await bench.vault("prepared", "Jupiter was learned")
    data = problems([5], name="named", questions=["note Venus Jupiter"])
    log = await bench.run(Plan("aime", "scribe", data=(data,), memory="warm", vault="prepared"))
    (record,) = log.records()
    (cube,) = await bench.cubes(vault)
    assert (record.memory_ids, record.correct, record.usage.memory_writes) == ((cube.id,), True, 0)
    assert await bench.texts(vault) == ["Jupiter was learned"]


async def test_a_placebo_takes_the_place_of_each_memory_at_equal_length(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    await bench.vault("real", "Jupiter was learned", Draft("Saturn has rings", "fact"))
    data = problems([5], name="placebo", questions=["Jupiter and Saturn?"])
    plan = Plan("aime", "direct", data=(data,), memory="warm", vault="real")
    (real,) = (await bench.run(plan)).records()
    (placebo,) = (await bench.run(Plan.from_json({**plan.to_json(), "placebo": True}))).records()
    assert (real.correct, placebo.correct) == (True, False)
    assert len(real.memory_ids) == len(placebo.memory_ids) == 2
    assert not set(real.memory_ids) & set(placebo.memory_ids)
    assert "Jupiter was" not in placebo.output
    assert await bench.texts("real") == ["Jupiter was learned", "Saturn has rings"]


async def test_warm_without_anything_to_read_is_refused_with_the_fix(lab: MakeLab, problems: Problems) -> None:
    with pytest.raises(InvalidInput, match="--vault, or build one with --build"):
        await lab().run(Plan("aime", "direct", data=(problems([5]),), memory="warm"))


# -- leaks -----------------------------------------------------------------------------------------------------------


def item(split: str) -> Source:
    return Source("run", uri=f"mneme-eval:evl_{1:032x}/aime/{split}/aime2024-I-01")


@pytest.mark.parametrize(
    ("name", "draft"),
    [
        ("tagged", Draft("answers of the test", tags=("split:test",))),
        ("learned", Draft("a lesson of the test", sources=(item("test"),))),
    ],
)
async def test_a_memory_of_the_test_split_aborts_a_frozen_run(
    lab: MakeLab, problems: Problems, name: str, draft: Draft
) -> None:
    bench = lab()
    await bench.vault(name, "Jupiter was learned", draft)
    with pytest.raises(LeakFound, match="memories of the test split: mem_"):
        await bench.run(Plan("aime", "direct", data=(problems([5]),), memory="warm", vault=name))


async def test_what_was_learned_elsewhere_may_be_read(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    await bench.vault("fine", Draft("Jupiter was learned", sources=(item("experience"),)))
    log = await bench.run(Plan("aime", "direct", data=(problems([5]),), memory="warm", vault="fine"))
    assert log.records()[0].usage.memory_reads == 1


async def test_a_run_that_answered_a_test_item_taints_what_it_wrote(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    log = await bench.run(Plan("aime", "direct", data=(problems([5]),)))
    run_id = log.records()[0].run_id
    await bench.vault("tainted", Draft("a lesson", sources=(Source("run", uri=run_id, message_id="node.1"),)))
    with pytest.raises(LeakFound, match=str(run_id)):
        await bench.run(Plan("aime", "direct", data=(problems([5]),), memory="warm", vault="tainted"))


async def test_a_copy_and_a_merge_do_not_wash_a_memory(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    memory = bench.service.memory
    await bench.vault(
        "washed", Draft("a lesson of the test", tags=("split:test",)), "another lesson of the test, longer"
    )
    first, second = await bench.cubes("washed")
    kept = await memory.merge(bench.actor, [first.id, second.id])
    assert kept.id == second.id
    # The merged memory has the tag; without it its lineage still says so.
    await memory.edit(bench.actor, kept.id, Change({"tags": ()}), expect=kept.version)
    await bench.vault("copied")
    await memory.vaults.migrate(bench.actor, "washed", "copied")
    for vault in ("washed", "copied"):
        with pytest.raises(LeakFound, match="made from mem_"):
            await bench.run(Plan("aime", "direct", data=(problems([5]),), memory="warm", vault=vault))


async def test_what_comes_into_the_vault_during_the_run_aborts_it_too(lab: MakeLab, problems: Problems) -> None:
    bench = lab(1)
    await bench.vault("growing", "Jupiter was learned")
    data = problems([1, 1, 1], name="slow")
    plan = Plan("aime", "direct", data=(data,), memory="warm", vault="growing")
    log = await bench.bench.open(plan, bench.loader())
    leaked = Draft("slow question number is one", tags=("split:test",))
    original = bench.service.memory.search

    async def search(*asked: Any, **more: Any) -> Any:
        await bench.service.memory.add(bench.actor, [leaked], vault="growing", force=True)
        return await original(*asked, **more)

    bench.service.memory.search = search  # type: ignore[method-assign]
    try:
        with pytest.raises(LeakFound, match="split:test"):
            await bench.resume(log)
    finally:
        bench.service.memory.search = original  # type: ignore[method-assign]
    assert log.records() == []


async def test_prompts_that_stand_in_a_memory_are_flagged_and_not_refused(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    question = "A train leaves at nine and arrives at eleven, how long is the whole journey in minutes?"
    await bench.vault("verbatim", f"Seen before: {question} It was easy.", "something else entirely")
    data = problems([120, 5], name="flagged", questions=[question, "What is left of a cake when all of it is eaten?"])
    log = await bench.run(Plan("aime", "direct", data=(data,), memory="warm", vault="verbatim"))
    held = [cube for cube in await bench.cubes("verbatim") if "Seen" in cube.content]
    assert log.header().overlaps == ({"item_id": "flagged-0", "memory_id": held[0].id, "share": 1.0},)
    assert len(log.records()) == 2
