"""Fusion: the model sees both sides with their sources, and the new memory takes over what both had."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memory import access, store
from memory.jobs import JobRun
from memory.pipelines import fuse
from memory.pipelines.fuse import Fused, put_fused
from memory.types import MemCube, Source
from runtime.errors import ModelUnavailable, Stale
from tests.memory.conftest import ANN
from tests.memory.laboratory import Lab, rule

pytestmark = pytest.mark.anyio
TEXT = "The meeting is on 2025-06-04 at 10:00"


async def sides(lab: Lab, a: Any = None, b: Any = None) -> tuple[MemCube, MemCube]:
    quoted = (Source("message", message_id="m1", quote="we moved it to 10:00"),)
    first = await lab.put("The meeting is on 2025-06-03", sources=quoted, **(a or {}))
    return first, await lab.put("The meeting is on 2025-06-04", **(b or {}))


async def asked(lab: Lab, a: MemCube, b: MemCube, *rules: str) -> Fused | None:
    run = JobRun(lab.core, await lab.enqueue("t.work", {}))
    home = (await lab.core.read(ANN, lambda tx: access.vault(tx, a.vault_id, "write"))).vault
    return await fuse.fuse(lab.parts(*rules), run, home, a, b)


def resolved(text: str, contains: str = "") -> str:
    return rule(fuse.PURPOSE, {"resolved": True, "text": text}, contains)


async def test_both_sides_are_shown_with_dates_and_sources(lab: Lab) -> None:
    a, b = await sides(lab, {"valid_from": datetime(2025, 1, 1, tzinfo=UTC), "confidence": 0.7})
    seen = (
        f'{{"note":"a","text":"{a.content}","recorded_at":"{a.recorded_at.isoformat()}",'
        '"valid_from":"2025-01-01T00:00:00+00:00","origin":"user_input","confidence":0.7,"sources":["we moved it to 10:00"]}'
    )
    made = await asked(lab, a, b, resolved(TEXT, contains=seen))
    assert made is not None
    assert made.new.draft.content == TEXT, "10:00 stands in a source"
    assert made.new.reason == f"fused from {a.id} and {b.id}"


async def test_what_both_agree_on_is_kept(lab: Lab) -> None:
    a, b = await sides(
        lab,
        {"subject": "meeting", "attribute": "date", "priority": 2, "entities": ("x",), "semantic_type": "event"},
        {"subject": "meeting", "attribute": "place", "priority": -1, "entities": ("y",), "watermark": "w"},
    )
    made = await asked(lab, a, b, resolved(TEXT))
    assert made is not None
    draft = made.new.draft
    assert (draft.subject, draft.attribute, draft.priority, draft.entities) == ("meeting", None, 2, ("x", "y"))
    assert (draft.semantic_type, draft.watermark, draft.state) == ("fact", "w", "activated")
    other = await asked(lab, a, await lab.put("The feast is on 2025-06-05", subject="feast"), resolved(TEXT))
    assert other is not None
    assert (other.new.draft.subject, other.new.draft.attribute) == (None, None)


@pytest.mark.parametrize("reply", [{"resolved": False, "text": TEXT}, {"resolved": True, "text": " "}])
async def test_an_answer_that_settles_nothing_is_none(lab: Lab, reply: Any) -> None:
    assert await asked(lab, *await sides(lab), rule(fuse.PURPOSE, reply)) is None


async def test_a_model_that_is_away_decides_nothing(lab: Lab) -> None:
    with pytest.raises(ModelUnavailable):
        await asked(lab, *await sides(lab), rule(fuse.PURPOSE, "one two", fault="die"))


async def test_the_fused_memory_may_have_the_words_of_one_side_or_of_a_third(lab: Lab) -> None:
    a, b = await sides(lab)
    made = await asked(lab, a, b, resolved(b.content))
    assert made is not None
    cube = await lab.core.write(ANN, lambda tx: put_fused(tx, made, a, b))
    assert (cube.id, cube.content) == (made.new.id, b.content)
    assert [(await lab.now(side)).state for side in (a, b)] == ["merged", "merged"]
    c, d = await lab.put("The feast is on 2025-06-05"), await lab.put("The feast is on 2025-06-06")
    third = await lab.put("The feast is on 2025-06-05 or on 2025-06-06")
    other = await asked(lab, c, d, resolved(third.content))
    assert other is not None
    cube = await lab.core.write(ANN, lambda tx: put_fused(tx, other, c, d))
    assert cube.id == third.id
    assert await lab.links(third) == {(c.id, "MERGED_TO", third.id), (d.id, "MERGED_TO", third.id)}


async def test_sides_that_changed_meanwhile_are_not_fused(lab: Lab) -> None:
    a, b = await sides(lab)
    made = await asked(lab, a, b, resolved(TEXT))
    assert made is not None
    await lab.core.write(ANN, lambda tx: store.change(tx, b, kind="edit", tags=("x",)))
    with pytest.raises(Stale):
        await lab.core.write(ANN, lambda tx: put_fused(tx, made, a, b))
    assert (await lab.now(a)).state == "activated"
