"""A text is put into the document although the server that encodes it was away for a moment."""

from __future__ import annotations

import pytest

from agents.tim.writing import Document
from runtime.errors import ModelUnavailable
from runtime.llm.scripted_sessions import ScriptedEngine, ScriptedSession
from runtime.retry import RetryPolicy

pytestmark = pytest.mark.anyio


class Away(ScriptedSession):
    left = 2

    async def encode(self, text: str) -> tuple[int, ...]:
        if self.left:
            self.left -= 1
            raise ModelUnavailable("away")
        return await super().encode(text)


async def test_a_server_that_was_away_is_asked_again() -> None:
    session = Away(ScriptedEngine(lambda asked: ""), [], "scripted/away")
    before = len(session.ids)
    span = await Document(session, "run", [], retry=RetryPolicy(2, 0.0)).put("a text")
    assert (span.start, session.left) == (before, 0)


async def test_without_retries_it_says_that_it_is_away() -> None:
    session = Away(ScriptedEngine(lambda asked: ""), [], "scripted/away")
    with pytest.raises(ModelUnavailable):
        await Document(session, "run", []).put("a text")
