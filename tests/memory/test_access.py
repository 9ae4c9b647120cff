"""The one access decision: who may do what, and that whoever may not even read learns nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from memory import access, audit
from memory.core import Core
from memory.tables import AuditRow, GrantRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import Forbidden, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


async def grant(core: Core, **given: Any) -> None:
    home = await vault_id(core)
    row = {
        "id": new_id("grt"),
        "vault_id": home,
        "grantee_id": BOB.user_id,
        "context": None,
        "can_read": True,
        "can_write": False,
        "can_share": False,
        "can_delete": False,
        "masked_tags": [],
        "reads_used": 0,
        "created_at": core.clock.now(),
        "created_by": ANN.user_id,
    } | given
    await core.write(ANN, lambda tx: tx.connection.execute(insert(GrantRow).values(**row)))


async def message(core: Core, actor: Actor, memory_id: str) -> str:
    with pytest.raises(access.Hidden) as hidden:
        await core.read(actor, lambda tx: access.memory(tx, memory_id, "read"))
    return str(hidden.value).replace(memory_id, "ID")


async def test_the_owner_may_everything(core: Core) -> None:
    cube = await put(core, "mine")
    for verb in ("read", "write", "share", "delete"):
        _, allowed = await core.read(ANN, lambda tx, v=verb: access.memory(tx, cube.id, v))  # type: ignore[misc]
        assert allowed.rule == "owner"


async def test_a_foreign_a_masked_and_an_unknown_memory_look_the_same(core: Core) -> None:
    foreign = await put(core, "mine")
    unknown = await message(core, BOB, new_id("mem"))
    assert await message(core, BOB, foreign.id) == unknown
    masked = await put(core, "ill", sensitivity=("health",))
    await grant(core, masked_tags=["health"])
    assert await message(core, BOB, masked.id) == unknown
    cube, _ = await core.read(BOB, lambda tx: access.memory(tx, foreign.id, "read"))
    assert cube.content == "mine"


async def test_a_vault_of_somebody_else_is_not_found_by_its_name(core: Core) -> None:
    with pytest.raises(UnknownName):
        await core.read(BOB, lambda tx: access.vault(tx, "default", "read"))
    home = await vault_id(core)
    with pytest.raises(UnknownName):
        await core.read(BOB, lambda tx: access.vault(tx, home, "read"))


async def test_whoever_may_read_is_told_that_he_may_not_write(core: Core) -> None:
    cube = await put(core, "mine")
    await grant(core)
    with pytest.raises(Forbidden, match="'write'"):
        await core.read(BOB, lambda tx: access.memory(tx, cube.id, "write"))


async def test_a_grant_bound_to_a_context_fails_from_another(core: Core) -> None:
    cube = await put(core, "mine")
    await grant(core, context="support-bot")
    await core.read(Actor(BOB.user_id, "support-bot"), lambda tx: access.memory(tx, cube.id, "read"))
    for context in ("sales-bot", None):
        await message(core, Actor(BOB.user_id, context), cube.id)


@pytest.mark.parametrize("over", [{"expires_at": timedelta(seconds=-1)}, {"max_reads": 3, "reads_used": 3}])
async def test_a_grant_that_is_over_or_used_up_gives_nothing(core: Core, clock: SetClock, over: dict[str, Any]) -> None:
    cube = await put(core, "mine")
    if "expires_at" in over:
        over = {"expires_at": clock.now() + over["expires_at"]}
    await grant(core, **over)
    await message(core, BOB, cube.id)


async def test_of_two_grants_the_one_that_hides_less_counts(core: Core) -> None:
    cube = await put(core, "ill", sensitivity=("health",))
    await grant(core, masked_tags=["health"])
    await grant(core)
    await core.read(BOB, lambda tx: access.memory(tx, cube.id, "read"))


async def test_every_refusal_is_audited_with_its_rule(core: Core) -> None:
    cube = await put(core, "mine")
    await message(core, BOB, cube.id)
    await message(core, BOB, "mem_of_nobody")

    def denied(tx: Tx) -> list[tuple[str, str, str, str]]:
        found = tx.connection.execute(
            select(AuditRow.__table__).where(AuditRow.decision == "deny").order_by(AuditRow.seq)
        )
        return [(row.actor_id, row.action, row.object_id, row.rule) for row in found]

    assert await core.read(ANN, denied) == [
        (BOB.user_id, "read", cube.id, "no grant"),
        (BOB.user_id, "read", "mem_of_nobody", "unknown"),
    ]


@pytest.mark.parametrize("harm", ["change", "cut the end", "cut the middle"])
async def test_a_chain_that_was_tampered_with_says_where(core: Core, harm: str) -> None:
    for number in range(3):
        await core.write(ANN, lambda tx, n=number: audit.record(tx, "add", "memory", f"m{n}", chain="c"))  # type: ignore[misc]
    assert await core.read(ANN, lambda tx: audit.verify(tx, "c")) is None

    def tamper(tx: Tx) -> None:
        at = {"change": 2, "cut the end": 3, "cut the middle": 2}[harm]
        where = (AuditRow.chain == "c") & (AuditRow.n == at)
        if harm == "change":
            tx.connection.execute(update(AuditRow).where(where).values(actor_id="somebody"))
        else:
            tx.connection.execute(AuditRow.__table__.delete().where(where))  # type: ignore[attr-defined]

    await core.write(ANN, tamper)
    expected = {"change": 2, "cut the end": 3, "cut the middle": 2}[harm]
    assert await core.read(ANN, lambda tx: audit.verify(tx, "c")) == expected
