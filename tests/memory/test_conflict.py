"""When a new fact takes the place of an old one without asking a model, and how that looks from different times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memory import explain, store, versions
from memory.conflict import later, same_slot, supersedes
from memory.core import Core
from memory.tx import Tx
from memory.types import MemCube
from tests.memory.conftest import ANN, put
from tests.memory.cubes import NOW, cube
from tests.storing import SetClock

OLD = cube()
NEW = cube(id="mem_2", seq=2, content="Ana lives in Lisbon", valid_from=NOW + timedelta(days=1))


def newer(**given: Any) -> MemCube:
    return cube(**{"id": "mem_2", "content": "Ana lives in Lisbon", "valid_from": NOW + timedelta(days=1), **given})


def test_the_later_statement_about_a_slot_closes_the_earlier() -> None:
    assert same_slot(OLD, NEW)
    assert supersedes(OLD, NEW)
    assert not supersedes(NEW, OLD)


def test_a_slot_is_the_same_whatever_case_and_spaces() -> None:
    assert supersedes(OLD, newer(subject=" ANA ", attribute="Residence"))


@pytest.mark.parametrize(
    "given",
    [
        {"subject": "Ana's sister"},
        {"subject": None},
        {"attribute": "job"},
        {"attribute": None},
        {"vault_id": "vlt_2"},
        {"semantic_type": "event"},
        {"semantic_type": "preference"},
        {"content": "ana LIVES in porto"},
        {"valid_from": None},
        {"valid_from": NOW},
        {"valid_from": NOW - timedelta(days=1)},
        {"state": "quarantined"},
        {"id": "mem_1"},
    ],
)
def test_anything_else_closes_nothing(given: dict[str, Any]) -> None:
    assert not supersedes(OLD, newer(**given))


@pytest.mark.parametrize(
    "given",
    [
        {"pinned": True},
        {"state": "frozen"},
        {"state": "archived"},
        {"superseded_at": NOW},
        {"valid_to": NOW + timedelta(hours=1)},
        {"semantic_type": "document"},
    ],
)
def test_what_is_protected_closed_or_over_is_not_closed(given: dict[str, Any]) -> None:
    kind = {"semantic_type": given.get("semantic_type", "fact")}
    assert not supersedes(cube(**given), newer(**kind))


def test_one_that_does_not_say_since_when_counts_as_older() -> None:
    assert supersedes(cube(valid_from=None), NEW)


def test_the_later_of_two_is_told_by_when_they_are_true_or_happened() -> None:
    undated = newer(valid_from=None)
    assert later(OLD, NEW) == later(NEW, OLD) == NEW
    assert later(OLD, newer(valid_from=None, occurred_at=NOW + timedelta(days=2))) is not None
    assert later(OLD, undated) is None
    assert later(OLD, newer(valid_from=NOW)) is None


@pytest.mark.anyio
async def test_ana_moves_and_every_time_has_its_answer(core: Core, clock: SetClock) -> None:
    slot: dict[str, Any] = {"subject": "Ana", "attribute": "residence"}
    porto = await put(core, "Ana lives in Porto", valid_from=datetime(2024, 1, 1, tzinfo=UTC), **slot)
    sister = await put(core, "Ana's sister lives in Faro", subject="Ana's sister", attribute="residence")
    before = clock.now()
    clock.pass_by(60)
    moved = datetime(2025, 3, 10, tzinfo=UTC)
    lisbon = await put(core, "Ana moved to Lisbon on 2025-03-10", valid_from=moved, **slot)

    def close(tx: Tx) -> None:
        for old in store.same_slot(tx, lisbon):
            if supersedes(old, lisbon):
                store.supersede(tx, old, lisbon)

    await core.write(ANN, close)

    def look(tx: Tx) -> tuple[dict[str, MemCube], dict[str, MemCube]]:
        now = store.many(tx, [porto.id, lisbon.id, sister.id])
        return now, versions.as_of(tx, list(now.values()), before)

    now, then = await core.read(ANN, look)
    assert {id_: (c.state, c.valid_to) for id_, c in now.items()} == {
        porto.id: ("archived", moved),
        lisbon.id: ("activated", None),
        sister.id: ("activated", None),
    }
    assert (now[porto.id].superseded_at, now[porto.id].content) == (clock.now(), "Ana lives in Porto")
    # What the store believed before: Porto, with an open end.
    assert (then[porto.id].state, then[porto.id].valid_to) == ("activated", None)
    assert lisbon.id not in then
    edges = await core.read(ANN, lambda tx: explain.edges(tx, lisbon.id))
    assert [(edge.src_id, edge.dst_id, edge.type) for edge in edges] == [(lisbon.id, porto.id, "SUPERSEDES")]
    assert await core.read(ANN, lambda tx: explain.edges(tx, sister.id)) == ()
