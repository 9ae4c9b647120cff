"""A store that is asked: a shelf of memories over a real index, and stand-ins for what recall asks beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.core import Core
from memory.ranking.related import Neighbour
from memory.recall import Recaller
from memory.types import Actor, MemCube, Query, Recall
from tests.memory.conftest import ANN
from tests.memory.laboratory import Lab, laboratory


class NoGraph:
    """Reaches nothing."""

    async def related(
        self, seeds: Mapping[int, float], *, entities: Mapping[int, float] = {}, limit: int
    ) -> Sequence[Neighbour]:
        return []


@dataclass
class Shelf:
    """A store, and short ways to ask it."""

    lab: Lab
    recaller: Recaller

    async def find(self, text: str, actor: Actor = ANN, **query: Any) -> Recall:
        return (await self.recaller.recall(actor, Query(text, **query)))[0]

    async def texts(self, text: str, actor: Actor = ANN, **query: Any) -> list[str]:
        return [hit.memory.content for hit in (await self.find(text, actor, **query)).hits]

    async def turns(self, session: str, *said: tuple[str, str], **fields: Any) -> list[MemCube]:
        """A conversation, one memory for each turn of (speaker, text)."""
        return [
            await self.lab.put(text, speaker=who, session_id=session, position=place, **fields)
            for place, (who, text) in enumerate(said)
        ]


@asynccontextmanager
async def open_shelf(core: Core, folder: Path) -> AsyncIterator[Shelf]:
    """A shelf whose graph reaches nothing and where no usefulness is measured."""
    async with laboratory(core, folder) as lab:
        yield Shelf(lab, Recaller(core, lab.spaces, NoGraph()))
