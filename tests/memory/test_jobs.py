"""Jobs as rows: written with what they belong to, claimed once, fenced, tried again, visible and replayable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from memory import jobs
from memory.core import Core
from memory.jobs import ATTEMPTS, OPEN_PER_USER, TURN, Job, JobRun, TooManyJobs
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import (
    BudgetExhausted,
    Conflict,
    Forbidden,
    InvalidInput,
    MalformedReply,
    MnemeError,
    ModelOverloaded,
    ModelRejected,
    ModelUnavailable,
    RunLost,
    SettingsError,
    Stale,
    StorageError,
    UnknownName,
)
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
SYSTEM = Actor("system", admin=True)


async def enqueue(core: Core, actor: Actor = ANN, kind: str = "t.work", **args: Any) -> Job:
    job_id = new_id("job")
    return await core.write(actor, lambda tx: jobs.enqueue(tx, job_id, kind, args))


async def claim(core: Core, job: Job) -> Job:
    taken = await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id))
    assert taken is not None
    return taken


async def now_of(core: Core, job: Job) -> Job:
    return await core.read(SYSTEM, lambda tx: jobs.get(tx, job.id))


async def fail(core: Core, job: Job, error: MnemeError | None = None) -> str:
    failure = error or ModelUnavailable("the model server is away")
    return await core.write(SYSTEM, lambda tx: jobs.fail(tx, job, failure))


async def test_a_job_lives_and_dies_with_the_transaction_that_asks_for_it(core: Core) -> None:
    job_id = new_id("job")

    def work(tx: Tx) -> None:
        jobs.enqueue(tx, job_id, "t.work", {})
        raise RuntimeError("the end is never reached")

    with pytest.raises(RuntimeError):
        await core.write(ANN, work)
    with pytest.raises(UnknownName):
        await core.read(ANN, lambda tx: jobs.get(tx, job_id))


async def test_a_new_job_waits_and_acts_for_who_asked_in_that_context(core: Core) -> None:
    asked = await enqueue(core, Actor(ANN.user_id, "support-bot", admin=True), vault_id="vlt_1")
    job = await now_of(core, asked)
    assert job == asked
    assert (job.state, job.attempts, job.done, job.total, job.result) == ("queued", 0, 0, None, None)
    assert job.actor == Actor(ANN.user_id, "support-bot", admin=False)
    assert job.due_at() == job.created_at == core.clock.now()


async def test_of_many_who_claim_a_job_one_gets_it(core: Core) -> None:
    job = await enqueue(core)
    taken: list[Job | None] = []

    async def take() -> None:
        taken.append(await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id)))

    async with anyio.create_task_group() as workers:
        for _ in range(10):
            workers.start_soon(take)
    assert [(found.state, found.attempts) for found in taken if found] == [("running", 1)]


async def test_an_execution_that_was_taken_over_writes_nothing_more(core: Core) -> None:
    first = await claim(core, await enqueue(core))
    assert await core.write(SYSTEM, lambda tx: jobs.release(tx, first, died=True))
    second = await claim(core, first)
    assert second.attempts == 2
    other = await enqueue(core)

    def work(tx: Tx) -> None:
        jobs.claim(tx, other.id)

    with pytest.raises(RunLost):
        await JobRun(core, first).commit(work, done=1)
    assert (await now_of(core, other)).state == "queued", "what a lost execution writes is not kept"
    for late in (
        lambda tx: jobs.finish(tx, first, {"a": 1}),
        lambda tx: jobs.fail(tx, first, ModelUnavailable("late")),
    ):
        with pytest.raises(RunLost):
            await core.write(SYSTEM, late)
    assert not await core.write(SYSTEM, lambda tx: jobs.release(tx, first))
    assert await now_of(core, first) == second


async def test_progress_and_result_so_far_are_committed_with_the_work(core: Core) -> None:
    job = await claim(core, await enqueue(core))
    other = await enqueue(core)
    made = await JobRun(core, job).commit(
        lambda tx: jobs.claim(tx, other.id), done=1, total=3, so_far=lambda taken: {"found": taken is not None}
    )
    assert made is not None
    after = await now_of(core, job)
    assert (after.done, after.total, after.result) == (1, 3, {"found": True})
    await JobRun(core, job).commit(lambda tx: None, done=2)
    assert await now_of(core, job) == replace(after, done=2)


async def test_a_finished_job_has_its_result_and_is_not_claimed_again(core: Core) -> None:
    job = await claim(core, await enqueue(core))
    await core.write(SYSTEM, lambda tx: jobs.finish(tx, job, {"made": 2}))
    after = await now_of(core, job)
    assert (after.state, after.result, after.error, after.finished_at) == ("done", {"made": 2}, None, core.clock.now())
    assert await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id)) is None
    assert await core.read(SYSTEM, jobs.unfinished) == []


async def test_a_failed_job_is_due_again_after_a_pause_that_doubles_and_is_dead_after_five(
    core: Core, clock: SetClock
) -> None:
    job = await enqueue(core)
    for attempt in range(1, ATTEMPTS):
        assert await fail(core, await claim(core, job)) == "failed"
        job = await now_of(core, job)
        assert job.error == "model_unavailable: the model server is away"
        assert job.due_at() == clock.now() + timedelta(seconds=2**attempt)
        clock.pass_by(1)
    assert await fail(core, await claim(core, job)) == "dead"
    assert (await now_of(core, job)).attempts == ATTEMPTS
    assert await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id)) is None
    assert await core.read(SYSTEM, jobs.unfinished) == []


async def test_a_pause_is_never_longer_than_five_minutes() -> None:
    now = SetClock().now()
    job = Job("job_1", "usr_ann", "t.work", {}, "failed", 4, 0, None, None, None, now, now)
    assert max(replace(job, attempts=n).due_at() for n in range(1, 100)) <= now + timedelta(minutes=5)


async def test_a_dead_job_can_be_replayed_and_goes_on_behind_what_it_had_done(core: Core) -> None:
    job = await claim(core, await enqueue(core))
    await JobRun(core, job).commit(lambda tx: None, done=2, so_far=lambda _: {"made": 2})
    assert await fail(core, job, ModelRejected("no", status=400)) == "dead"
    replayed = await core.write(ANN, lambda tx: jobs.replay(tx, job.id))
    assert (replayed.state, replayed.done, replayed.result, replayed.finished_at) == ("queued", 2, {"made": 2}, None)
    assert replayed.error == "model_rejected: no", "why it failed is seen until it is done"
    again = await claim(core, replayed)
    assert (again.attempts, again.done) == (2, 2)
    await core.write(SYSTEM, lambda tx: jobs.finish(tx, again, {"made": 3}))
    with pytest.raises(Conflict, match="is done"):
        await core.write(ANN, lambda tx: jobs.replay(tx, job.id))


async def test_a_replayed_job_has_five_attempts_again(core: Core) -> None:
    job = await enqueue(core)
    for _ in range(ATTEMPTS):
        await fail(core, await claim(core, job))
    await core.write(ANN, lambda tx: jobs.replay(tx, job.id))
    assert await fail(core, await claim(core, job)) == "failed"
    after = await now_of(core, job)
    assert after.due_at() == core.clock.now() + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ModelUnavailable("x"), "failed"),
        (ModelOverloaded("x", status=429), "failed"),
        (MalformedReply("x"), "failed"),
        (StorageError("x"), "failed"),
        (MnemeError("x"), "failed"),
        (Stale("x", expected=1, current=2), "failed"),
        (Conflict("the vault is locked"), "failed"),
        (ModelRejected("x", status=400), "dead"),
        (InvalidInput("x"), "dead"),
        (UnknownName("x"), "dead"),
        (Forbidden("x"), "dead"),
        (SettingsError("x"), "dead"),
        (BudgetExhausted("x", limit="calls"), "dead"),
    ],
)
async def test_only_what_may_pass_is_tried_again(core: Core, error: MnemeError, state: str) -> None:
    assert await fail(core, await claim(core, await enqueue(core)), error) == state


async def test_a_long_error_is_cut(core: Core) -> None:
    job = await claim(core, await enqueue(core))
    await fail(core, job, ModelUnavailable("x" * 10_000))
    assert len((await now_of(core, job)).error or "") == jobs.MAX_ERROR


async def test_a_job_whose_process_died_is_given_back_and_dead_at_the_fifth(core: Core) -> None:
    job = await enqueue(core)
    for attempt in range(1, ATTEMPTS + 1):
        taken = await claim(core, job)
        assert taken.attempts == attempt
        assert await core.write(SYSTEM, lambda tx, t=taken: jobs.release(tx, t, died=True))  # type: ignore[misc]
    after = await now_of(core, job)
    assert (after.state, after.finished_at) == ("dead", core.clock.now())
    assert "its process died" in (after.error or "")


async def test_a_job_that_a_stop_gave_back_is_never_dead_for_it(core: Core) -> None:
    job = await enqueue(core)
    for _ in range(ATTEMPTS + 1):
        taken = await claim(core, job)
        assert await core.write(SYSTEM, lambda tx, t=taken: jobs.release(tx, t))  # type: ignore[misc]
    assert (await now_of(core, job)).state == "queued"


async def test_a_user_has_a_limited_number_of_unfinished_jobs(core: Core) -> None:
    def fill(tx: Tx) -> None:
        for _ in range(OPEN_PER_USER - 1):
            jobs.enqueue(tx, new_id("job"), "t.work", {}, limit=10**9)

    await core.write(ANN, fill)
    last = await enqueue(core)
    with pytest.raises(TooManyJobs, match="/api/jobs") as refused:
        await enqueue(core)
    assert refused.value.retry_after_s > 0
    await enqueue(core, BOB)
    taken = await claim(core, last)
    with pytest.raises(TooManyJobs):
        await enqueue(core)
    await core.write(SYSTEM, lambda tx: jobs.finish(tx, taken, {}))
    await enqueue(core)


async def test_nobody_sees_or_replays_the_jobs_of_others_but_an_admin(core: Core) -> None:
    job = await claim(core, await enqueue(core))
    await fail(core, job)
    calls: list[Callable[[Tx], object]] = [
        lambda tx: jobs.get(tx, job.id),
        lambda tx: jobs.replay(tx, job.id),
    ]
    for call in calls:
        with pytest.raises(UnknownName):
            await core.write(BOB, call)
    assert await core.read(BOB, jobs.page) == []
    assert [found.id for found in await core.read(ANN, jobs.page)] == [job.id]
    admin = Actor(BOB.user_id, admin=True)
    assert (await core.write(admin, lambda tx: jobs.replay(tx, job.id))).actor.user_id == ANN.user_id


async def test_jobs_are_listed_newest_first_by_state_and_kind_in_pages(core: Core) -> None:
    made = [await enqueue(core, kind=kind) for kind in ("t.a", "t.b", "t.a", "t.b")]
    await claim(core, made[2])

    async def ids(**given: Any) -> list[str]:
        return [job.id for job in await core.read(ANN, lambda tx: jobs.page(tx, **given))]

    every = [job.id for job in reversed(made)]
    assert await ids() == every
    assert await ids(limit=2) + await ids(limit=2, after=every[1]) == every
    assert await ids(kind="t.a") == [made[2].id, made[0].id]
    assert await ids(states=("running",)) == [made[2].id]
    assert await ids(states=("queued", "running"), kind="t.b") == [made[3].id, made[1].id]
    with pytest.raises(InvalidInput, match="limit"):
        await ids(limit=0)


async def test_who_has_many_jobs_does_not_keep_those_of_others_waiting(core: Core) -> None:
    def fill(tx: Tx) -> None:
        for _ in range(TURN + 10):
            jobs.enqueue(tx, new_id("job"), "t.work", {})

    await core.write(ANN, fill)
    his = await enqueue(core, BOB)
    found = await core.read(SYSTEM, jobs.unfinished)
    assert len(found) == TURN + 1
    assert found[-1].id == his.id
    for job in found[:5]:
        await claim(core, job)
    assert len(await core.read(SYSTEM, jobs.unfinished)) == TURN + 6, "what is in hand takes nobody's turn"
