"""The run store on both databases: exactly once, in order, fenced, resumable."""

from __future__ import annotations

import anyio
import pytest

from runtime.budget import Budget, Spent
from runtime.db import Database
from runtime.errors import Conflict, InvalidInput, RunCancelled, RunLost, UnknownName
from runtime.events import (
    ReasoningDelta,
    RunCancelledEvent,
    RunFailed,
    RunFinished,
    RunResumed,
    TextDelta,
)
from runtime.ids import SYSTEM
from runtime.runs import Claim, RunSpec, RunStore
from tests.storing import SetClock, call, claim, queued, started, types

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(db: Database) -> RunStore:
    return RunStore(db, SYSTEM)


async def test_a_run_is_written_from_queue_to_end(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.append(run_id, taken.epoch, [(TextDelta(text="he"), "answer")])
    await store.finish_step(run_id, taken.epoch, "answer", {"text": "hello"}, [(TextDelta(text="llo"), "answer")])
    await store.finish(run_id, taken.epoch, RunFinished(status="succeeded", output={"text": "hello"}))

    events = await store.events(run_id)
    assert types(events) == ["run.queued", "run.started", "text.delta", "text.delta", "run.finished"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    record = await store.get(run_id, owner="ann")
    assert (record.status, record.output, record.last_seq) == ("succeeded", {"text": "hello"}, 5)
    assert record.finished_at is not None


async def test_create_started_equals_create_then_start(store: RunStore) -> None:
    spec = RunSpec("direct", "hi", budget=Budget(tokens=7), config={"n": 2}, seed=5)
    taken = await store.create_started(
        spec, owner="ann", agent_version=1, model="m", executor="exe_a", started=started()
    )
    assert types(await store.events(taken.record.id)) == ["run.queued", "run.started"]
    record = await store.get(taken.record.id, owner="ann")
    assert (record.status, record.epoch, record.attempt, record.last_seq) == ("running", 1, 1, 2)
    assert record.spec == spec


async def test_a_later_claim_voids_what_unfinished_steps_wrote_and_keeps_the_rest(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.append(run_id, first.epoch, [(ReasoningDelta(text="a"), "one"), (ReasoningDelta(text="x"), "two")])
    await store.finish_step(run_id, first.epoch, "one", "done", [(call(), "one")])
    await store.append(run_id, first.epoch, [(ReasoningDelta(text="y"), "two"), (call(), "two")])

    second = await claim(store, run_id, "exe_b")

    assert second.steps == {"one": "done"}
    assert second.spent.calls == 2, "a call that was made stays spent, also when its step is done again"
    assert second.spent.tokens == 10
    events = await store.events(run_id)
    assert types(events) == ["run.queued", "run.started", "reasoning.delta", "llm.call", "run.resumed"]
    resumed = events[-1].payload
    assert isinstance(resumed, RunResumed)
    assert resumed.void == [(4, 4), (6, 7)]
    assert (resumed.attempt, resumed.reason) == (2, "recovered")


async def test_an_older_claim_can_write_nothing(store: RunStore) -> None:
    run_id = await queued(store)
    old = await claim(store, run_id)
    new = await claim(store, run_id, "exe_b")
    before = await store.events(run_id)
    with pytest.raises(RunLost):
        await store.append(run_id, old.epoch, [(TextDelta(text="late"), None)])
    with pytest.raises(RunLost):
        await store.finish_step(run_id, old.epoch, "answer", 1, [])
    with pytest.raises(RunLost):
        await store.finish(run_id, old.epoch, RunFinished(status="succeeded"))
    assert await store.events(run_id) == before
    await store.finish(run_id, new.epoch, RunFinished(status="succeeded"))


async def test_only_one_of_two_claims_of_the_same_epoch_wins(store: RunStore) -> None:
    run_id = await queued(store)
    won: list[Claim | None] = []

    async def take(executor: str) -> None:
        won.append(await store.start(run_id, executor=executor, started=started(executor), expect_epoch=0))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(take, f"exe_{number}")
    assert sum(taken is not None for taken in won) == 1
    assert types(await store.events(run_id)) == ["run.queued", "run.started"]


async def test_a_run_ends_once(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.finish(run_id, taken.epoch, RunFinished(status="succeeded", output=1))
    with pytest.raises(RunLost):
        await store.finish(run_id, taken.epoch, RunFailed(code="x", message="y"))
    assert await store.start(run_id, executor="b", started=started(), expect_epoch=taken.epoch) is None
    assert types(await store.events(run_id))[-1] == "run.finished"


async def test_concurrent_appends_keep_the_numbers_whole(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)

    async def write(step: str) -> None:
        for number in range(10):
            await store.append(run_id, taken.epoch, [(TextDelta(text=str(number)), step)] * 2)

    async with anyio.create_task_group() as tasks:
        for step in ("a", "b", "c"):
            tasks.start_soon(write, step)
    events = await store.events(run_id)
    assert [event.seq for event in events] == list(range(1, 63))
    for step in ("a", "b", "c"):
        texts = [e.payload.text for e in events if e.step == step and isinstance(e.payload, TextDelta)]
        assert texts == [str(number) for number in range(10) for _ in range(2)]


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_run_that_nobody_executes_is_cancelled_at_once(store: RunStore, *, interrupted: bool) -> None:
    run_id = await queued(store)
    if interrupted:
        taken = await claim(store, run_id)
        await store.interrupt(run_id, taken.epoch)
    record = await store.request_cancel(run_id, "enough")
    assert record.status == "cancelled"
    assert types(await store.events(run_id))[-1] == "run.cancelled"


async def test_a_running_run_learns_of_its_cancel_with_the_next_write(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    assert (await store.request_cancel(run_id, "enough")).status == "running"
    assert await store.cancel_requested([run_id, "other"]) == {run_id: "enough"}
    with pytest.raises(RunCancelled, match="enough"):
        await store.append(run_id, taken.epoch, [(TextDelta(text="x"), None)])
    await store.finish(run_id, taken.epoch, RunCancelledEvent(reason="enough"))
    assert (await store.request_cancel(run_id, "again")).status == "cancelled"
    assert types(await store.events(run_id)).count("run.cancelled") == 1


async def test_of_two_cancels_the_first_reason_counts_also_when_the_process_ends_in_between(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.request_cancel(run_id, "first")
    await store.interrupt(run_id, taken.epoch)
    assert (await store.request_cancel(run_id, "second")).status == "cancelled"
    assert (await store.events(run_id))[-1].payload == RunCancelledEvent(reason="first")


async def test_a_cancel_that_comes_between_two_processes_ends_the_run_at_the_next_claim(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.request_cancel(run_id, "enough")
    again = await store.start(run_id, executor="b", started=started(), expect_epoch=taken.epoch)
    assert again is None
    assert (await store.get(run_id, owner=None)).status == "cancelled"


async def test_an_ended_run_can_be_queued_again_and_keeps_its_steps(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.finish_step(run_id, taken.epoch, "one", 1, [(call(), "one")])
    await store.append(run_id, taken.epoch, [(TextDelta(text="half"), "two")])
    await store.finish(run_id, taken.epoch, RunFinished(status="budget_exhausted"))

    record = await store.requeue(run_id, budget=Budget(calls=9))
    assert (record.status, record.spec.budget, record.output) == ("queued", Budget(calls=9), None)
    with pytest.raises(Conflict, match="queued"):
        await store.requeue(run_id)
    again = await claim(store, run_id)
    assert again.steps == {"one": 1}
    last = (await store.events(run_id))[-1].payload
    assert isinstance(last, RunResumed)
    assert last.reason == "requested"


async def test_a_fork_shares_the_log_up_to_an_event_and_the_steps_done_by_then(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.finish_step(run_id, taken.epoch, "one", 1, [(call(), "one")])  # event 3
    await store.append(run_id, taken.epoch, [(TextDelta(text="half"), "two")])  # event 4
    await store.finish_step(run_id, taken.epoch, "two", 2, [(TextDelta(text="whole"), "two")])  # event 5
    await store.finish(run_id, taken.epoch, RunFinished(status="succeeded"))

    fork = await store.fork(run_id, 4, owner="ann")
    assert (fork.status, fork.parent_id, fork.parent_seq) == ("queued", run_id, 4)
    again = await claim(store, fork.id)
    assert again.steps == {"one": 1}
    assert types(await store.events(fork.id)) == ["run.queued", "run.started", "llm.call", "run.resumed"]
    assert len(await store.events(run_id)) == 6, "the first run stays as it was"
    with pytest.raises(InvalidInput, match="no event 99"):
        await store.fork(run_id, 99, owner="ann")


async def test_runs_of_others_are_unknown(store: RunStore) -> None:
    run_id = await queued(store, "ann")
    await queued(store, "bob")
    with pytest.raises(UnknownName):
        await store.get(run_id, owner="bob")
    with pytest.raises(UnknownName):
        await store.get("run_none", owner="ann")
    assert [run.id for run in (await store.page("ann")).items] == [run_id]


async def test_pages_do_not_shift_when_runs_are_added(store: RunStore) -> None:
    ids = [await queued(store) for _ in range(5)]
    first = await store.page("ann", limit=2)
    await queued(store)
    second = await store.page("ann", limit=2, cursor=first.next)
    third = await store.page("ann", limit=2, cursor=second.next)
    assert [run.id for page in (first, second, third) for run in page.items] == ids[::-1]
    assert third.next is None
    assert (await store.page("ann", status="running")).items == []
    assert len((await store.page("ann", agent="direct", status="queued")).items) == 6


async def test_usage_is_summed_by_purpose_also_over_attempts(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.append(run_id, first.epoch, [(call("a"), "s"), (call("b"), "s")])
    second = await claim(store, run_id)
    await store.finish(run_id, second.epoch, RunFinished(status="succeeded"), items=[(call("a"), "s")])
    record = await store.get(run_id, owner=None)
    assert record.usage["a"].calls == 2
    assert record.usage["b"].prompt_tokens == 3
    assert record.total_usage.total_tokens == 15
    assert record.usage["a"].cached_tokens == 2


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\\u0000", "ü😀\u2028", '{"$": "\0"}'])
async def test_whatever_a_model_writes_comes_back(store: RunStore, text: str) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.finish_step(run_id, taken.epoch, "s", {"text": text}, [(TextDelta(text=text), "s")])
    event = (await store.events(run_id))[-1].payload
    assert isinstance(event, TextDelta)
    assert event.text == text
    assert (await claim(store, run_id)).steps == {"s": {"text": text}}


async def test_a_step_that_is_finished_is_not_finished_again(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.finish_step(run_id, taken.epoch, "one", 1, [(call(), "one")])
    before = (await store.get(run_id, owner=None), await store.events(run_id))
    with pytest.raises(Conflict, match="'one' is finished already"):
        await store.finish_step(run_id, taken.epoch, "one", 2, [(call(), "one")])
    assert (await store.get(run_id, owner=None), await store.events(run_id)) == before
    assert (await claim(store, run_id)).steps == {"one": 1}


async def test_a_step_without_events_and_without_output_is_kept(store: RunStore) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    assert await store.finish_step(run_id, taken.epoch, "quiet", None, []) == []
    assert (await claim(store, run_id)).steps == {"quiet": None}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (RunFinished(status="succeeded", output=1), "succeeded"),
        (RunFinished(status="budget_exhausted", output=1), "cancelled"),
        (RunFailed(code="c", message="m"), "cancelled"),
        (RunCancelledEvent(reason="own"), "cancelled"),
    ],
)
async def test_a_run_that_was_cancelled_ends_so_unless_it_has_succeeded(
    store: RunStore, end: RunFinished | RunFailed | RunCancelledEvent, status: str
) -> None:
    run_id = await queued(store)
    taken = await claim(store, run_id)
    await store.request_cancel(run_id, "first \0 \ud800")
    assert (await store.request_cancel(run_id, "second")).cancel_reason == "first \0 \ud800"
    events = await store.finish(run_id, taken.epoch, end)
    assert (await store.get(run_id, owner=None)).status == status
    if status == "cancelled":
        assert events[-1].payload == RunCancelledEvent(reason="first \0 \ud800")


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "failed", "cancelled", "interrupted"])
async def test_only_a_run_that_ended_badly_can_be_queued_again(store: RunStore, status: str) -> None:
    run_id = await queued(store)
    if status in ("running", "succeeded", "failed", "interrupted"):
        taken = await claim(store, run_id)
        if status == "succeeded":
            await store.finish(run_id, taken.epoch, RunFinished(status="succeeded"))
        elif status == "failed":
            await store.finish(run_id, taken.epoch, RunFailed(code="c", message="m"))
        elif status == "interrupted":
            await store.interrupt(run_id, taken.epoch)
    elif status == "cancelled":
        await store.request_cancel(run_id, "enough")
    assert (await store.get(run_id, owner=None)).status == status
    if status in ("queued", "running", "succeeded"):
        with pytest.raises(Conflict, match=f"is '{status}'"):
            await store.requeue(run_id)
        return
    record = await store.requeue(run_id)
    assert (record.status, record.error, record.cancel_reason, record.finished_at) == ("queued", None, None, None)
    opening = "run.started" if status == "cancelled" else "run.resumed"
    await claim(store, run_id)
    assert types(await store.events(run_id))[-1] == opening


async def test_an_interrupted_run_is_recovered_and_an_old_claim_interrupts_nothing(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.interrupt(run_id, first.epoch)
    assert [run.id for run in await store.in_hand()] == [run_id]
    second = await claim(store, run_id, "exe_b")
    await store.interrupt(run_id, first.epoch)
    record = await store.get(run_id, owner=None)
    assert (record.status, record.executor, record.epoch) == ("running", "exe_b", second.epoch)
    last = (await store.events(run_id))[-1].payload
    assert isinstance(last, RunResumed)
    assert last.reason == "recovered"


async def test_the_lists_for_the_sweeper_hold_what_waits_and_what_is_in_hand(store: RunStore) -> None:
    waiting = [await queued(store), await queued(store, "bob")]
    running = await queued(store)
    taken = await claim(store, running)
    ended = await queued(store)
    await store.request_cancel(ended, "enough")
    assert [run.id for run in await store.queued()] == waiting
    assert [(run.id, run.epoch) for run in await store.in_hand()] == [(running, taken.epoch)]
    await store.finish(running, taken.epoch, RunFinished(status="succeeded"))
    assert await store.in_hand() == []
    assert await store.cancel_requested([]) == {}


async def test_the_time_that_was_spent_is_that_of_the_executions_not_of_the_pauses(db: Database) -> None:
    clock = SetClock()
    store = RunStore(db, clock)
    run_id = await queued(store)
    clock.pass_by(100)
    first = await claim(store, run_id)
    clock.pass_by(4)
    await store.append(run_id, first.epoch, [(call(), "a"), (call(), "b")])  # side by side: the time counts once
    await store.interrupt(run_id, first.epoch)
    clock.pass_by(1000)
    await store.request_cancel(run_id, "enough")
    await store.requeue(run_id)
    second = await claim(store, run_id)
    assert second.spent == Spent(tokens=10, calls=2, seconds=4.0)
    clock.pass_by(3)
    await store.finish(run_id, second.epoch, RunFinished(status="budget_exhausted"))
    await store.requeue(run_id)
    clock.pass_by(1000)
    assert (await claim(store, run_id)).spent.seconds == 7.0


async def test_very_many_void_ranges_are_voided_all(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.finish_step(run_id, first.epoch, "done", 1, [(call(), "done" if n % 2 else "half") for n in range(500)])
    second = await claim(store, run_id)
    events = await store.events(run_id)
    assert len(events) == 2 + 250 + 1
    assert {event.step for event in events} == {None, "done"}
    assert second.spent.calls == 500


async def test_a_page_and_a_piece_of_the_log_have_at_least_one_line(store: RunStore) -> None:
    run_id = await queued(store)
    for wrong in (0, -1):
        with pytest.raises(InvalidInput, match="at least 1"):
            await store.page(None, limit=wrong)
        with pytest.raises(InvalidInput, match="at least 1"):
            await store.events(run_id, limit=wrong)
    assert types(await store.events(run_id, limit=1)) == ["run.queued"]
    assert await store.events(run_id, after=1) == []


@pytest.mark.parametrize("strange", ["run_\ud800", "", "run_" + "x" * 500, "' OR 1=1 --", "%"])
async def test_an_id_of_any_text_is_at_most_unknown(store: RunStore, strange: str) -> None:
    await queued(store)
    with pytest.raises(InvalidInput):
        await store.get(strange, owner=None)
    with pytest.raises(InvalidInput):
        await store.request_cancel(strange, "x")


async def test_a_spec_comes_back_as_it_was(store: RunStore) -> None:
    spec = RunSpec(
        "direct",
        [{"role": "user", "content": "\0\udfff"}],
        model="scripted/echo",
        vaults=("a", "b"),
        memory="read",
        budget=Budget(tokens=7, calls=2, seconds=1.5),
        config={"n": 2, "nested": {"x": [None, 2**70]}},
        seed=5,
        sampling={"temperature": 0.5},
        tools=({"type": "function"},),
    )
    record = await store.create(spec, owner="ann", agent_version=3, model="m")
    assert record.spec == spec
    assert await store.get(record.id, owner="ann") == record
