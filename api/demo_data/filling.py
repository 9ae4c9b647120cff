"""Fills a home: opens the service over it, tells the story in its order, and keeps what was made in `demo-data.json`.

The script speaks for the model from a server of its own on this machine, so no other model and no network is needed. The
clock of the story begins half a year ago and ends shortly before now, so timelines, lifetimes and the sweep are real. While
it runs no other process may work on the same database: to that one this process would look as if it had died long ago.
Source: ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final

import anyio
import anyio.to_thread

from agents.build import open_service
from agents.service import Service
from api.demo_data import asked, evaluated, learned, remembered
from api.demo_data.house import Chapter, House, StoryClock
from api.demo_data.speaking import script
from memory.opening import open_memory
from memory.types import Actor
from memory.upkeep.sweep import Sweep
from runtime import migrate
from runtime.db import open_database
from runtime.errors import Conflict, UnknownName
from runtime.executors import Executors, identify
from runtime.ids import SYSTEM, Clock
from runtime.llm.scripted_process import scripted_process
from runtime.settings import LLMSettings, Settings, ToolSettings

FILE: Final = "demo-data.json"
GUEST: Final = "ada"
ENDED: Final = timedelta(minutes=3)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a home holds of the demo data: ids by the keys of the story. `made`: by this call. `refused`: what the store did
    not take; `notes`: what was left out, and why."""

    seed: int
    small: bool
    made: bool
    owner: str
    guest: str
    guest_name: str
    vaults: Mapping[str, str]
    memories: Mapping[str, str]
    runs: Mapping[str, str]
    evals: Mapping[str, str]
    refused: Mapping[str, str]
    notes: tuple[str, ...]


async def fill(
    settings: Settings,
    *,
    seed: int = 7,
    small: bool = False,
    clock: Clock = SYSTEM,
    progress: Progress = lambda done, total: None,
) -> Filled:
    """Fill the home of the settings; one that has the demo data already is left as it is.

    `clock` says when the story ends. Raises `Conflict` when another process works on the database, or when it holds vaults
    of the same names, `EngineError` when the scripted model does not start, and whatever the service raises.
    """
    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    known = await anyio.to_thread.run_sync(_known, settings)
    if known is not None and await _is_there(settings, known):
        return known
    await _refuse_company(settings)
    with scripted_process(await anyio.to_thread.run_sync(script)) as model:
        speaking = _speaking(settings, model.url)
        house = await _told(speaking, seed, small, clock, progress)
        await learned.learn(speaking, clock, house)
        async with open_service(speaking, clock=clock, take_queued=False, serving=False) as service:
            await asked.unfinished(service, house)
    filled = Filled(
        seed,
        small,
        True,
        house.owner.user_id,
        house.guest.user_id,
        house.guest_name,
        house.vaults,
        house.memories,
        house.runs,
        house.evals,
        house.refused,
        tuple(house.notes),
    )
    path = settings.home / FILE
    await anyio.Path(path).write_text(json.dumps(asdict(filled), indent=2) + "\n", encoding="utf-8")
    return filled


async def _told(settings: Settings, seed: int, small: bool, clock: Clock, progress: Progress) -> House:
    end = clock.now() - ENDED
    story = StoryClock(end - timedelta(days=remembered.FIRST_DAY + 1))
    chapters: list[Chapter] = [
        *remembered.chapters(seed=seed, small=small),
        *asked.chapters(small=small),
        *await anyio.to_thread.run_sync(lambda: evaluated.chapters(settings, small=small)),
    ]
    chapters.sort(key=lambda chapter: -chapter.ago)
    async with open_service(settings, clock=story, take_queued=False, serving=False) as service:
        house = await _house(service, story, end, seed, small)
        for number, chapter in enumerate(chapters):
            progress(number, len(chapters))
            story.move_to(house.before(chapter.ago))
            await chapter.work(house)
            # Uses are dated when they are written, which is a matter of seconds elsewhere.
            await service.memory.uses.flush()
        story.move_to(house.before(0.1))
        await _settle(house)
        progress(len(chapters), len(chapters))
    return house


async def _house(service: Service, story: StoryClock, end: datetime, seed: int, small: bool) -> House:
    owner = Actor((await service.keys.local()).user_id, None, admin=True)
    guest = Actor(await service.keys.user_id(GUEST))
    return House(service, owner, guest, GUEST, story, end, seed, small)


async def _settle(house: House) -> None:
    """What time does to memories, as a service that was up all the time would have done it."""

    async def leads() -> bool:
        return True

    sweep = Sweep(house.memory.core, leads=leads, time=lambda _: house.clock.now())
    await sweep.minutely()
    await sweep.daily()


def _speaking(settings: Settings, url: str) -> Settings:
    """The same home with the script in the place of the model, and no tools but the built-in ones."""
    model = LLMSettings(base_url=url, model="scripted")
    return settings.model_copy(update={"llm": model, "tools": ToolSettings()})


def _known(settings: Settings) -> Filled | None:
    path = settings.home / FILE
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return Filled(**{**told, "made": False, "notes": tuple(told["notes"])})


async def _is_there(settings: Settings, known: Filled) -> bool:
    """Whether the database is the one that was filled: it may have been removed, or be another one now."""
    database = open_database(settings)
    try:
        async with open_memory(settings, database) as memory:
            await memory.vaults.get(Actor(known.owner), known.vaults["research"])
    except UnknownName:
        return False
    finally:
        await database.aclose()
    return True


async def _refuse_company(settings: Settings) -> None:
    database = open_database(settings)
    try:
        executors = Executors(database, SYSTEM, identify(version("mneme")), dead_after_s=settings.runs.dead_after_s)
        alive = await executors.alive()
    finally:
        await database.aclose()
    if alive:
        raise Conflict(
            f"the database of {str(settings.home)!r} is in use by {len(alive)} other process(es); stop `mneme serve` and "
            "`mneme worker` first, or give a new home by MNEME_HOME"
        )
