"""Workers: every job is executed, once at a time, in its turn, whatever dies, stops or gets lost on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from memory import jobs, workers
from memory.core import Core
from memory.jobs import Job, JobRun
from memory.tx import Tx
from memory.types import Actor
from memory.workers import Workers
from runtime.errors import ModelUnavailable, StorageError
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB
from tests.memory.queues import Durable
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
SYSTEM = Actor("system", admin=True)
Handle = Callable[[JobRun], Awaitable[Mapping[str, JsonValue]]]


class Process:
    """Workers with a queue of their own, as one process has them."""

    def __init__(self, core: Core, handle: Handle, name: str = "me") -> None:
        self.durable = Durable()
        self.living = {name}
        self.workers = Workers(core, self.durable, self._alive, {"t.work": handle})

    async def _alive(self) -> frozenset[str]:
        return frozenset(self.living)

    async def round(self) -> list[str]:
        await self.workers.dispatch()
        return await self.durable.jobs.work()


async def enqueue(core: Core, vault: str | None = None, actor: Actor = ANN, kind: str = "t.work") -> Job:
    job_id = new_id("job")
    args: dict[str, JsonValue] = {} if vault is None else {"vault_id": vault}
    return await core.write(actor, lambda tx: jobs.enqueue(tx, job_id, kind, args))


async def now_of(core: Core, job: Job) -> Job:
    return await core.read(SYSTEM, lambda tx: jobs.get(tx, job.id))


async def nothing(run: JobRun) -> Mapping[str, JsonValue]:
    return {}


async def test_a_job_is_carried_executed_and_done(core: Core) -> None:
    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        assert run.job.state == "running"
        return {"for": run.job.actor.user_id}

    process = Process(core, handle)
    job = await enqueue(core)
    assert await process.round() == [job.id]
    after = await now_of(core, job)
    assert (after.state, after.result, after.attempts) == ("done", {"for": ANN.user_id}, 1)
    assert await process.round() == []


async def test_two_processes_execute_a_job_once(core: Core) -> None:
    executed: list[str] = []

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        executed.append(run.job.id)
        await anyio.sleep(0.02)
        return {}

    pair = Process(core, handle, "a"), Process(core, handle, "b")
    made = [await enqueue(core) for _ in range(5)]
    for process in pair:
        await process.workers.dispatch()
    async with anyio.create_task_group() as tasks:
        for process in pair:
            tasks.start_soon(process.durable.jobs.work)
    assert sorted(executed) == [job.id for job in made]
    assert {(await now_of(core, job)).state for job in made} == {"done"}


async def test_a_failure_is_tried_again_when_it_is_due(core: Core, clock: SetClock) -> None:
    tries: list[int] = []

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        tries.append(run.job.attempts)
        if len(tries) < 3:
            raise ModelUnavailable("away")
        return {"tries": len(tries)}

    process = Process(core, handle)
    job = await enqueue(core)
    await process.round()
    assert (await now_of(core, job)).state == "failed"
    assert await process.round() == [], "it is not due yet"
    clock.pass_by(2)
    await process.round()
    clock.pass_by(2)
    assert await process.round() == []
    clock.pass_by(2)
    await process.round()
    after = await now_of(core, job)
    assert (after.state, after.result, after.error, tries) == ("done", {"tries": 3}, None, [1, 2, 3])


async def test_an_error_that_nobody_foresaw_is_a_failure_with_its_name(core: Core) -> None:
    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        raise ZeroDivisionError("by zero")

    process = Process(core, handle)
    job = await enqueue(core)
    await process.round()
    after = await now_of(core, job)
    assert after.state == "failed"
    assert after.error == "internal_error: job 't.work': ZeroDivisionError: by zero"


async def test_a_job_of_an_unknown_kind_is_dead_and_the_error_names_the_known(core: Core) -> None:
    process = Process(core, nothing)
    job = await enqueue(core, kind="t.other")
    await process.round()
    after = await now_of(core, job)
    assert after.state == "dead"
    assert "'t.work'" in (after.error or "")


async def test_a_replayed_job_is_executed_again(core: Core) -> None:
    process = Process(core, nothing)
    job = await enqueue(core, kind="t.other")
    await process.round()
    process.workers._handlers["t.other"] = nothing
    await core.write(ANN, lambda tx: jobs.replay(tx, job.id))
    await process.round()
    assert ((await now_of(core, job)).state, (await now_of(core, job)).attempts) == ("done", 2)


async def test_jobs_of_a_vault_come_one_after_the_other_and_other_vaults_beside_them(core: Core) -> None:
    going: list[str] = []
    most: dict[str, int] = {}
    order: list[str] = []

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        vault = str(run.job.args["vault_id"])
        going.append(vault)
        most[vault] = max(most.get(vault, 0), going.count(vault))
        most["all"] = max(most.get("all", 0), len(going))
        order.append(run.job.id)
        await anyio.sleep(0.05)
        going.remove(vault)
        return {}

    process = Process(core, handle)
    made = [await enqueue(core, vault) for vault in ("a", "a", "a", "b", "a")]
    for _ in range(4):
        await process.workers.dispatch()
        queue = process.durable.jobs
        async with anyio.create_task_group() as tasks:
            for name in sorted(queue.open):
                tasks.start_soon(process.workers.execute, name.partition(".")[0])
        queue.open.clear()
    assert {(await now_of(core, job)).state for job in made} == {"done"}
    assert most == {"a": 1, "b": 1, "all": 2}
    assert [id_ for id_ in order if id_ != made[3].id] == [job.id for job in made if job is not made[3]]


async def test_two_jobs_of_a_vault_that_arrive_together_still_wait_for_each_other(core: Core) -> None:
    going = 0

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        nonlocal going
        going += 1
        assert going == 1
        await anyio.sleep(0.02)
        going -= 1
        return {}

    process = Process(core, handle)
    made = [await enqueue(core, "a") for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for job in made:
            tasks.start_soon(process.workers.execute, job.id)
    assert {(await now_of(core, job)).state for job in made} == {"done"}
    assert process.workers._vaults == {}


async def test_a_failed_job_does_not_hold_up_its_vault(core: Core, clock: SetClock) -> None:
    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        if run.job.id == first.id and run.job.attempts == 1:
            raise ModelUnavailable("away")
        return {}

    process = Process(core, handle)
    first, second = await enqueue(core, "a"), await enqueue(core, "a")
    assert await process.round() == [first.id]
    assert await process.round() == [second.id]
    clock.pass_by(2)
    assert await process.round() == [first.id]


async def test_what_a_dead_process_had_in_hand_goes_on_with_a_survivor(core: Core) -> None:
    survivor = Process(core, nothing, "survivor")
    job = await enqueue(core)
    await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id))
    survivor.durable.jobs.held = {"dead": frozenset({job.id})}
    await survivor.workers.adopt()
    assert survivor.durable.recovered == ["dead"]
    assert await survivor.round() == [job.id]
    after = await now_of(core, job)
    assert (after.state, after.attempts) == ("done", 2)


async def test_a_living_process_keeps_its_job(core: Core) -> None:
    survivor = Process(core, nothing, "survivor")
    survivor.living.add("other")
    job = await enqueue(core)
    await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id))
    survivor.durable.jobs.held = {"other": frozenset({job.id})}
    survivor.durable.jobs.open.add(f"{job.id}.1")
    await survivor.workers.adopt()
    assert ((await now_of(core, job)).state, survivor.durable.recovered) == ("running", [])


async def test_a_job_that_got_lost_between_row_and_queue_is_found_again(core: Core) -> None:
    process = Process(core, nothing)
    job = await enqueue(core)
    await process.workers.dispatch()
    process.durable.jobs.lose()
    assert await process.round() == [], "the same attempt is the same name"
    await process.workers.adopt()
    assert await process.durable.jobs.work() == [job.id]
    assert (await now_of(core, job)).state == "done"


async def test_a_running_job_that_no_queue_knows_of_is_found_again(core: Core) -> None:
    process = Process(core, nothing)
    job = await enqueue(core)
    await core.write(SYSTEM, lambda tx: jobs.claim(tx, job.id))
    await process.workers.adopt()
    assert await process.round() == [job.id]
    assert (await now_of(core, job)).state == "done"


async def test_a_process_that_was_taken_over_writes_nothing_more(core: Core) -> None:
    held = anyio.Event()
    go_on = anyio.Event()
    wrote: list[str] = []

    async def slow(run: JobRun) -> Mapping[str, JsonValue]:
        held.set()
        await go_on.wait()
        await run.commit(lambda tx: wrote.append("slow"), done=1)
        return {"by": "slow"}

    async def quick(run: JobRun) -> Mapping[str, JsonValue]:
        await run.commit(lambda tx: None, done=1)
        return {"by": "quick"}

    paused, survivor = Process(core, slow, "paused"), Process(core, quick, "survivor")
    job = await enqueue(core)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(paused.round)
        await held.wait()
        survivor.durable.jobs.held = {"paused": frozenset({job.id})}
        await survivor.workers.adopt()
        await survivor.round()
        go_on.set()
    after = await now_of(core, job)
    assert (after.state, after.result, after.attempts) == ("done", {"by": "quick"}, 2)


async def test_a_stop_gives_back_what_is_in_hand_before_it_returns(core: Core) -> None:
    begun = anyio.Event()

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        await run.commit(lambda tx: None, done=1, so_far=lambda _: {"made": 1})
        begun.set()
        await anyio.sleep_forever()
        return {}

    process = Process(core, handle)
    first, second = await enqueue(core, "a"), await enqueue(core, "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.workers.execute, first.id)
        await begun.wait()
        tasks.start_soon(process.workers.execute, second.id)
        await process.workers.stop()
        after = await now_of(core, first)
        assert (after.state, after.attempts, after.done, after.result) == ("queued", 1, 1, {"made": 1})
    assert (await now_of(core, second)).attempts == 0, "what had not begun does not begin"
    other = Process(core, nothing)
    await other.round()
    await other.round()
    assert {(await now_of(core, job)).state for job in (first, second)} == {"done"}


async def test_a_stop_without_work_returns_at_once_and_nothing_begins_after_it(core: Core) -> None:
    process = Process(core, nothing)
    with anyio.fail_after(1):
        await process.workers.stop()
    job = await enqueue(core)
    await process.workers.execute(job.id)
    assert (await now_of(core, job)).state == "queued"


async def test_a_job_that_is_unknown_by_now_is_passed_over(core: Core) -> None:
    await Process(core, nothing).workers.execute(new_id("job"))


async def test_when_the_end_cannot_be_written_the_job_is_found_again(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(core, nothing)
    job = await enqueue(core)
    finish = jobs.finish

    def refuse(tx: Tx, job: Job, result: Mapping[str, JsonValue]) -> None:
        raise StorageError("the disk is full")

    def refuse_too(tx: Tx, job: Job, error: Any) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(jobs, "finish", refuse)
        broken.setattr(jobs, "fail", refuse_too)
        await process.round()
    assert (await now_of(core, job)).state == "running"
    assert jobs.finish is finish
    await process.workers.adopt()
    await process.round()
    assert (await now_of(core, job)).state == "done"


async def test_the_dispatcher_wakes_with_each_write_and_survives_a_broken_database(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "POLL_S", 60.0)
    monkeypatch.setattr(workers, "REST_S", 0.01)
    done = anyio.Event()

    async def handle(run: JobRun) -> Mapping[str, JsonValue]:
        done.set()
        return {}

    process = Process(core, handle)
    dispatch = process.workers.dispatch
    failures = 1

    async def flaky() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise StorageError("the database is away")
        await dispatch()

    monkeypatch.setattr(process.workers, "dispatch", flaky)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.workers.run)
        with anyio.fail_after(30):
            while failures:
                await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        await enqueue(core, actor=BOB)
        with anyio.fail_after(30):
            while not process.durable.jobs.open:
                await anyio.sleep(0.01)
            await process.durable.jobs.work()
            await done.wait()
        tasks.cancel_scope.cancel()
