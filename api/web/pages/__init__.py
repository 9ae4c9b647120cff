"""The pages under /ui, one module for each group. Each page is a URL, and asked for JSON it gives what it shows: both come
from the same function.

A page knows no table: it reads what the API reads, and what it changes goes through /api. Groups are tried in the order
below; `elsewhere` answers for every other address and stays the last. Source: contract §4; design ui.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from api.web.pages import (
    context,
    elsewhere,
    evals,
    graph,
    home,
    inbox,
    memories,
    memory,
    playground,
    runs,
    settings,
    timeline,
    trees,
    vaults,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    home.router,
    playground.router,
    memories.router,
    memory.router,
    graph.router,
    timeline.router,
    vaults.router,
    inbox.router,
    runs.router,
    trees.router,
    context.router,
    evals.router,
    settings.router,
    elsewhere.open_router,
    elsewhere.router,
)
