"""Forks: a run of its own that begins with a part of another one's log."""

from __future__ import annotations

import pytest

from runtime.db import Database
from runtime.errors import InvalidInput, UnknownName
from runtime.events import LlmCall, RunFailed, RunFinished, RunResumed, RunStarted, TextDelta
from runtime.ids import SYSTEM
from runtime.runs import RunStore
from tests.storing import call, claim, queued, types

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(db: Database) -> RunStore:
    return RunStore(db, SYSTEM)


async def three_steps(store: RunStore) -> str:
    """queued 1, started 2, then one call per step: 3, 4 and 5, finished 6."""
    run_id = await queued(store)
    taken = await claim(store, run_id)
    for number, key in enumerate(("one", "two", "three")):
        await store.finish_step(run_id, taken.epoch, key, number, [(call(f"t.{key}"), key)])
    await store.finish(run_id, taken.epoch, RunFinished(status="succeeded", output="three"))
    return run_id


async def test_a_fork_goes_on_behind_the_event_and_leaves_the_old_run_alone(store: RunStore) -> None:
    run_id = await three_steps(store)
    before = (await store.get(run_id, owner=None), await store.events(run_id))
    fork = await store.fork(run_id, 4, owner="ann")
    taken = await claim(store, fork.id)
    assert taken.steps == {"one": 0, "two": 1}
    assert taken.record.attempt == 1
    await store.finish_step(fork.id, taken.epoch, "three", "other", [(call("t.three"), "three")])
    await store.finish(fork.id, taken.epoch, RunFinished(status="succeeded", output="other"))
    events = await store.events(fork.id)
    assert types(events) == [
        *["run.queued", "run.started", "llm.call", "llm.call"],
        "run.resumed",
        "llm.call",
        "run.finished",
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6, 7]
    resumed = events[4].payload
    assert isinstance(resumed, RunResumed)
    assert (resumed.attempt, resumed.reason, resumed.void) == (1, "requested", [])
    assert (await store.get(run_id, owner=None), await store.events(run_id)) == before


async def test_a_fork_from_before_the_start_starts_like_any_run(store: RunStore) -> None:
    run_id = await three_steps(store)
    fork = await store.fork(run_id, 1, owner="ann")
    taken = await claim(store, fork.id)
    assert (taken.steps, taken.spent.calls) == ({}, 0)
    assert types(await store.events(fork.id)) == ["run.queued", "run.started"]


async def test_the_usage_of_a_fork_is_that_of_its_log(store: RunStore) -> None:
    run_id = await three_steps(store)
    fork = await store.fork(run_id, 4, owner="ann")
    taken = await claim(store, fork.id)
    record = await store.get(fork.id, owner=None)
    calls = [e.payload for e in await store.events(fork.id) if isinstance(e.payload, LlmCall)]
    assert sorted(record.usage) == [c.purpose for c in calls] == ["t.one", "t.two"]
    assert record.total_usage.total_tokens == taken.spent.tokens == 10
    assert taken.spent.calls == 2


async def test_what_belongs_to_unfinished_steps_and_old_ends_is_left_out(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.append(run_id, first.epoch, [(TextDelta(text="half"), "one")])  # 3
    await store.finish(run_id, first.epoch, RunFailed(code="x", message="y"))  # 4
    await store.requeue(run_id)
    second = await claim(store, run_id)  # 5, voids 3
    await store.finish_step(run_id, second.epoch, "one", 1, [(TextDelta(text="whole"), "one")])  # 6
    await store.append(run_id, second.epoch, [(TextDelta(text="more"), "two")])  # 7
    fork = await store.fork(run_id, 7, owner="ann")
    events = await store.events(fork.id)
    assert [(e.seq, e.type) for e in events] == [
        (1, "run.queued"),
        (2, "run.started"),
        (5, "run.resumed"),
        (6, "text.delta"),
    ]
    await claim(store, fork.id)
    assert (await store.events(fork.id))[-1].seq == 8, "numbers go on behind the event, so they never mean two things"


@pytest.mark.parametrize("seq", [-1, 0, 7, 2**63, 2**80])
async def test_an_event_that_is_not_there_is_refused(store: RunStore, seq: int) -> None:
    run_id = await three_steps(store)
    with pytest.raises(InvalidInput, match=r"the last one is 6") as caught:
        await store.fork(run_id, seq, owner="ann")
    assert caught.value.param == "from_event"
    assert len((await store.page(None)).items) == 1


async def test_an_event_that_is_void_is_refused(store: RunStore) -> None:
    run_id = await queued(store)
    first = await claim(store, run_id)
    await store.append(run_id, first.epoch, [(TextDelta(text="half"), "one")])  # 3
    await claim(store, run_id, "exe_b")
    with pytest.raises(InvalidInput, match="no event 3"):
        await store.fork(run_id, 3, owner="ann")


async def test_a_fork_of_a_fork_and_a_fork_of_another_owner(store: RunStore) -> None:
    run_id = await three_steps(store)
    one = await store.fork(run_id, 4, owner="ann")
    two = await store.fork(one.id, 3, owner="bob")
    assert (two.parent_id, two.parent_seq, two.owner) == (one.id, 3, "bob")
    taken = await claim(store, two.id)
    assert taken.steps == {"one": 0}
    started = (await store.events(two.id))[1].payload
    assert isinstance(started, RunStarted)
    with pytest.raises(UnknownName):
        await store.get(two.id, owner="ann")


async def test_a_run_that_is_not_there_cannot_be_forked(store: RunStore) -> None:
    with pytest.raises(UnknownName, match="run_none"):
        await store.fork("run_none", 1, owner="ann")
