"""Every kind of job has a handler, and kinds are words that the table can hold."""

from __future__ import annotations

import pytest
from sqlalchemy import String

from memory.pipelines import classify, extract, feedback, summarise
from memory.pipelines.handlers import handlers
from memory.tables import JobRow
from tests.memory.laboratory import Lab


@pytest.mark.anyio
async def test_each_pipeline_that_can_be_asked_for_is_handled(lab: Lab) -> None:
    kinds = handlers(lab.parts())
    assert set(kinds) == {extract.KIND, classify.KIND, feedback.KIND, summarise.KIND}
    assert len({id(handler) for handler in kinds.values()}) == len(kinds)
    column = JobRow.__table__.c.kind.type
    assert isinstance(column, String)
    longest = column.length or 0
    assert all(kind.startswith("memory.") and len(kind) <= longest for kind in kinds)
