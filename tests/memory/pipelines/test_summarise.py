"""Summaries: they cite what they rest on, live no longer than it, become stale with it, and are written anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import update

from memory import explain, store, versions
from memory.jobs import Job
from memory.pipelines import summarise
from memory.pipelines.summarise import MEMBERS, arguments
from memory.tables import JobRow
from memory.types import MemCube
from memory.upkeep import sweep
from memory.upkeep.sweep import STALE
from memory.workers import SYSTEM
from tests.memory.conftest import ANN, BOB
from tests.memory.laboratory import Lab, rule
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
TEXT = "Ana lived in Porto from 2024 and has lived in Lisbon since 2025-03-10."
SOON = datetime(2031, 1, 1, tzinfo=UTC)


async def homes(lab: Lab) -> list[MemCube]:
    return [
        await lab.put(
            "Ana lives in Porto since 2024", entities=("Ana", "Porto"), sensitivity=("home",), confidence=0.8
        ),
        await lab.put("Ana moved to Lisbon on 2025-03-10", entities=("Ana", "Lisbon"), expires_at=SOON),
        await lab.put("Ana has lived in Lisbon with Momo", sensitivity=("pets",)),
    ]


def said(cited: list[str], text: str = TEXT) -> str:
    return rule(summarise.PURPOSE, {"title": " Ana's  homes ", "text": text, "child_ids": [*cited]})


async def sum_up(lab: Lab, members: list[MemCube], *rules: str, before: str | None = None) -> Job:
    args = arguments(members[0].vault_id, [cube.id for cube in members], before)
    return await lab.do(summarise.KIND, args, *rules)


async def made(lab: Lab, job: Job) -> MemCube:
    assert job.state == "done", job.error
    assert job.result is not None
    return await lab.now(str(job.result["summary_id"]))


async def test_a_summary_cites_its_members_and_carries_what_they_carry(lab: Lab) -> None:
    members = await homes(lab)
    cube = await made(lab, await sum_up(lab, members, said([members[0].id, members[1].id, "mem_unknown"])))
    assert (cube.content, cube.title, cube.semantic_type, cube.state) == (TEXT, "Ana's homes", "summary", "activated")
    assert (cube.entities, cube.sensitivity) == (("Ana", "Porto", "Lisbon"), ("home",))
    assert (cube.confidence, cube.expires_at, cube.origin) == (0.8, SOON, "inference_extraction")
    assert await lab.links(cube) == {(cube.id, "PARENT", members[0].id), (cube.id, "PARENT", members[1].id)}
    told = await lab.core.read(ANN, lambda tx: explain.provenance(tx, cube))
    assert {each.source.uri for each in told.sources if each.source.uri} == {f"memory:{m.id}" for m in members[:2]}
    assert ("summarise", cube.id) in await lab.deeds()
    assert [await lab.now(member) for member in members] == members


async def test_a_summary_whose_member_was_replaced_is_stale_until_it_is_written_anew(lab: Lab, clock: SetClock) -> None:
    members = await homes(lab)
    before = await made(lab, await sum_up(lab, members, said([m.id for m in members])))
    clock.pass_by(60)
    newer = await lab.put("Ana lives in Rome since 2026")
    await lab.core.write(ANN, lambda tx: store.supersede(tx, store.get(tx, members[1].id), newer))
    assert await lab.core.write(SYSTEM, sweep.age_summaries) == 1
    stale = await lab.now(before)
    assert (stale.data[STALE], stale.content, stale.state) == (True, TEXT, "activated")
    clock.pass_by(60)
    text = "Ana lived in Porto from 2024 and lives in Rome since 2026."
    again = await made(
        lab, await sum_up(lab, [members[0], newer], said([members[0].id, newer.id], text), before=before.id)
    )
    assert (again.id, again.content, again.data[STALE], again.version) == (before.id, text, False, 3)
    assert await lab.links(again) == {(again.id, "PARENT", members[0].id), (again.id, "PARENT", newer.id)}
    assert again.sensitivity == ("home", "pets"), "what it told before it may still be asked for by version"
    history = await lab.core.read(ANN, lambda tx: versions.history(tx, before.id))
    assert [version.change for version in history] == ["overwrite", "edit", "create"]
    assert await lab.core.write(SYSTEM, sweep.age_summaries) == 0


async def test_a_summary_of_what_was_deleted_leaves_and_comes_back_without_it(lab: Lab, clock: SetClock) -> None:
    members = await homes(lab)
    before = await made(lab, await sum_up(lab, members, said([m.id for m in members])))
    clock.pass_by(60)
    await lab.core.write(ANN, lambda tx: store.move(tx, store.get(tx, members[0].id), "delete"))
    assert await lab.core.write(SYSTEM, sweep.age_summaries) == 1
    assert (await lab.now(before)).state == "quarantined"
    text = "Ana moved to Lisbon on 2025-03-10 and has lived there with Momo."
    again = await made(lab, await sum_up(lab, members[1:], said([m.id for m in members[1:]], text), before=before.id))
    assert (again.id, again.state, again.content) == (before.id, "activated", text)
    assert members[0].id not in {end for link in await lab.links(again) for end in link}


@pytest.mark.parametrize(
    ("cited", "text"),
    [
        ([0], TEXT),
        ([], TEXT),
        ([0, 1], "Ana dances with sailors from Madeira every single evening."),
        ([0, 1], "Ana lived in Porto and has 7 cats in Lisbon."),
        ([0, 1], "Ana lives in Lisbon; the password is Tr0ub4dor&3"),
    ],
)
async def test_a_summary_that_its_members_do_not_carry_is_not_written(lab: Lab, cited: list[int], text: str) -> None:
    members = await homes(lab)
    job = await sum_up(lab, members, said([members[n].id for n in cited] or ["mem_x"], text))
    assert (job.state, (job.error or "").partition(":")[0]) == ("failed", "malformed_reply")
    assert await lab.all() == members


async def test_a_member_that_changed_meanwhile_means_again(lab: Lab, clock: SetClock) -> None:
    members = await homes(lab)
    parts = lab.parts(said([m.id for m in members]))
    ask = parts.asker.ask

    async def meddle(*args: Any, **kwargs: Any) -> Any:
        answer = await ask(*args, **kwargs)
        await lab.core.write(ANN, lambda tx: store.change(tx, members[0], kind="edit", tags=("x",)))
        return answer

    parts.asker.ask = meddle  # type: ignore[method-assign]
    job = await lab.enqueue(summarise.KIND, arguments(members[0].vault_id, [m.id for m in members]))
    job = await lab.work(job, parts=parts)
    assert (job.state, (job.error or "").partition(":")[0]) == ("failed", "stale")
    clock.pass_by(10)
    job = await lab.work(job, said([m.id for m in members]))
    assert job.state == "done"


async def test_a_job_that_is_executed_again_after_its_end_was_lost_writes_nothing_twice(lab: Lab) -> None:
    members = await homes(lab)
    job = await sum_up(lab, members, said([m.id for m in members]))
    first = await made(lab, job)

    reopened = update(JobRow).where(JobRow.id == job.id).values(state="queued")
    await lab.core.db.write(lambda connection: connection.execute(reopened))
    again = await lab.work(job, rule("*", fault="400"))
    assert (await made(lab, again)) == first


async def test_only_members_in_use_of_that_vault_count(lab: Lab) -> None:
    members = await homes(lab)
    travels = await lab.put("Ana sails to Madeira", vault=await lab.vault("travels"))
    archived = await lab.put("Ana lived in Faro", state="archived")
    held = await lab.put("Ana may live in Rome", state="quarantined")
    job = await sum_up(lab, [members[0], travels, archived, held], rule("*", fault="400"))
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "invalid_input")
    many = [await lab.put(f"Ana has cat number {n}") for n in range(MEMBERS + 1)]
    job = await sum_up(lab, many, rule("*", fault="400"))
    assert job.state == "dead"


@pytest.mark.parametrize(
    "fields", [{"semantic_type": "fact"}, {"pinned": True}, {"state": "archived"}, {"state": "frozen"}]
)
async def test_only_a_summary_that_may_be_changed_is_written_anew(lab: Lab, fields: dict[str, Any]) -> None:
    members = await homes(lab)
    before = await lab.put("Ana had homes", **{"semantic_type": "summary", **fields})
    job = await sum_up(lab, members, said([m.id for m in members]), before=before.id)
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "invalid_input")
    assert await lab.now(before) == before


async def test_a_summary_of_somebody_else_is_unknown(lab: Lab) -> None:
    await lab.core.default_vault(BOB)
    his = [await lab.put(f"Bob lives in {city}", BOB) for city in ("Rome", "Bern")]
    members = await homes(lab)
    job = await sum_up(lab, his, said([cube.id for cube in his]))
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "not_found")
    theirs: list[JsonValue] = [members[0].id, his[0].id]
    job = await lab.do(summarise.KIND, {"vault_id": members[0].vault_id, "memory_ids": theirs}, rule("*", fault="400"))
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "not_found")


async def test_the_summary_dies_with_the_first_of_its_members(lab: Lab, clock: SetClock) -> None:
    members = await homes(lab)
    soon = clock.now() + timedelta(seconds=5)
    short = await lab.put("Ana lived in Porto in 2024", expires_at=soon)
    cube = await made(lab, await sum_up(lab, [short, *members[1:]], said([short.id, members[1].id])))
    assert cube.expires_at == soon
