"""The audit: one line however many write at once, whole or visibly broken, and every refusal is in it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from memory import access, audit
from memory.core import Core
from memory.tables import AuditHead, AuditRow, GrantRow
from memory.tx import Tx
from memory.types import Actor
from runtime.errors import Forbidden, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
CHAIN = "vlt_x"


async def write(core: Core, count: int, actor: Actor = ANN, chain: str = CHAIN) -> None:
    for number in range(count):
        await core.write(
            actor,
            lambda tx, n=number: audit.record(  # type: ignore[misc]
                tx, "edit", "memory", f"mem_{n}", chain=chain, rule="owner", detail={"n": n, "of": [1.5, None]}
            ),
        )


async def broken(core: Core, chain: str = CHAIN) -> int | None:
    return await core.read(ANN, lambda tx: audit.verify(tx, chain))


async def tamper(core: Core, statement: Any) -> None:
    def work(connection: Connection) -> None:
        assert connection.execute(statement).rowcount > 0

    await core.db.write(work)


async def test_a_chain_that_nobody_touched_is_whole(core: Core, clock: SetClock) -> None:
    assert await broken(core) is None
    await write(core, 3)
    clock.pass_by(3600)
    await write(core, 2, Actor("usr_bob", context="support-bot"))
    assert await broken(core) is None


@pytest.mark.parametrize(
    "value",
    [
        {"actor_id": "usr_eve"},
        {"context": "web"},
        {"action": "read"},
        {"object_type": "vault"},
        {"object_id": "mem_9"},
        {"decision": "deny"},
        {"rule": "grant:x"},
        {"detail": {"n": 9, "of": [1.5, None]}},
        {"prev_hash": "0" * 64},
        {"hash": "f" * 64},
        {"n": 9},
    ],
)
async def test_a_changed_line_breaks_the_chain_there(core: Core, value: dict[str, Any]) -> None:
    await write(core, 4)
    await tamper(core, update(AuditRow).where(AuditRow.chain == CHAIN, AuditRow.n == 2).values(**value))
    assert await broken(core) == 2


async def test_a_changed_time_breaks_the_chain(core: Core, clock: SetClock) -> None:
    await write(core, 2)
    clock.pass_by(1)
    await tamper(core, update(AuditRow).where(AuditRow.n == 1).values(at=clock.now()))
    assert await broken(core) == 1


@pytest.mark.parametrize(("gone", "found"), [(1, 1), (2, 2), (4, 4)])
async def test_a_missing_line_breaks_the_chain_where_it_was(core: Core, gone: int, found: int) -> None:
    await write(core, 4)
    await tamper(core, delete(AuditRow).where(AuditRow.n == gone))
    assert await broken(core) == found


async def test_an_invented_line_at_the_end_breaks_the_chain(core: Core) -> None:
    await write(core, 2)

    def work(connection: Connection) -> None:
        row = dict(connection.execute(select(AuditRow.__table__).where(AuditRow.n == 2)).one()._mapping)
        row |= {"seq": row["seq"] + 1, "n": 3, "prev_hash": row["hash"]}
        row["hash"] = audit._hash(row)
        connection.execute(insert(AuditRow), row)

    await core.db.write(work)
    assert await broken(core) == 4


async def test_a_cut_end_shows_also_without_its_head(core: Core) -> None:
    await write(core, 3)
    await tamper(core, delete(AuditRow).where(AuditRow.n == 3))
    assert await broken(core) == 3
    await tamper(core, delete(AuditHead).where(AuditHead.chain == CHAIN))
    assert await broken(core) == 3


async def test_a_chain_that_was_emptied_is_broken(core: Core) -> None:
    await write(core, 2)
    await tamper(core, delete(AuditRow).where(AuditRow.chain == CHAIN))
    assert await broken(core) == 1


async def test_many_writers_at_once_keep_one_line(core: Core) -> None:
    async with anyio.create_task_group() as writers:
        for number in range(20):
            writers.start_soon(write, core, 3, Actor(f"usr_{number}"))
    assert await broken(core) is None
    query = select(func.count(), func.min(AuditRow.n), func.max(AuditRow.n)).where(AuditRow.chain == CHAIN)
    assert tuple(await core.db.read(lambda connection: connection.execute(query).one())) == (60, 1, 60)


async def test_chains_are_apart(core: Core) -> None:
    await write(core, 2, chain="vlt_a")
    await write(core, 2, chain="vlt_b")
    await tamper(core, update(AuditRow).where(AuditRow.chain == "vlt_a", AuditRow.n == 1).values(rule="x"))
    assert (await broken(core, "vlt_a"), await broken(core, "vlt_b")) == (1, None)


async def test_a_line_lives_and_dies_with_its_transaction(core: Core) -> None:
    def work(tx: Tx) -> None:
        audit.record(tx, "edit", "memory", "mem_1", chain=CHAIN)
        raise RuntimeError("the end is never reached")

    with pytest.raises(RuntimeError):
        await core.write(ANN, work)
    assert await core.read(ANN, lambda tx: audit.read(tx, chains=[CHAIN], after=0, limit=10)) == []
    await write(core, 1)
    assert await broken(core) is None


async def test_a_long_id_is_cut_and_still_verifies(core: Core) -> None:
    await core.write(ANN, lambda tx: audit.record(tx, "read", "memory", "x" * 5000, chain=CHAIN))
    assert await broken(core) is None


async def test_every_refusal_is_a_line_with_who_what_and_why(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto")
    home = await vault_id(core)
    unknown = new_id("mem")
    for memory_id in (cube.id, unknown):
        with pytest.raises(UnknownName):
            await core.read(BOB, lambda tx, m=memory_id: access.memory(tx, m, "read"))  # type: ignore[misc]
    row = {
        "id": new_id("grt"),
        "vault_id": home,
        "grantee_id": BOB.user_id,
        "can_read": True,
        "can_write": False,
        "can_share": False,
        "can_delete": False,
        "masked_tags": [],
        "created_at": core.clock.now(),
        "created_by": ANN.user_id,
    }
    await core.write(ANN, lambda tx: tx.connection.execute(insert(GrantRow).values(**row)))
    with pytest.raises(Forbidden):
        await core.write(Actor(BOB.user_id, "support-bot"), lambda tx: access.memory(tx, cube.id, "write"))
    lines = await core.read(BOB, lambda tx: audit.read(tx, chains=[], after=0, limit=10))
    assert [(line.decision, line.action, line.object_id, line.rule, line.context, line.chain) for line in lines] == [
        ("deny", "read", cube.id, "no grant", None, home),
        ("deny", "read", unknown, "unknown", None, BOB.user_id),
        ("deny", "write", cube.id, "no grant", "support-bot", home),
    ]
    assert (await broken(core, home), await broken(core, BOB.user_id)) == (None, None)
    assert "Porto" not in repr([line._mapping for line in lines])


async def test_lines_are_read_by_chain_or_by_deed_and_in_pages(core: Core) -> None:
    await write(core, 3, ANN, "vlt_a")
    await write(core, 2, BOB, "vlt_b")
    every = await core.read(ANN, lambda tx: audit.read(tx, chains=None, after=0, limit=10))
    assert len(every) == 5
    mine = await core.read(ANN, lambda tx: audit.read(tx, chains=["vlt_b"], after=0, limit=10))
    assert mine == every
    own = await core.read(ANN, lambda tx: audit.read(tx, chains=[], after=0, limit=10))
    assert [line.chain for line in own] == ["vlt_a"] * 3
    rest = await core.read(ANN, lambda tx: audit.read(tx, chains=None, after=every[1].seq, limit=2))
    assert [line.seq for line in rest] == [line.seq for line in every[2:4]]
