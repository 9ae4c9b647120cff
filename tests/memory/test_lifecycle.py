"""The state machine and the heat: what the table allows happens, everything else is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lifecycle import (
    CAPACITY,
    EVENTS,
    STATES,
    TRANSITIONS,
    allowed_events,
    capacity_class,
    heat,
    is_cold,
    lifetime_over,
    next_state,
    over_capacity,
)
from memory.types import SEARCHABLE, MemCube, State
from runtime.errors import Conflict, Forbidden, InvalidInput

NOW = datetime(2030, 1, 2, tzinfo=UTC)
states = st.sampled_from(STATES)
events = st.sampled_from(EVENTS)


def cube(**fields: object) -> MemCube:
    made = MemCube(
        id="mem_1",
        seq=1,
        vault_id="vlt_1",
        version=1,
        state="activated",
        content="Ana lives in Porto",
        semantic_type="fact",
        kind="plaintext",
        data={},
        subject=None,
        attribute=None,
        title=None,
        speaker=None,
        entities=(),
        tags=(),
        sensitivity=(),
        origin="inference_extraction",
        provenance_id="prv_1",
        confidence=1.0,
        priority=0,
        pinned=False,
        watermark=None,
        valid_from=None,
        valid_to=None,
        occurred_at=None,
        recorded_at=NOW - timedelta(days=100),
        updated_at=NOW - timedelta(days=100),
        superseded_at=None,
        expires_at=None,
        session_id=None,
        position=None,
        created_by="usr_ann",
        deleted_at=None,
        purge_after=None,
        vector_state="synced",
        embedded_version=1,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@given(states, events, st.booleans())
def test_a_move_gives_the_state_of_the_table_or_is_refused(state: State, event: str, superseded: bool) -> None:
    after = TRANSITIONS[event].get(state)  # type: ignore[index]
    if event in allowed_events(state, superseded=superseded):
        assert next_state(state, event, superseded=superseded) == after
    else:
        with pytest.raises(Conflict) as refused:
            next_state(state, event, superseded=superseded)
        assert refused.value.code == "invalid_transition"
        assert repr(state) in refused.value.message
        assert repr(event) in refused.value.message
        for possible in allowed_events(state, superseded=superseded):
            assert possible in refused.value.message


@given(st.lists(events, max_size=12))
def test_no_path_leads_out_of_deleted_but_a_restore(path: list[str]) -> None:
    state: State = "generated"
    for event in path:
        before = state
        try:
            state = next_state(state, event)
        except Conflict:
            continue
        if before == "deleted":
            assert (event, state) in {("restore", "activated"), ("purge", "deleted")}
        if before == "quarantined" and state in SEARCHABLE:
            assert event in {"approve", "admit"}


def test_every_state_can_be_deleted_once() -> None:
    for state in STATES:
        if state != "deleted":
            assert next_state(state, "delete") == "deleted"
    with pytest.raises(Conflict):
        next_state("deleted", "delete")


def test_a_hit_wakes_an_archived_memory_but_never_a_superseded_one() -> None:
    assert next_state("archived", "hit") == "activated"
    with pytest.raises(Conflict, match="superseded"):
        next_state("archived", "hit", superseded=True)
    assert next_state("archived", "restore", superseded=True) == "activated"


def test_only_the_owner_unfreezes() -> None:
    assert next_state("frozen", "unfreeze") == "activated"
    with pytest.raises(Forbidden):
        next_state("frozen", "unfreeze", by_owner=False)


def test_an_unknown_event_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidInput, match="expected one of"):
        next_state("activated", "evaporate")


def test_a_frozen_memory_outlives_its_time_unless_it_is_sensitive() -> None:
    past = NOW - timedelta(seconds=1)
    assert lifetime_over("activated", past, (), NOW)
    assert not lifetime_over("frozen", past, (), NOW)
    assert lifetime_over("frozen", past, ("health",), NOW)
    assert not lifetime_over("activated", None, (), NOW)
    assert lifetime_over("activated", NOW, (), NOW)


def test_heat_halves_with_every_half_life() -> None:
    assert heat(8, NOW - timedelta(days=14), NOW) == pytest.approx(2.0)
    assert heat(1, NOW - timedelta(days=35), NOW) == pytest.approx(0.03125)
    assert heat(5, None, NOW) == 0.0
    assert heat(3, NOW + timedelta(days=1), NOW) == 3.0


@given(st.integers(1, 10_000), st.floats(0, 1000), st.floats(0, 1000))
def test_heat_only_falls_while_nobody_asks(uses: int, earlier: float, more: float) -> None:
    last = NOW - timedelta(days=earlier)
    assert 0 <= heat(uses, last, NOW + timedelta(days=more)) <= heat(uses, last, NOW) <= uses


@pytest.mark.parametrize(
    ("fields", "cold"),
    [
        ({"uses": 1, "last_used_at": NOW - timedelta(days=35)}, True),
        ({"uses": 8, "last_used_at": NOW - timedelta(days=14)}, False),
        ({"uses": 1, "last_used_at": NOW - timedelta(days=35), "pinned": True}, False),
        ({"uses": 1, "last_used_at": NOW - timedelta(days=35), "state": "frozen"}, False),
        ({"uses": 1, "last_used_at": NOW - timedelta(days=13)}, False),
        ({}, True),
        ({"updated_at": NOW - timedelta(days=13)}, False),
        ({"uses": 1, "last_used_at": NOW - timedelta(days=35), "updated_at": NOW - timedelta(days=1)}, False),
        ({"origin": "user_input"}, False),
        ({"origin": "user_input", "uses": 1, "last_used_at": NOW - timedelta(days=35)}, True),
    ],
)
def test_cold_is_what_was_used_long_ago_and_rarely(fields: dict[str, object], cold: bool) -> None:
    assert is_cold(cube(**fields), NOW) is cold


def test_beyond_capacity_the_coldest_go_and_never_a_pinned_one() -> None:
    facts = [cube(id=f"mem_{n}", uses=n, last_used_at=NOW) for n in range(5)]
    pinned = cube(id="mem_p", pinned=True)
    assert [c.id for c in over_capacity([*facts, pinned], {"long_term": 3}, NOW)] == ["mem_0", "mem_1", "mem_2"]
    assert over_capacity([pinned], {"long_term": 0}, NOW) == []
    assert over_capacity(facts, CAPACITY, NOW) == []


def test_classes_follow_the_type_and_raw_text_is_raw() -> None:
    assert capacity_class("preference") == "user"
    assert capacity_class("preference", "generated") == "raw"
    assert capacity_class("concept") == "long_term"
