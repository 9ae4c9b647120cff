"""Two memories become one: nothing of the other is lost, its links are handed on, and it can come back."""

from __future__ import annotations

from typing import Any

import pytest

from memory import explain, merging, store, versions
from memory.core import Core
from memory.merging import richer
from memory.types import MemCube, Source
from runtime.errors import Conflict, InvalidInput, Stale
from tests.memory.conftest import ANN, put
from tests.memory.cubes import cube

pytestmark = pytest.mark.anyio


async def merge(core: Core, keep: MemCube, other: MemCube, **given: Any) -> MemCube:
    return await core.write(ANN, lambda tx: merging.merge(tx, keep, other, **given))


async def now_of(core: Core, memory: MemCube) -> MemCube:
    return await core.read(ANN, lambda tx: store.get(tx, memory.id))


async def links(core: Core, memory: MemCube) -> set[tuple[str, str, str]]:
    edges = await core.read(ANN, lambda tx: explain.edges(tx, memory.id))
    return {(edge.src_id, edge.type, edge.dst_id) for edge in edges}


async def test_the_richer_text_stays_and_the_rest_is_united(core: Core) -> None:
    first, second = Source("message", message_id="m1", quote="Porto"), Source("message", message_id="m2")
    short = await put(core, "Ana lives in Porto", tags=("a", "b"), entities=("Ana",), sources=(first, second))
    long = await put(
        core,
        "Ana lives in Porto, near the river",
        tags=("b", "c"),
        entities=("Porto",),
        sensitivity=("home",),
        confidence=0.5,
        sources=(second,),
    )
    keep, other = richer(short, long)
    assert (keep.id, other.id) == (long.id, short.id)
    merged = await merge(core, keep, other)
    assert merged == await now_of(core, long)
    assert (merged.content, merged.version, merged.confidence) == (long.content, 2, 1.0)
    assert (merged.tags, merged.entities, merged.sensitivity) == (("b", "c", "a"), ("Porto", "Ana"), ("home",))
    told = await core.read(ANN, lambda tx: explain.provenance(tx, merged))
    assert sorted(found.source.message_id or "" for found in told.sources) == ["m1", "m2"]
    assert (await now_of(core, short)).state == "merged"
    assert await links(core, short) == {(short.id, "MERGED_TO", long.id)}
    for memory in (short, long):
        assert await core.read(ANN, lambda tx, m=memory: versions.verify_chain(tx, m.id))  # type: ignore[misc]


async def test_a_given_text_may_be_that_of_the_other(core: Core) -> None:
    a, b = await put(core, "Ana lives in Porto"), await put(core, "Ana lives in the city of Porto")
    merged = await merge(core, b, a, content=a.content, reason="shorter")
    assert (merged.id, merged.content) == (b.id, a.content)
    history = await core.read(ANN, lambda tx: versions.history(tx, b.id))
    assert [(v.change, v.reason) for v in history] == [("merge", "shorter"), ("create", "")]


async def test_links_are_handed_on_and_an_older_merge_is_not(core: Core) -> None:
    raw, old, doubt, before = [await put(core, text) for text in ("raw", "old", "doubt", "before")]
    a, b = await put(core, "Ana lives in Porto"), await put(core, "Ana lives in Porto now")

    def link(tx: Any) -> None:
        store.link(tx, a.id, raw.id, "DERIVED_FROM")
        store.link(tx, a.id, old.id, "SUPERSEDES")
        store.link(tx, doubt.id, a.id, "CONTRADICTS")
        store.link(tx, before.id, a.id, "MERGED_TO")
        store.link(tx, a.id, doubt.id, "MERGED_TO")
        store.link(tx, a.id, b.id, "RELATES")

    await core.write(ANN, link)
    await merge(core, b, a)
    assert await links(core, b) == {
        (b.id, "DERIVED_FROM", raw.id),
        (b.id, "SUPERSEDES", old.id),
        (doubt.id, "CONTRADICTS", b.id),
        (before.id, "MERGED_TO", b.id),
        (a.id, "MERGED_TO", b.id),
        (a.id, "RELATES", b.id),
    }


async def test_a_restore_brings_the_other_back(core: Core) -> None:
    a, b = await put(core, "Ana lives in Porto"), await put(core, "Ana lives in Porto now")
    await merge(core, b, a)
    back = await core.write(ANN, lambda tx: store.move(tx, store.get(tx, a.id), "restore"))
    assert (back.state, back.content, back.version) == ("activated", a.content, 3)


@pytest.mark.parametrize(
    ("keep", "other", "error"),
    [
        ({}, {"pinned": True}, Conflict),
        ({}, {"state": "frozen"}, Conflict),
        ({"state": "frozen"}, {}, Conflict),
        ({}, {"state": "quarantined"}, Conflict),
        ({}, {"state": "archived"}, Conflict),
    ],
)
async def test_what_may_not_be_altered_is_not(core: Core, keep: Any, other: Any, error: type[Exception]) -> None:
    a, b = await put(core, "Ana lives in Porto now", **keep), await put(core, "Ana lives in Porto", **other)
    with pytest.raises(error):
        await merge(core, a, b)
    assert (await now_of(core, a), await now_of(core, b)) == (a, b)
    assert await links(core, a) == set()


async def test_an_older_version_is_not_merged(core: Core) -> None:
    a, b = await put(core, "Ana lives in Porto now"), await put(core, "Ana lives in Porto")
    await core.write(ANN, lambda tx: store.change(tx, b, kind="edit", content="Ana lives in Lisbon"))
    with pytest.raises(Stale):
        await merge(core, a, b)


async def test_memories_of_two_vaults_are_not_merged(core: Core) -> None:
    a = await put(core, "Ana lives in Porto")
    with pytest.raises(InvalidInput, match="migrate"):
        await merge(core, a, cube(vault_id="vlt_other"))


def test_a_pinned_one_stays_then_the_longer_then_the_older() -> None:
    plain, long = cube(id="a", seq=1), cube(id="b", seq=2, content="Ana lives in Porto since 2024")
    pinned, twin = cube(id="c", seq=3, pinned=True), cube(id="d", seq=4)
    assert richer(plain, long)[0] == richer(long, plain)[0] == long
    assert richer(long, pinned)[0] == pinned
    assert richer(twin, plain)[0] == plain
