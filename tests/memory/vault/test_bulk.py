"""Many changes together write what as many single ones write, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, select

from memory import erase, rows, store, versions
from memory.core import Core
from memory.indices import lexical
from memory.tables import ArtifactRow, BlobRow, MemoryRow, OutboxRow, ProfileRow
from memory.tx import Tx
from memory.types import ChangeKind, MemCube
from memory.upkeep import comparing
from memory.vault import bulk
from runtime.errors import Conflict, Gone, Stale
from tests.memory.conftest import ANN, put, vault_id

pytestmark = pytest.mark.anyio
Changes = list[tuple[MemCube, Mapping[str, Any]]]


async def change_all(core: Core, changes: Changes, kind: ChangeKind = "edit") -> list[MemCube]:
    return await core.write(ANN, lambda tx: bulk.change_all(tx, changes, kind=kind, reason="many"))


async def furnish(core: Core) -> list[MemCube]:
    """Four memories with a vector and a file each."""
    cubes = [await put(core, f"memory {name}", tags=("t",), entities=("Ana", name)) for name in "abcd"]

    def work(tx: Tx) -> None:
        words = ("provider", "model", "revision", "metric", "prefix_doc", "prefix_query", "codec")
        row = dict.fromkeys(words, "") | {"id": "p", "slug": "p", "dim": 2, "normalise": True, "state": "active"}
        tx.connection.execute(insert(ProfileRow).values(**row, cursor=0, created_at=tx.now))
        for cube in cubes:
            blob = store.blob_row(cube, "p", np.array([0.6, 0.8], np.float32))
            tx.connection.execute(insert(BlobRow).values(**blob))
            file = {"memory_id": cube.id, "memory_version": 1, "kind": "kv", "identity": {}, "location": "", "bytes": 1}
            file |= {"id": f"art_{cube.seq}", "sha256": "0", "state": "ready", "created_at": tx.now}
            tx.connection.execute(insert(ArtifactRow).values(**file))

    await core.write(ANN, work)
    return cubes


def wanted(core: Core, cubes: list[MemCube]) -> Changes:
    a, b, c, d = cubes
    return [
        (a, {"content": "another text", "subject": "Ana"}),
        (b, {"tags": ("x",), "entities": ("Bob",), "data": {"k": [1]}, "valid_from": core.clock.now()}),
        (c, {"state": "deleted", "deleted_at": core.clock.now()}),
        (d, {"confidence": 0.5, "expires_at": core.clock.now() + timedelta(days=1)}),
    ]


async def written(core: Core, cubes: list[MemCube]) -> list[dict[str, Any]]:
    """Everything that is stored of the memories, without what differs between any two."""

    def work(tx: Tx) -> list[dict[str, Any]]:
        found = []
        for cube in cubes:
            row = dict(tx.connection.execute(select(MemoryRow.__table__).where(MemoryRow.id == cube.id)).one()._mapping)
            for name in ("seq", "id", "digest_key", "provenance_id"):
                row.pop(name)
            last = versions.history(tx, cube.id)[0]
            files = select(ArtifactRow.state).where(ArtifactRow.memory_id == cube.id)
            texts = select(OutboxRow.version).where(OutboxRow.memory_id == cube.id).order_by(OutboxRow.seq)
            found.append(
                row
                | {"version row": (last.version, last.content, last.header, last.change, last.reason, last.sys_to)}
                | {"outbox": tx.connection.execute(texts).scalars().all()}
                | {"blobs": len(tx.connection.execute(select(BlobRow).where(BlobRow.memory_seq == cube.seq)).all())}
                | {"files": tx.connection.execute(files).scalar()}
            )
        return found

    return await core.read(ANN, work)


async def test_many_changes_write_what_single_ones_write(core: Core) -> None:
    cubes = await furnish(core)

    async def begin_anew() -> None:
        def work(tx: Tx) -> None:
            for cube in cubes:
                erase.erase(tx, store.get(tx, cube.id))
            tx.connection.execute(delete(ArtifactRow))
            tx.connection.execute(delete(ProfileRow))

        await core.write(ANN, work)

    def one_by_one(tx: Tx) -> None:
        for cube, new in wanted(core, cubes):
            store.change(tx, cube, kind="state" if "state" in new else "edit", reason="many", **new)

    await core.write(ANN, one_by_one)
    single = await written(core, cubes)
    # A single change leaves files of what was deleted to `store.move`.
    single[2]["files"] = "stale"
    await begin_anew()

    cubes = await furnish(core)
    changes = wanted(core, cubes)
    after = await change_all(core, [change for change in changes if "state" not in change[1]])
    after[2:2] = await change_all(core, [change for change in changes if "state" in change[1]], "state")
    assert await written(core, cubes) == single
    assert [cube.version for cube in after] == [2] * 4
    stored = await core.read(ANN, lambda tx: store.many(tx, [cube.id for cube in cubes]))
    assert [stored[cube.id] for cube in after] == after
    assert await core.read(ANN, lambda tx: comparing.compare(tx, list(stored.values()), [])) == []


async def test_exchanged_texts_are_claimed_by_their_new_owners(core: Core) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    await change_all(core, [(a, {"content": "b"}), (b, {"content": "a"})])
    home = await vault_id(core)
    for text, cube in (("b", a), ("a", b)):
        assert (await put(core, text)).id == cube.id
        hits = await core.read(ANN, lambda tx, t=text: lexical.search(tx.connection, t, [home], 5))  # type: ignore[misc]
        assert [hit.seq for hit in hits] in ([cube.seq], [])


@pytest.mark.parametrize("who", ["another", "two of them"])
async def test_a_text_that_is_taken_stops_all_of_it(core: Core, who: str) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    await put(core, "taken")
    text = "taken" if who == "another" else "new"
    with pytest.raises(Conflict, match="already says this"):
        await change_all(core, [(b, {"content": "fine" if who == "another" else text}), (a, {"content": text})])
    there = await core.read(ANN, lambda tx: rows.cubes(tx, [a.id, b.id]))
    assert [there[cube.id].content for cube in (a, b)] == [
        "a",
        "b",
    ]


async def test_nobody_is_overwritten_unseen(core: Core) -> None:
    a, b = await put(core, "a"), await put(core, "b")
    await core.write(ANN, lambda tx: store.change(tx, a, kind="edit", content="c"))
    with pytest.raises(Stale) as stale:
        await change_all(core, [(b, {"content": "x"}), (a, {"content": "y"})])
    assert (stale.value.expected, stale.value.current) == (1, 2)
    frozen = await core.write(ANN, lambda tx: store.move(tx, b, "freeze"))
    with pytest.raises(Conflict, match="frozen"):
        await change_all(core, [(frozen, {"content": "x"})])
    purged = await core.write(ANN, lambda tx: store.move(tx, frozen, "delete"))
    await core.write(ANN, lambda tx: erase.erase(tx, purged))
    gone = await core.read(ANN, lambda tx: store.get(tx, b.id))
    with pytest.raises(Gone):
        await change_all(core, [(gone, {"content": "x"})])
    assert await change_all(core, []) == []
