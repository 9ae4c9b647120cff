"""The inbox: one open item for each question, and deciding it moves the memory in the same transaction."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from memory import audit, reviews, store
from memory.core import Core
from memory.reviews import Review
from memory.tables import GrantRow
from memory.tx import Tx
from memory.types import MemCube
from runtime.errors import Conflict, Forbidden, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id

pytestmark = pytest.mark.anyio


async def ask(core: Core, cube: MemCube, kind: Any = "quarantine", other: str | None = None) -> Review:
    review_id = new_id("rev")
    return await core.write(ANN, lambda tx: reviews.ask(tx, review_id, kind, cube, "low score", other_id=other))


async def state_of(core: Core, cube: MemCube) -> str:
    return (await core.read(ANN, lambda tx: store.get(tx, cube.id))).state


@pytest.mark.parametrize(("decision", "state"), [("accept", "activated"), ("reject", "deleted")])
async def test_a_quarantined_memory_comes_in_or_goes(core: Core, decision: Any, state: str) -> None:
    cube = await put(core, "Ana may live in Porto", state="quarantined")
    review = await ask(core, cube)
    decided = await core.write(ANN, lambda tx: reviews.decide(tx, review.id, decision))
    assert (decided.state, decided.decided_by) == (f"{decision}ed", ANN.user_id)
    assert await state_of(core, cube) == state
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[cube.vault_id], after=0, limit=10))
    assert lines[-1].detail["decision"] == decision


async def test_a_question_is_asked_once_while_it_is_open(core: Core) -> None:
    cube = await put(core, "Ana may live in Porto", state="quarantined")
    first, second = await ask(core, cube), await ask(core, cube)
    assert first.id == second.id
    assert [r.id for r in await core.read(ANN, reviews.page)] == [first.id]


async def test_an_item_is_decided_once(core: Core) -> None:
    review = await ask(core, await put(core, "Ana may live in Porto", state="quarantined"))
    await core.write(ANN, lambda tx: reviews.decide(tx, review.id, "accept"))
    with pytest.raises(Conflict, match="accepted before"):
        await core.write(ANN, lambda tx: reviews.decide(tx, review.id, "reject"))


async def test_a_decision_that_the_memory_does_not_allow_leaves_the_item_open(core: Core) -> None:
    cube = await put(core, "Ana may live in Porto", state="quarantined")
    review = await ask(core, cube)
    await core.write(ANN, lambda tx: store.move(tx, store.get(tx, cube.id), "delete"))
    with pytest.raises(Conflict):
        await core.write(ANN, lambda tx: reviews.decide(tx, review.id, "accept"))
    assert (await core.read(ANN, lambda tx: reviews.get(tx, review.id))).state == "open"
    assert await core.write(ANN, reviews.withdraw_answered) == 1
    assert await core.read(ANN, reviews.page) == []


@pytest.mark.parametrize(
    ("decision", "states"),
    [
        ("accept", ("activated", "archived")),
        ("reject", ("archived", "activated")),
        ("dismiss", ("activated", "activated")),
    ],
)
async def test_a_conflict_ends_with_one_or_both(core: Core, decision: Any, states: tuple[str, str]) -> None:
    new, old = await put(core, "Ana lives in Lisbon"), await put(core, "Ana lives in Porto")
    review = await ask(core, new, "conflict", old.id)
    await core.write(ANN, lambda tx: reviews.decide(tx, review.id, decision))
    assert (await state_of(core, new), await state_of(core, old)) == states


async def test_a_retirement_is_accepted_or_not(core: Core) -> None:
    kept, gone = await put(core, "a"), await put(core, "b")
    keep, retire = await ask(core, kept, "retirement"), await ask(core, gone, "retirement")
    await core.write(ANN, lambda tx: reviews.decide(tx, keep.id, "reject"))
    await core.write(ANN, lambda tx: reviews.decide(tx, retire.id, "accept"))
    assert (await state_of(core, kept), await state_of(core, gone)) == ("activated", "archived")


async def test_the_quarantine_cannot_be_dismissed(core: Core) -> None:
    review = await ask(core, await put(core, "Ana may live in Porto", state="quarantined"))
    with pytest.raises(InvalidInput, match="accepted or rejected"):
        await core.write(ANN, lambda tx: reviews.decide(tx, review.id, "dismiss"))


async def test_others_see_and_decide_only_what_they_may(core: Core) -> None:
    home = await vault_id(core)
    review = await ask(core, await put(core, "Ana may live in Porto", state="quarantined"))
    masked = await ask(core, await put(core, "Ana is ill", state="quarantined", sensitivity=("health",)))
    assert await core.read(BOB, reviews.page) == []
    with pytest.raises(UnknownName):
        await core.read(BOB, lambda tx: reviews.get(tx, review.id))
    await core.write(ANN, lambda tx: grant(tx, home, core))
    assert [r.id for r in await core.read(BOB, lambda tx: reviews.page(tx, vault=home))] == [review.id]
    with pytest.raises(UnknownName):
        await core.read(BOB, lambda tx: reviews.get(tx, masked.id))
    with pytest.raises(Forbidden):
        await core.write(BOB, lambda tx: reviews.decide(tx, review.id, "accept"))


def grant(tx: Tx, home: str, core: Core) -> None:
    tx.connection.execute(
        insert(GrantRow).values(
            id=new_id("grt"),
            vault_id=home,
            grantee_id=BOB.user_id,
            can_read=True,
            can_write=False,
            can_share=False,
            can_delete=False,
            masked_tags=["health"],
            created_at=tx.now,
            created_by=ANN.user_id,
        )
    )


async def test_pages_go_backwards_in_time(core: Core) -> None:
    asked = [await ask(core, await put(core, f"maybe {n}", state="quarantined")) for n in range(3)]
    first = await core.read(ANN, lambda tx: reviews.page(tx, limit=2))
    rest = await core.read(ANN, lambda tx: reviews.page(tx, limit=2, after=first[-1].id))
    assert [r.id for r in (*first, *rest)] == [r.id for r in reversed(asked)]
