"""Who is shown what, what a run says, and when an edit begins anew."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.core import Core
from memory.measuring.lives import lives, plain
from memory.measuring.outcomes import problem
from memory.measuring.units import Draw, plan
from memory.store import change
from memory.types import MemCube
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

UNITS = [f"answer.{number}" for number in range(4)]
NOW = SetClock().now()


def cube(name: str, vault: str = "vlt_a", **more: Any) -> MemCube:
    header: dict[str, Any] = dict.fromkeys(MemCube.__dataclass_fields__)
    header |= {"id": f"mem_{name}", "vault_id": vault, "version": 1, "content": name, "pinned": False}
    return MemCube(**{**header, **more})


CUBES = [cube(str(number)) for number in range(6)]


# -- the plan ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**62), st.randoms())
def test_a_plan_does_not_depend_on_the_order_or_on_the_other_memories(seed: int, rng: random.Random) -> None:
    whole = {(d.unit, d.memory_id): d for d in plan(CUBES, UNITS, seed=seed)}
    some = rng.sample(CUBES, 3)
    assert all(whole[d.unit, d.memory_id] == d for d in plan(some, UNITS, seed=seed))


def test_memories_are_held_out_as_often_as_agent_and_vault_say() -> None:
    cubes = [cube("a"), cube("b", "vlt_b")]
    draws = [d for seed in range(2000) for d in plan(cubes, UNITS, seed=seed, vaults={"vlt_b": 0.4}) if d.measured]
    for vault, p in (("mem_a", 0.8), ("mem_b", 0.6)):
        mine = [d for d in draws if d.memory_id == vault]
        assert {d.p for d in mine} == {p}
        assert sum(d.shown for d in mine) / len(mine) == pytest.approx(p, abs=0.02)


def test_a_pinned_memory_and_one_of_a_vault_that_is_off_are_always_shown() -> None:
    cubes = [cube("a", pinned=True), cube("b", "vlt_off"), cube("c")]
    draws = [d for seed in range(300) for d in plan(cubes, UNITS, seed=seed, vaults={"vlt_off": 0.0})]
    always = [d for d in draws if d.memory_id != "mem_c"]
    assert all(d.shown and not d.measured for d in always)
    assert any(not d.shown for d in draws)


def test_switched_off_everything_is_shown_and_nothing_is_measured() -> None:
    draws = [d for seed in range(100) for d in plan(CUBES, UNITS, seed=seed, explore=0.0)]
    assert all(d.shown and d.p == 1 for d in draws)


def test_a_free_unit_is_shown_no_measured_memory() -> None:
    plans = [plan(CUBES, UNITS, seed=seed) for seed in range(300)]
    free = [{d.unit for d in draws if d.p == 0} for draws in plans]
    assert {len(units) for units in free} == {0, 1}
    for draws, units in zip(plans, free, strict=True):
        assert all(not d.shown and d.p == 0 for d in draws if d.unit in units)


# -- what a run says ---------------------------------------------------------------------------------------------------


def draw(unit: str, memory: str, is_shown: bool, p: float = 0.8, version: int = 1) -> Draw:
    return Draw(unit, memory, version, is_shown, p)


def test_units_of_a_problem_are_centred_with_each_other() -> None:
    found = problem([draw("a", "m", True), draw("b", "m", False)], {"a": 1.0, "b": 0.0}, {"m": 0.9})
    assert found is not None
    (said,) = found.observations
    # psi: (1 - .8)/.16 · (1 - 0) and (0 - .8)/.16 · (0 - 1), and their mean.
    assert said.x == pytest.approx((1.25 + 5.0) / 2)
    assert (said.units, said.shown, said.outcome_shown, said.outcome_held_out) == (2, 1, 1.0, 0.0)
    assert (found.outcome, found.lift) == (0.5, None)


def test_a_single_unit_is_centred_with_what_was_before_or_with_one_half() -> None:
    alone = [draw("a", "m", True, 0.9)]
    for centres, centred in (({"m": 0.7}, 0.3), ({}, 0.5)):
        found = problem(alone, {"a": 1.0}, centres)
        assert found is not None
        assert found.observations[0].x == pytest.approx(0.1 / 0.09 * centred)


def test_a_unit_without_an_outcome_counts_for_nothing() -> None:
    draws = [draw("a", "m", True), draw("b", "m", False), draw("c", "m", True)]
    with_two = problem(draws, {"a": 1.0, "b": 0.0}, {})
    assert with_two == problem(draws[:2], {"a": 1.0, "b": 0.0}, {})
    assert problem(draws, {}, {}) is None


def test_where_nothing_was_left_to_chance_nothing_is_said() -> None:
    assert problem([draw("a", "m", True, 1.0), draw("b", "m", True, 1.0)], {"a": 1.0, "b": 0.0}, {}) is None


def test_the_free_unit_tells_the_lift_and_nothing_about_single_memories() -> None:
    draws = [draw("a", "m", True), draw("b", "m", True), draw("c", "m", False, 0.0)]
    found = problem(draws, {"a": 1.0, "b": 0.5, "c": 0.25}, {})
    assert found is not None
    assert found.lift == pytest.approx(0.5)
    assert found.observations[0].units == 2


def test_a_persons_word_is_about_the_run_and_centred_with_what_was_before() -> None:
    draws = [draw("a", "m", True), draw("b", "m", False)]
    found = problem(draws, {"a": 1.0, "b": 1.0}, {"m": 0.5}, whole=True)
    assert found is not None
    assert found.observations[0].x == pytest.approx((1.25 * 0.5 - 5.0 * 0.5) / 2)
    assert found.lift is None


def test_after_an_edit_within_a_run_only_the_newer_text_is_counted() -> None:
    draws = [draw("a", "m", True), draw("b", "m", False, version=2)]
    found = problem(draws, {"a": 1.0, "b": 0.0}, {})
    assert found is not None
    assert [(said.version, said.units) for said in found.observations] == [(2, 1)]


# -- lives -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("Ana lives in Porto", "ana  lives in Porto.", True),
        ("Use tabs, never spaces!", "Use tabs never spaces", True),
        ("He said “yes” – at once", 'He said "yes" at once', True),
        ("The limit is 3.5", "The limit is 35", False),
        ("x < 3", "x > 3", False),
        ("a - 5", "a -5", False),
        ("Ana lives in Porto", "Ana lives in Lisbon", False),
        ("call f(x)", "call fx", False),
        ("50 % of it", "50 of it", False),
    ],
)
def test_which_edits_are_trivial(before: str, after: str, same: bool) -> None:
    assert (plain(before) == plain(after)) is same


@pytest.mark.anyio
async def test_a_life_begins_with_another_text_and_an_old_text_brings_the_old_life_back(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto")
    for text in ("Ana lives in Porto.", "Ana lives in Lisbon", "ana lives in LISBON", "Ana lives in Porto"):
        now = cube
        cube = await core.write(ANN, lambda tx, now=now, text=text: change(tx, now, kind="edit", content=text))  # type: ignore[misc]
    cube = await core.write(ANN, lambda tx: change(tx, cube, kind="edit", tags=("home",)))
    asked = [(cube.id, version) for version in range(1, 7)]
    found = await core.read(ANN, lambda tx: lives(tx, asked))
    assert [found[key] for key in asked] == [1, 1, 3, 3, 1, 1]
