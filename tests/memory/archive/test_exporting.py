"""A vault as a file: all of what may be read, nothing else, and the same bytes for the same facts."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from sqlalchemy import insert

from memory import audit, erase, store
from memory.access import Hidden, Refused
from memory.archive import collecting, exporting
from memory.archive.transfer import Transfer
from memory.core import Core
from memory.spaces import Spaces
from memory.tables import ArtifactRow, BlobRow, MemoryUse
from memory.tx import Tx
from memory.types import Source
from runtime.errors import Conflict, InvalidInput
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.memory.transferring import edited, grant, moved, names_of, spaces_of, transfer_of
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def spaces(core: Core) -> AsyncIterator[Spaces]:
    async with spaces_of(core) as made:
        yield made


@pytest.fixture
def transfer(core: Core, spaces: Spaces) -> Transfer:
    return transfer_of(core, spaces)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]


def called(folder: Path, part: str) -> list[str]:
    return [path.name for path in folder.glob(f"*{part}*")]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_everything_of_a_memory_is_in_its_lines(core: Core, transfer: Transfer, tmp_path: Path) -> None:
    first = await put(
        core, "Ana lives in Porto", entities=("Ana",), tags=("home",), sources=(Source("url", uri="u:1"),)
    )
    second = await put(core, "Ben lives in Faro", session_id="s", position=4)
    first = await edited(core, first, content="Ana lives in Lisbon")
    await core.write(ANN, lambda tx: store.link(tx, second.id, first.id, "RELATES", 0.5))
    row = {"memory_id": first.id, "uses": 3, "last_used_at": core.clock.now()}
    await core.db.write(lambda c: c.execute(insert(MemoryUse).values(**row)))
    await grant(core, context="bot", masked_tags=["health"])
    exported = await transfer.export(ANN, "default", tmp_path / "out")
    assert exported.path == tmp_path / "out"
    assert dict(exported.counts) == {
        "memories": 2,
        "versions": 3,
        "sources": 1,
        "edges": 1,
        "grants": 1,
        "artifacts": 0,
        "vectors": 0,
    }
    ana, ben = lines(exported.path, "memories")
    assert (ana["id"], ana["version"], ana["content"]) == (first.id, 2, "Ana lives in Lisbon")
    assert (ana["header"]["tags"], ana["header"]["entities"], ana["uses"]) == (["home"], ["Ana"], 3)
    assert (ben["placed"], ben["header"]["position"]) == (True, 4)
    told = [
        (v["memory"], v["version"], v["content"], v["change"], v["reason"]) for v in lines(exported.path, "versions")
    ]
    assert told == [
        (first.id, 1, "Ana lives in Porto", "create", ""),
        (first.id, 2, None, "edit", "better"),
        (second.id, 1, None, "create", ""),
    ]
    assert [(s["memory"], s["version"], s["uri"]) for s in lines(exported.path, "sources")] == [(first.id, 1, "u:1")]
    assert [(e["src"], e["dst"], e["weight"]) for e in lines(exported.path, "edges")] == [(second.id, first.id, 0.5)]
    assert lines(exported.path, "grants") == [
        {
            "user": "bob",
            "context": "bot",
            "verbs": ["read"],
            "masked_tags": ["health"],
            "expires_at": None,
            "max_reads": None,
        }
    ]


async def test_what_is_gone_stays_out(core: Core, transfer: Transfer, tmp_path: Path, clock: SetClock) -> None:
    kept = await put(core, "kept")
    deleted = await moved(core, await put(core, "deleted words"), "delete")
    purged = await moved(core, await put(core, "purged words"), "delete")
    await core.write(ANN, lambda tx: erase.erase(tx, purged))
    over = await put(core, "expired words", expires_at=clock.now() + timedelta(seconds=5))
    merged = await moved(core, await put(core, "merged words"), "fuse")
    for cube in (deleted, purged, over):
        await core.write(ANN, lambda tx, cube=cube: store.link(tx, kept.id, cube.id, "RELATES"))  # type: ignore[misc]
    clock.pass_by(10)
    exported = await transfer.export(ANN, "default", tmp_path / "out")
    assert [m["id"] for m in lines(exported.path, "memories")] == [kept.id, merged.id]
    assert lines(exported.path, "edges") == []
    everything = b"".join((exported.path / name).read_bytes() for name in names_of(exported.path))
    for gone in (deleted, purged, over):
        assert gone.id.encode() not in everything
    assert b"deleted words" not in everything


async def test_the_same_vault_gives_the_same_bytes_but_for_the_time(
    core: Core, transfer: Transfer, tmp_path: Path, clock: SetClock
) -> None:
    for number in range(30):
        cube = await put(core, f"memory {number}", data={"b": 1, "a": [number]}, entities=("x", f"y{number % 3}"))
        await edited(core, cube, tags=("t",))
    first = await transfer.export(ANN, "default", tmp_path / "a.zip")
    again = await transfer.export(ANN, "default", tmp_path / "b.zip")
    assert first.path.read_bytes() == again.path.read_bytes()
    assert (first.digest, first.bytes) == (again.digest, first.path.stat().st_size)
    clock.pass_by(60)
    later = await transfer.export(ANN, "default", tmp_path / "c")
    await transfer.export(ANN, "default", tmp_path / "d")
    assert later.digest == first.digest
    assert names_of(tmp_path / "c") == names_of(tmp_path / "d")
    await put(core, "one more")
    assert (await transfer.export(ANN, "default", tmp_path / "e.zip")).digest != first.digest


async def test_vectors_go_along_when_they_are_wanted(
    core: Core, spaces: Spaces, transfer: Transfer, tmp_path: Path
) -> None:
    cubes = [await put(core, f"memory {number}") for number in range(3)]
    (made,) = await spaces.documents([cubes[1].content])
    row = store.blob_row(cubes[1], spaces.active.id, made[spaces.active.id])
    await core.db.write(lambda c: c.execute(insert(BlobRow).values(**row)))
    with_them = await transfer.export(ANN, "default", tmp_path / "a")
    assert with_them.counts["vectors"] == 1
    assert "vectors.safetensors" in names_of(with_them.path)
    without = await transfer.export(ANN, "default", tmp_path / "b", vectors=False)
    assert without.counts["vectors"] == 0
    assert orjson.loads((without.path / "manifest.json").read_bytes())["profile"] is None


async def test_who_may_not_read_gets_nothing_and_it_is_in_the_audit(
    core: Core, transfer: Transfer, tmp_path: Path
) -> None:
    await put(core, "Ann's own")
    home = await vault_id(core)
    with pytest.raises(Hidden):
        await transfer.export(BOB, home, tmp_path / "out.zip")
    assert called(tmp_path, "out") == []
    (line,) = await core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=9))
    assert (line.actor_id, line.decision, line.action) == (BOB.user_id, "deny", "read")


async def test_a_grant_gives_what_it_shows_and_not_who_else_has_one(
    core: Core, transfer: Transfer, tmp_path: Path
) -> None:
    shown = await put(core, "lives in Porto")
    hidden = await put(core, "has asthma", sensitivity=("health",))
    was_hidden = await put(core, "takes a pill", sensitivity=("health",), sources=(Source("url", quote="the pill"),))
    was_hidden = await edited(core, was_hidden, content="feels fine", sensitivity=())
    await core.write(ANN, lambda tx: store.link(tx, shown.id, hidden.id, "RELATES"))
    await grant(core, masked_tags=["health"])
    exported = await transfer.export(BOB, await vault_id(core), tmp_path / "out")
    assert [m["id"] for m in lines(exported.path, "memories")] == [shown.id, was_hidden.id]
    told = [(v["version"], v["content"], v["redacted"]) for v in lines(exported.path, "versions")]
    assert told == [(1, None, False), (1, None, True), (2, None, False)]
    assert lines(exported.path, "sources") == lines(exported.path, "edges") == lines(exported.path, "grants") == []
    everything = b"".join((exported.path / name).read_bytes() for name in names_of(exported.path))
    assert hidden.id.encode() not in everything
    assert b"pill" not in everything


async def test_a_grant_that_counts_reads_does_not_export(core: Core, transfer: Transfer, tmp_path: Path) -> None:
    await put(core, "one")
    await grant(core, max_reads=5)
    with pytest.raises(Refused, match="counts reads"):
        await transfer.export(BOB, await vault_id(core), tmp_path / "out")


async def test_an_export_is_in_the_audit_and_in_the_register(core: Core, transfer: Transfer, tmp_path: Path) -> None:
    await put(core, "one")
    home = await vault_id(core)
    exported = await transfer.export(ANN, "default", tmp_path / "out.zip")
    (line,) = await core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=9))
    assert (line.action, line.object_id, line.detail["digest"]) == ("export", home, exported.digest)
    (made,) = await core.read(ANN, lambda tx: exporting.register(tx, home))
    assert (made.actor_id, made.digest, made.memories) == (ANN.user_id, exported.digest, 1)


async def test_nothing_is_overwritten_and_nothing_is_left_behind(
    core: Core, transfer: Transfer, tmp_path: Path
) -> None:
    (tmp_path / "there.zip").write_bytes(b"mine")
    with pytest.raises(Conflict, match="there is something already"):
        await transfer.export(ANN, "default", tmp_path / "there.zip")
    with pytest.raises(InvalidInput, match="expected a place where this user may write"):
        await transfer.export(ANN, "default", tmp_path / "no" / "such" / "folder.zip")
    with pytest.raises(Hidden):
        await transfer.export(ANN, "nothing of the kind", tmp_path / "other.zip")
    assert (tmp_path / "there.zip").read_bytes() == b"mine"
    assert called(tmp_path, "other") == []


async def test_artefacts_go_along_unless_their_file_is_another(core: Core, transfer: Transfer, tmp_path: Path) -> None:
    cube = await put(core, "cached")
    head = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   '
    good, pickled = tmp_path / "good", tmp_path / "pickled"
    good.write_bytes(len(head).to_bytes(8, "little") + head + b"x")
    pickled.write_bytes(b"\x80\x04\x95 not a tensor")
    ids = [f"art_{number:032x}" for number in range(5)]

    def work(tx: Tx) -> None:
        told = {"memory_id": cube.id, "memory_version": 1, "kind": "kv", "identity": {"model": "m"}, "bytes": 9}
        told |= {"state": "ready", "created_at": tx.now}
        digest = sha256_of(good)
        for id_, location, sha256, state in (
            (ids[0], good, digest, "ready"),
            (ids[1], pickled, sha256_of(pickled), "ready"),
            (ids[2], tmp_path / "missing", digest, "ready"),
            (ids[3], good, "0" * 64, "ready"),
            (ids[4], good, digest, "stale"),
        ):
            row = {"id": id_, "location": str(location), "sha256": sha256, **told, "state": state}
            tx.connection.execute(insert(ArtifactRow).values(**row))

    await core.write(ANN, work)
    exported = await transfer.export(ANN, "default", tmp_path / "out")
    assert [artifact["id"] for artifact in lines(exported.path, "artifacts")] == [ids[0]]
    assert (exported.path / "artifacts" / f"{ids[0]}.safetensors").read_bytes() == good.read_bytes()
    assert [reason.partition(":")[0] for reason in exported.left_out] == ids[1:4]
    assert [name for name in names_of(exported.path) if name.startswith("artifacts/")] == [
        f"artifacts/{ids[0]}.safetensors"
    ]


async def test_all_pages_are_of_one_moment(
    core: Core, transfer: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that commits between two pages does not tear the archive."""
    monkeypatch.setattr(collecting, "PAGE", 5)
    cubes = [await put(core, f"memory {number}") for number in range(12)]
    home = await vault_id(core)
    begun, going = threading.Event(), anyio.Event()
    if core.db.dialect == "sqlite":
        # The reader is a thread, which can be held; on PostgreSQL it yields to the loop at each page.
        held = threading.Event()

        def progress(done: int, total: int) -> None:
            if not begun.is_set():
                begun.set()
                assert held.wait(20)
    else:

        def progress(done: int, total: int) -> None:
            begun.set()

    async def write() -> None:
        while not begun.is_set():
            await anyio.sleep(0.001)
        await edited(core, cubes[-1], content="changed meanwhile")
        await moved(core, cubes[-2], "delete")
        await put(core, "born meanwhile")
        going.set()
        if core.db.dialect == "sqlite":
            held.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        exported = await transfer.export(ANN, home, tmp_path / "out", progress=progress)
    assert going.is_set()
    assert [m["content"] for m in lines(exported.path, "memories")] == [f"memory {n}" for n in range(12)]


async def test_an_export_that_nobody_waits_for_ends(
    core: Core, transfer: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "PAGE", 1)
    for number in range(40):
        await put(core, f"memory {number}")
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if core.db.dialect == "sqlite":
            time.sleep(0.01)  # in a thread of its own

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(transfer.export, ANN, "default", tmp_path / "out.zip", progress=progress))
        while len(seen) < 3:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await anyio.sleep(0.1)
    assert seen[-1] < 40
    assert called(tmp_path, "out") == []
