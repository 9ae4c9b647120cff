"""Slots, orders and seeds: each slot once, the same for the same plan, and pairs across agents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.base import Sample
from evals.plan import Plan, batches, chosen, streams
from runtime.budget import Budget
from runtime.errors import InvalidInput

SAMPLES = [Sample(f"item-{n}", "one", {"kind": "math", "problem": "p"}, "1") for n in range(7)]


def test_every_slot_comes_once() -> None:
    plan = Plan("small", "direct", seeds=2, orders=3, epochs=2, memory="continual")
    slots = [slot for stream in streams(plan, SAMPLES) for slot in stream.slots]
    assert len({slot.key for slot in slots}) == len(slots) == 7 * 2 * 3 * 2


def test_the_first_order_is_that_of_the_data_and_the_others_do_not_depend_on_the_seed() -> None:
    plan = Plan("small", "direct", seeds=2, orders=3, memory="continual")
    by_pass = {
        (s.slots[0].seed, s.slots[0].order): [slot.sample.id for slot in s.slots] for s in streams(plan, SAMPLES)
    }
    assert by_pass[0, 0] == [sample.id for sample in SAMPLES]
    assert by_pass[0, 1] != by_pass[0, 0]
    assert by_pass[0, 1] != by_pass[0, 2]
    for order in range(3):
        assert by_pass[0, order] == by_pass[1, order]
        assert sorted(by_pass[0, order]) == sorted(by_pass[0, 0])


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_the_seed_of_a_run_depends_on_item_seed_and_attempt_only(seed: int, epochs: int) -> None:
    one = Plan("small", "direct", seed=seed, epochs=epochs)
    other = Plan("aime", "best-of-n", seed=seed, epochs=epochs, memory="continual", orders=2)
    mine = {(s.seed, s.attempt, s.sample.id): s.run_seed for stream in streams(one, SAMPLES) for s in stream.slots}
    theirs = {(s.seed, s.attempt, s.sample.id): s.run_seed for stream in streams(other, SAMPLES) for s in stream.slots}
    assert mine == theirs
    assert len(set(mine.values())) == len(mine)
    assert all(0 <= value < 2**31 for value in mine.values())


def test_batches_follow_the_order() -> None:
    plan = Plan("small", "direct", batch=3, memory="continual")
    (stream,) = streams(plan, SAMPLES)
    assert [[slot.place for slot in batch] for batch in batches(plan, stream)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_limit_is_of_each_set() -> None:
    other = [Sample("other", "two", {"kind": "math", "problem": "p"}, "1")]
    assert [s.id for s in chosen(Plan("small", "direct", limit=2), [SAMPLES, other])] == ["item-0", "item-1", "other"]


def test_a_plan_survives_its_file() -> None:
    plan = Plan(
        "small",
        "direct",
        data=("a", "b"),
        options={"facts": 5},
        budget=Budget(tokens=10),
        sampling={"temperature": 0},
        memory="continual",
        orders=2,
    )
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (Plan("s", "a", orders=2), "orders"),
        (Plan("s", "a", memory="warm", batch=2), "orders"),
        (Plan("s", "a", vault="v"), "vault"),
        (Plan("s", "a", memory="cold", vault="v"), "vault"),
        (Plan("s", "a", placebo=True), "placebo"),
        (Plan("s", "a", epochs=0), "epochs"),
        (Plan("s", "a", seeds=1001), "seeds"),
        (Plan("s", "a", limit=0), "limit"),
        (Plan("s", "a", seed=-1), "seed"),
        (Plan("s", "a", memory="on"), "memory"),  # type: ignore[arg-type]
        (Plan("s", "a", budget=Budget(tokens=0)), "budget.tokens"),
    ],
)
def test_what_does_not_go_together_is_refused(plan: Plan, named: str) -> None:
    with pytest.raises(InvalidInput) as error:
        plan.check()
    assert error.value.param == named
