"""The facts: one transaction writes all of it, history only grows, and no edit overwrites what it has not seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest
from sqlalchemy import delete, func, insert, select, update

from memory import erase, incidence, store, versions
from memory.core import Core
from memory.indices import lexical
from memory.tables import (
    BlobRow,
    EdgeRow,
    EntityRow,
    IncidenceRow,
    MemoryRow,
    OutboxRow,
    ProfileRow,
    SourceRow,
    VersionRow,
)
from memory.tx import Tx
from memory.types import Draft, MemCube, Source
from runtime.errors import Conflict, Gone, Stale
from runtime.ids import new_id
from runtime.tables import Base
from tests.memory.conftest import ANN, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


async def test_one_write_makes_row_version_source_nodes_text_vector_and_outbox(core: Core) -> None:
    home = await vault_id(core)
    draft = Draft(
        "Ana lives in Porto", entities=("Ana", "Porto"), sources=(Source("message", message_id="m1", quote="Porto"),)
    )
    vector = np.array([0.6, 0.8], np.float32)

    def work(tx: Tx) -> MemCube:
        tx.connection.execute(insert(ProfileRow).values(**profile(tx)))
        return store.insert_all(tx, [store.NewMemory(new_id("mem"), home, draft, new_id("prv"), {"p": vector})])[0].cube

    cube = await core.write(ANN, work)

    def counts(tx: Tx) -> dict[str, int]:
        tables = (MemoryRow, VersionRow, SourceRow, EntityRow, IncidenceRow, BlobRow, OutboxRow)
        return {
            t.__tablename__: tx.connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        }

    assert await core.read(ANN, counts) == {
        "memories": 1,
        "memory_versions": 1,
        "memory_sources": 1,
        "entities": 2,
        "incidence": 2,
        "embedding_blobs": 1,
        "outbox": 1,
    }
    hits = await core.read(ANN, lambda tx: lexical.search(tx.connection, "where does ana live", [home], 5))
    assert [hit.seq for hit in hits] == [cube.seq]


def profile(tx: Tx) -> dict[str, object]:
    text = {"provider": "test", "model": "m", "revision": "1", "metric": "cosine", "prefix_doc": "", "prefix_query": ""}
    numbers = {"dim": 2, "normalise": True, "cursor": 0, "codec": "f32", "state": "active", "created_at": tx.now}
    return {"id": "p", "slug": "p", **text, **numbers}


async def test_nothing_is_kept_of_a_write_that_fails_at_its_end(core: Core) -> None:
    home = await vault_id(core)
    item = store.NewMemory(new_id("mem"), home, Draft("half", entities=("x",)), new_id("prv"))

    def work(tx: Tx) -> None:
        store.insert_all(tx, [item])
        raise RuntimeError("the end is never reached")

    with pytest.raises(RuntimeError):
        await core.write(ANN, work)

    def left(tx: Tx) -> list[int]:
        tables = (MemoryRow, VersionRow, EntityRow, OutboxRow)
        return [tx.connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

    assert await core.read(ANN, left) == [0, 0, 0, 0]
    assert await core.read(ANN, lambda tx: lexical.search(tx.connection, "half", [home], 5)) == []


async def test_the_second_of_two_editors_is_refused_and_history_verifies(core: Core, clock: SetClock) -> None:
    cube = await put(core, "one")
    for content in ("two", "three"):
        clock.pass_by(1)
        cube = await core.write(ANN, lambda tx, c=cube, t=content: store.change(tx, c, kind="edit", content=t))  # type: ignore[misc]
    seen = cube
    after = await core.write(ANN, lambda tx: store.change(tx, seen, kind="edit", expect=3, content="A's"))
    assert after.version == 4
    with pytest.raises(Stale) as stale:
        await core.write(ANN, lambda tx: store.change(tx, store.get(tx, seen.id), kind="edit", expect=3, content="B's"))
    assert (stale.value.expected, stale.value.current) == (3, 4)
    history = await core.read(ANN, lambda tx: versions.history(tx, seen.id))
    assert [(v.version, v.content, v.sys_to is None) for v in history] == [
        (4, "A's", True),
        (3, "three", False),
        (2, "two", False),
        (1, "one", False),
    ]
    assert await core.read(ANN, lambda tx: versions.verify_chain(tx, seen.id))


async def test_an_edit_of_a_row_that_was_read_before_another_edit_is_refused(core: Core) -> None:
    old = await put(core, "one")
    await core.write(ANN, lambda tx: store.change(tx, old, kind="edit", content="two"))
    with pytest.raises(Stale):
        await core.write(ANN, lambda tx: store.change(tx, old, kind="edit", content="late"))


async def test_fifty_editors_at_once_lose_no_update(core: Core) -> None:
    cube = await put(core, "0")

    async def edit(number: int) -> bool:
        seen = await core.read(ANN, lambda tx: store.get(tx, cube.id))
        tags = (*seen.tags, f"t{number}")
        try:
            await core.write(ANN, lambda tx: store.change(tx, seen, kind="edit", expect=seen.version, tags=tags))
        except Stale:
            return False
        return True

    async def editor(number: int) -> None:
        while not await edit(number):
            pass

    async with anyio.create_task_group() as editors:
        for number in range(50):
            editors.start_soon(editor, number)
    after = await core.read(ANN, lambda tx: store.get(tx, cube.id))
    assert sorted(after.tags) == sorted(f"t{number}" for number in range(50))
    assert after.version == 51
    assert await core.read(ANN, lambda tx: versions.verify_chain(tx, cube.id))


async def test_two_identical_adds_at_once_give_one_memory_to_both(core: Core) -> None:
    got: list[str] = []

    async def add() -> None:
        got.append((await put(core, "The  SAME text")).id)

    async with anyio.create_task_group() as adding:
        for _ in range(8):
            adding.start_soon(add)
    assert len(set(got)) == 1
    assert (await put(core, "the same text")).id == got[0], "case and spaces make no difference"


async def test_the_same_words_at_two_places_of_a_session_are_two_memories(core: Core) -> None:
    first = await put(core, "Thanks!", semantic_type="event", session_id="s", position=1)
    second = await put(core, "Thanks!", semantic_type="event", session_id="s", position=7)
    assert first.id != second.id
    assert (await put(core, "Thanks!", semantic_type="event", session_id="s", position=7)).id == second.id


async def test_positions_of_a_session_follow_each_other(core: Core) -> None:
    places = [(await put(core, f"turn {n}", session_id="s")).position for n in range(3)]
    assert places == [0, 1, 2]


async def test_an_archived_text_can_be_added_again_and_then_not_restored(core: Core) -> None:
    old = await put(core, "text")
    await core.write(ANN, lambda tx: store.move(tx, old, "archive"))
    again = await put(core, "text")
    assert again.id != old.id
    with pytest.raises(Conflict, match=again.id):
        await core.write(ANN, lambda tx: store.move(tx, store.get(tx, old.id), "restore"))


async def test_superseding_keeps_both_and_dates_them(core: Core, clock: SetClock) -> None:
    old = await put(core, "Ana lives in Porto", valid_from=datetime(2024, 1, 1, tzinfo=UTC))
    before = clock.now()
    clock.pass_by(60)
    new = await put(core, "Ana lives in Lisbon", valid_from=datetime(2025, 3, 10, tzinfo=UTC))
    await core.write(ANN, lambda tx: store.supersede(tx, old, new))
    closed = await core.read(ANN, lambda tx: store.get(tx, old.id))
    assert (closed.state, closed.valid_to) == ("archived", datetime(2025, 3, 10, tzinfo=UTC))
    then = await core.read(ANN, lambda tx: versions.as_of(tx, [closed, new], before))
    assert {cube.id: (cube.state, cube.valid_to) for cube in then.values()} == {old.id: ("activated", None)}
    edges = await core.read(
        ANN, lambda tx: tx.connection.execute(select(EdgeRow.src_id, EdgeRow.dst_id, EdgeRow.type)).all()
    )
    assert [tuple(edge) for edge in edges] == [(new.id, old.id, "SUPERSEDES")]


async def test_versions_within_one_tick_of_the_clock_each_have_their_interval(core: Core) -> None:
    cube = await put(core, "a")
    for content in ("b", "c"):
        cube = await core.write(ANN, lambda tx, c=cube, t=content: store.change(tx, c, kind="edit", content=t))  # type: ignore[misc]
    history = await core.read(ANN, lambda tx: versions.history(tx, cube.id))
    assert all(v.sys_to is None or v.sys_from < v.sys_to for v in history)


async def test_entities_follow_the_memory_and_leave_with_the_last_one(core: Core) -> None:
    first = await put(core, "a", entities=("Ana", "Porto"))
    await put(core, "b", entities=("ana",))

    def degrees(tx: Tx) -> dict[str, int]:
        return {row.key: row.degree for row in tx.connection.execute(select(EntityRow.key, EntityRow.degree))}

    assert await core.read(ANN, degrees) == {"ana": 2, "porto": 1}
    await core.write(ANN, lambda tx: store.change(tx, first, kind="edit", entities=("Faro",)))
    assert await core.read(ANN, degrees) == {"ana": 1, "faro": 1}


async def test_a_frozen_memory_is_not_edited(core: Core) -> None:
    cube = await put(core, "law")
    frozen = await core.write(ANN, lambda tx: store.move(tx, cube, "freeze"))
    with pytest.raises(Conflict, match="frozen"):
        await core.write(ANN, lambda tx: store.change(tx, frozen, kind="edit", content="new law"))


@pytest.mark.parametrize("harm", ["text", "hash", "missing"])
async def test_a_history_that_was_tampered_with_does_not_verify(core: Core, harm: str) -> None:
    cube = await put(core, "one")
    cube = await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", content="two"))

    def tamper(tx: Tx) -> None:
        first = (VersionRow.memory_id == cube.id) & (VersionRow.version == 1)
        if harm == "missing":
            tx.connection.execute(delete(VersionRow).where(first))
        else:
            new = {"content": "other"} if harm == "text" else {"hash": "0" * 64}
            tx.connection.execute(update(VersionRow).where(first).values(**new))

    assert await core.read(ANN, lambda tx: versions.verify_chain(tx, cube.id))
    await core.write(ANN, tamper)
    assert not await core.read(ANN, lambda tx: versions.verify_chain(tx, cube.id))


async def test_a_purge_leaves_no_word_of_it_in_the_database(core: Core) -> None:
    home = await vault_id(core)
    secret = "zanzibar"
    cube = await put(
        core,
        f"the {secret} plan",
        title=secret,
        speaker=secret,
        subject=secret,
        entities=(secret,),
        tags=(secret,),
        data={"x": secret},
        session_id=secret,
        sources=(Source("message", quote=secret),),
    )
    cube = await core.write(
        ANN, lambda tx: store.change(tx, cube, kind="edit", reason=f"because of {secret}", content=f"{secret} again")
    )
    receipt = await core.write(ANN, lambda tx: erase.erase(tx, store.move(tx, cube, "delete")))
    assert receipt.removed["versions"] == 3
    assert await core.read(ANN, lambda tx: lexical.search(tx.connection, secret, [home], 5)) == []

    def everything(tx: Tx) -> str:
        return repr([list(tx.connection.execute(select(table))) for table in Base.metadata.sorted_tables])

    assert secret not in await core.read(ANN, everything)
    if core.db.dialect == "sqlite":
        files = b"".join(path.read_bytes() for path in core.settings.database_folder.glob("mneme.db"))
        assert secret.encode() not in files
    assert await core.read(ANN, lambda tx: versions.verify_chain(tx, cube.id)), "the chain survives without the texts"
    stub = await core.read(ANN, lambda tx: store.get(tx, cube.id))
    with pytest.raises(Gone):
        await core.write(ANN, lambda tx: store.move(tx, stub, "restore"))


async def test_times_before_a_clock_was_set_back_do_not_break_the_history(core: Core, clock: SetClock) -> None:
    cube = await put(core, "one")
    clock.time -= timedelta(hours=1)
    after = await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", content="two"))
    assert await core.read(ANN, lambda tx: versions.verify_chain(tx, after.id))
    assert incidence.entity_key("  ANA ") == "ana"
