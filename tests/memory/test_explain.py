"""Where a memory comes from, what it is linked to, and what changed between two versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memory import explain, store
from memory.core import Core
from memory.tx import Tx
from memory.types import Source
from runtime.errors import UnknownName
from tests.memory.conftest import ANN, put
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


async def test_sources_of_every_version_and_links_of_both_directions_are_told(core: Core, clock: SetClock) -> None:
    said = Source(
        "message",
        message_id="m1",
        role="user",
        span_start=3,
        span_end=9,
        quote="Porto",
        occurred_at=datetime(2024, 5, 3, tzinfo=UTC),
    )
    read = Source("url", uri="https://example.org", model="m")
    raw, cube = await put(core, "I live in Porto"), await put(core, "Ana lives in Porto", sources=(said,))
    clock.pass_by(1)

    def work(tx: Tx) -> None:
        store.link(tx, cube.id, raw.id, "DERIVED_FROM", 0.5)
        store.change(tx, cube, kind="edit", title="home", sources=(read,))

    await core.write(ANN, work)
    told = await core.read(ANN, lambda tx: explain.provenance(tx, store.get(tx, cube.id)))
    assert [(found.version, found.source) for found in told.sources] == [(1, said), (2, read)]
    assert (told.provenance_id, told.origin, told.created_by) == (cube.provenance_id, "user_input", ANN.user_id)
    assert told.recorded_at == cube.recorded_at
    (edge,) = told.edges
    assert (edge.src_id, edge.dst_id, edge.type, edge.weight, edge.at) == (
        cube.id,
        raw.id,
        "DERIVED_FROM",
        0.5,
        clock.now(),
    )
    assert await core.read(ANN, lambda tx: explain.edges(tx, raw.id)) == told.edges


async def test_a_difference_shows_lines_and_fields(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto\nwith Momo", tags=("a",))
    new: dict[str, Any] = {"content": "Ana lives in Lisbon\nwith Momo", "tags": ("a", "b"), "confidence": 0.5}
    await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", **new))
    found = await core.read(ANN, lambda tx: explain.difference(tx, cube.id, 1, 2))
    assert found.content.splitlines() == [
        "--- version 1",
        "+++ version 2",
        "@@ -1,2 +1,2 @@",
        "-Ana lives in Porto",
        "+Ana lives in Lisbon",
        " with Momo",
    ]
    assert found.fields == {"tags": (["a"], ["a", "b"]), "confidence": (1.0, 0.5)}
    back = await core.read(ANN, lambda tx: explain.difference(tx, cube.id, 2, 1))
    assert back.fields["confidence"] == (0.5, 1.0)


async def test_a_version_differs_in_nothing_from_itself(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto")
    found = await core.read(ANN, lambda tx: explain.difference(tx, cube.id, 1, 1))
    assert (found.content, found.fields) == ("", {})


async def test_an_unknown_version_is_an_error(core: Core) -> None:
    cube = await put(core, "Ana lives in Porto")
    with pytest.raises(UnknownName, match="no version 2"):
        await core.read(ANN, lambda tx: explain.difference(tx, cube.id, 1, 2))
