"""Asking for a pipeline: decision and job in one transaction, refusals audited, nothing queued for what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import insert, update

from memory import audit, jobs, store
from memory.jobs import Job, TooManyJobs
from memory.pipelines import classify, extract, feedback, summarise
from memory.pipelines.requests import MAX_IDS, Learning
from memory.pipelines.summarise import MEMBERS
from memory.tables import GrantRow, VaultRow
from memory.types import Actor, MemCube
from runtime.errors import Conflict, Forbidden, Gone, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.laboratory import Lab, rule

pytestmark = pytest.mark.anyio
Ask = Callable[[Learning, Actor, list[str]], Awaitable[Job]]
ASKS: dict[str, Ask] = {
    extract.KIND: lambda of, actor, ids: of.extract(actor, None, ids),
    classify.KIND: lambda of, actor, ids: of.classify(actor, None, ids),
    summarise.KIND: lambda of, actor, ids: of.summarise(actor, None, ids),
}


async def two(lab: Lab) -> list[MemCube]:
    return [await lab.put("Ana lives in Porto", state="generated"), await lab.put("Ana sings in a choir")]


async def let(lab: Lab, **given: Any) -> None:
    row = {
        "id": new_id("grt"),
        "vault_id": await vault_id(lab.core),
        "grantee_id": BOB.user_id,
        "can_read": True,
        "can_write": False,
        "can_share": False,
        "can_delete": False,
        "masked_tags": [],
        "created_at": lab.core.clock.now(),
        "created_by": ANN.user_id,
    } | given
    await lab.core.write(ANN, lambda tx: tx.connection.execute(insert(GrantRow).values(**row)))


async def nothing_queued(lab: Lab) -> bool:
    return await lab.core.read(Actor("x", admin=True), jobs.unfinished) == []


@pytest.mark.parametrize("kind", ASKS)
async def test_a_request_is_a_job_of_who_asked_with_the_ids_and_a_line_in_the_audit(lab: Lab, kind: str) -> None:
    cubes = await two(lab)
    ids = [cube.id for cube in cubes]
    actor = Actor(ANN.user_id, "support-bot")
    job = await ASKS[kind](Learning(lab.core), actor, [*ids, ids[0]])
    assert job == await lab.job(job.id)
    assert (job.kind, job.state, job.owner_id, job.actor.context) == (kind, "queued", ANN.user_id, "support-bot")
    assert (job.args["vault_id"], job.args["memory_ids"]) == (cubes[0].vault_id, ids)
    assert job.total == (1 if kind == summarise.KIND else 2)
    lines = await lab.core.read(ANN, lambda tx: audit.read(tx, chains=[cubes[0].vault_id], after=0, limit=10))
    assert [(line.action, line.object_type, line.object_id, line.detail) for line in lines] == [
        ("ask", "job", job.id, {"kind": kind, "count": 2})
    ]


async def test_what_was_asked_for_can_be_done(lab: Lab) -> None:
    raw, other = await two(lab)
    known = await lab.put("Ben lives in Rome", vault=await lab.vault("travels"))
    of = Learning(lab.core)
    job = await of.extract(ANN, "default", [raw.id], [known.id, known.id])
    assert job.args["injected"] == [known.id]
    assert (await lab.work(job, rule(extract.PURPOSE, {"memories": []}))).state == "done"
    job = await of.classify(ANN, other.vault_id, [other.id])
    assert (await lab.work(job, rule("*", fault="400"))).result == {}
    reply: dict[str, Any] = {
        "title": "Ana",
        "text": "Ana lives in Porto and sings in a choir.",
        "child_ids": [raw.id, other.id],
    }
    job = await lab.work(await of.summarise(ANN, None, [raw.id, other.id]), rule(summarise.PURPOSE, reply))
    assert job.result is not None
    summary = str(job.result["summary_id"])
    job = await of.summarise(ANN, None, [raw.id, other.id], summary)
    assert job.args["summary_id"] == summary
    job = await lab.work(job, rule(summarise.PURPOSE, {**reply, "title": "Anew"}))
    assert (await lab.now(summary)).title == "Anew"


@pytest.mark.parametrize("kind", ASKS)
async def test_what_may_not_be_seen_or_changed_is_refused_and_audited(lab: Lab, kind: str) -> None:
    cubes = await two(lab)
    ids = [cube.id for cube in cubes]
    of, home = Learning(lab.core), cubes[0].vault_id
    ask: dict[str, Any] = {extract.KIND: of.extract, classify.KIND: of.classify, summarise.KIND: of.summarise}
    with pytest.raises(UnknownName):
        await ask[kind](BOB, home, ids)
    await let(lab)
    with pytest.raises(Forbidden):
        await ask[kind](BOB, home, ids)
    with pytest.raises(UnknownName):
        await ask[kind](ANN, None, [ids[0], new_id("mem")])
    with pytest.raises(UnknownName):
        await ask[kind](ANN, "no such vault", ids)
    assert await nothing_queued(lab)
    lines = await lab.core.read(BOB, lambda tx: audit.read(tx, chains=[home], after=0, limit=10))
    assert [(line.decision, line.actor_id, line.action) for line in lines] == [("deny", BOB.user_id, "write")] * 2


async def test_a_grant_to_write_is_enough_and_its_masked_memories_stay_hidden(lab: Lab) -> None:
    raw, _ = await two(lab)
    ill = await lab.put("Ana is ill", sensitivity=("health",), state="generated")
    await let(lab, can_write=True, masked_tags=["health"])
    of = Learning(lab.core)
    assert (await of.extract(BOB, raw.vault_id, [raw.id])).owner_id == BOB.user_id
    with pytest.raises(UnknownName):
        await of.extract(BOB, raw.vault_id, [ill.id])
    with pytest.raises(UnknownName):
        await of.extract(BOB, raw.vault_id, [raw.id], [ill.id])
    with pytest.raises(UnknownName):
        await of.feedback(BOB, ill.id, "she is not")


async def test_injected_memories_need_only_be_readable(lab: Lab) -> None:
    await lab.core.default_vault(BOB)
    his = await lab.put("Bob's notes say that Ana sings", BOB, state="generated")
    hers = await lab.put("Ana sings in a choir")
    await let(lab)
    job = await Learning(lab.core).extract(BOB, None, [his.id], [hers.id])
    job = await lab.work(job, rule(extract.PURPOSE, {"memories": []}, contains=hers.content))
    assert job.state == "done"


@pytest.mark.parametrize("kind", ASKS)
async def test_what_is_gone_or_elsewhere_or_too_much_is_refused(lab: Lab, kind: str) -> None:
    cubes = await two(lab)
    ids = [cube.id for cube in cubes]
    gone = await lab.put("Ana was here")
    await lab.core.write(ANN, lambda tx: store.move(tx, gone, "delete"))
    elsewhere = await lab.put("Ana sails", vault=await lab.vault("travels"))
    ask, of = ASKS[kind], Learning(lab.core)
    with pytest.raises(Gone):
        await ask(of, ANN, [ids[0], gone.id])
    with pytest.raises(InvalidInput, match="another vault"):
        await ask(of, ANN, [ids[0], elsewhere.id])
    limit = MEMBERS if kind == summarise.KIND else MAX_IDS
    for wrong in ([], [new_id("mem") for _ in range(limit + 1)]):
        with pytest.raises(InvalidInput, match="expected"):
            await ask(of, ANN, wrong)
    assert await nothing_queued(lab)
    await lab.core.db.write(lambda c: c.execute(update(VaultRow).values(archived_at=lab.core.clock.now())))
    with pytest.raises(Conflict, match="archived"):
        await ask(of, ANN, ids)


async def test_only_a_summary_is_summed_up_again(lab: Lab) -> None:
    raw, other = await two(lab)
    of = Learning(lab.core)
    with pytest.raises(InvalidInput, match="no summary"):
        await of.summarise(ANN, None, [raw.id, other.id], other.id)
    with pytest.raises(InvalidInput, match="expected 2"):
        await of.summarise(ANN, None, [raw.id, raw.id])
    with pytest.raises(InvalidInput, match="injected"):
        await of.extract(ANN, None, [raw.id], [new_id("mem") for _ in range(MAX_IDS + 1)])


async def test_who_has_too_many_jobs_gets_no_more(lab: Lab) -> None:
    raw, _ = await two(lab)

    def fill(tx: Any) -> None:
        for _ in range(jobs.OPEN_PER_USER):
            jobs.enqueue(tx, new_id("job"), "t.work", {}, limit=10**9)

    await lab.core.write(ANN, fill)
    of = Learning(lab.core)
    for ask in (of.extract(ANN, None, [raw.id]), of.feedback(ANN, raw.id, "no, in Lisbon")):
        with pytest.raises(TooManyJobs):
            await ask
    assert [cube.content for cube in await lab.all("generated")] == [raw.content], "the feedback is not kept either"


async def test_feedback_keeps_the_words_and_corrects_the_memory(lab: Lab) -> None:
    cube = await lab.put("Ana lives in Porto", sensitivity=("home",))
    job = await Learning(lab.core).feedback(ANN, cube.id, ' Replace "Porto" with "Lisbon" ')
    assert (job.kind, job.state, job.total) == (feedback.KIND, "queued", 1)
    (said,) = await lab.all("generated")
    assert (said.content, said.tags, said.id) == (
        ' Replace "Porto" with "Lisbon" ',
        ("feedback",),
        job.args["feedback_id"],
    )
    assert await lab.links(said) == {(said.id, "RELATES", cube.id)}
    job = await lab.work(job)
    assert (job.state, job.result) == ("done", {"corrected": 1, "added": 0, "asked": 0})
    assert (await lab.now(cube)).content == "Ana lives in Lisbon"
    assert [deed for deed in await lab.deeds() if deed[0] == "feedback"] == [("feedback", cube.id)] * 2


async def test_feedback_that_cannot_be_kept_is_refused(lab: Lab) -> None:
    cube = await lab.put("Ana lives in Porto")
    of = Learning(lab.core)
    with pytest.raises(Conflict, match="holds a secret: password") as refused:
        await of.feedback(ANN, cube.id, "my password is Tr0ub4dor&3")
    assert "Tr0ub4dor" not in refused.value.message
    with pytest.raises(InvalidInput, match="empty"):
        await of.feedback(ANN, cube.id, " ")
    with pytest.raises(UnknownName):
        await of.feedback(BOB, cube.id, "no")
    await lab.core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), "delete"))
    with pytest.raises(Gone):
        await of.feedback(ANN, cube.id, "no, in Lisbon")
    assert await nothing_queued(lab)
