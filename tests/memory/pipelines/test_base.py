"""What the pipelines share: reading what may be read, writing what was judged, counting over several executions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memory import access, reviews, store
from memory.admitting.admission import Verdict
from memory.jobs import Job
from memory.pipelines.base import Child, child, counted, home_of, id_of, ids_of, present, protected, write_children
from memory.types import Draft, MemCube
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.cubes import cube
from tests.memory.laboratory import Lab
from tests.storing import SetClock

NOW = SetClock().now()
JOB = Job(
    "job_1",
    "usr_ann",
    "t.work",
    {"a": "x", "b": ["y", "z"], "c": 7, "d": [1]},
    "running",
    1,
    0,
    None,
    None,
    None,
    NOW,
    None,
)


def test_arguments_are_read_as_ids_or_refused() -> None:
    assert (id_of(JOB, "a"), ids_of(JOB, "b"), ids_of(JOB, "none")) == ("x", ["y", "z"], [])
    for call, name in ((id_of, "b"), (id_of, "none"), (ids_of, "c"), (ids_of, "d")):
        with pytest.raises(InvalidInput) as refused:
            call(JOB, name)
        assert refused.value.param == name


def test_counts_go_on_from_what_earlier_executions_left() -> None:
    assert counted(JOB, ("a", "b")) == {"a": 0, "b": 0}
    job = replace(JOB, result={"b": 2, "c": 3, "note": "x"})
    assert counted(job, ("a", "b")) == {"a": 0, "b": 2, "c": 3}


def test_pinned_and_frozen_memories_are_protected() -> None:
    assert protected(cube(pinned=True))
    assert protected(cube(state="frozen"))
    assert not protected(cube())


def test_a_child_gets_its_state_from_its_verdict() -> None:
    admitted = child("vlt_1", Draft("a"), Verdict("admit"), {}, ["p"], "r")
    held = child("vlt_1", Draft("a"), Verdict("quarantine"), {}, ["p"], "r")
    assert (admitted.new.draft.state, held.new.draft.state) == ("activated", "quarantined")
    assert admitted.new.id != held.new.id


async def store_children(lab: Lab, *children: Child) -> list[MemCube]:
    home = await vault_id(lab.core)

    def work(tx: Any) -> list[MemCube]:
        return write_children(tx, access.vault(tx, home, "write"), "extract", children)

    return await lab.core.write(ANN, work)


@pytest.mark.anyio
async def test_children_are_stored_linked_audited_and_asked_about_once(lab: Lab) -> None:
    home = await vault_id(lab.core)
    there, parent = await lab.put("Ana lives in Porto"), await lab.put("raw", state="generated")

    def of(text: str, verdict: Verdict) -> Child:
        return child(home, Draft(text), verdict, {}, [parent.id], "test")

    made = await store_children(
        lab,
        of("Ana sings", Verdict("admit")),
        of("Ana lives in Porto", Verdict("admit")),
        of("Ana may dance", Verdict("quarantine", 0.4, ("scored 0.40", "not sure"))),
        of("Ana sings", Verdict("admit")),
    )
    assert [(cube.content, cube.state) for cube in made] == [
        ("Ana sings", "activated"),
        ("Ana may dance", "quarantined"),
    ]
    for stored in (*made, there):
        assert await lab.links(stored) == {(stored.id, "DERIVED_FROM", parent.id)}
    (review,) = await lab.core.read(ANN, reviews.page)
    assert (review.memory_id, review.reason) == (made[1].id, "scored 0.40; not sure")
    assert await lab.deeds() == [("extract", made[0].id)]
    assert await store_children(lab) == []
    assert len(await lab.deeds()) == 1


@pytest.mark.anyio
async def test_what_is_gone_is_left_out_and_what_may_not_be_seen_raises(lab: Lab) -> None:
    await lab.core.default_vault(BOB)
    mine, gone, his = await lab.put("a b"), await lab.put("c d"), await lab.put("e f", BOB)
    await lab.core.write(ANN, lambda tx: store.move(tx, gone, "delete"))
    assert list(await present(lab.core, ANN, [mine.id, gone.id, mine.id])) == [mine.id]
    for hidden in (his.id, new_id("mem")):
        with pytest.raises(UnknownName):
            await present(lab.core, ANN, [mine.id, hidden], "read")
    assert (await home_of(lab.core, ANN, mine.vault_id)).id == mine.vault_id
    with pytest.raises(UnknownName):
        await home_of(lab.core, ANN, his.vault_id)
