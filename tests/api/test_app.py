"""The application as it opens: what is done before anybody is answered."""

from __future__ import annotations

import gc

import pytest

from agents import registry
from api.app import create_app
from runtime.settings import Settings

pytestmark = pytest.mark.anyio


async def test_every_agent_is_imported_before_the_first_request_and_out_of_the_collectors_way(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_when_frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: loaded_when_frozen.append(registry.get.cache_info().currsize))
    registry.get.cache_clear()
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        assert loaded_when_frozen == [len(registry.names())]
