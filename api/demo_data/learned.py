"""What a model draws from a conversation: claims that are taken in, one that contradicts what is known, others held back;
and one that says the same as an older note once somebody has put the figure into that note as well: a suspected echo.

That is work of jobs, so the service is opened as `mneme serve` opens it, at the end of the story and by its clock, until
the jobs are done. Source: ours.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio

from agents.build import open_service
from api.demo_data.house import House
from memory import jobs
from memory.listing import Where
from memory.types import Change, Draft
from runtime.ids import Clock
from runtime.settings import Settings

SAID: Final = (
    "The divers greased the hub of turbine T3 with 12 kg of blue grease. The gearbox of turbine T1 takes 38 litres of oil. "
    "Somebody heard that the cable to the shore may be moved."
)
# What script.toml calls the claims, and their keys in the story.
CLAIMS: Final = {
    "Grease of T3": "grease",
    "Oil of the gearbox": "contradicts",
    "Shore cable": "cable-moved",
    "A second tone": "doubtful",
    "Calm weeks": "guess",
}
HUB: Final = "The divers greased the hub of turbine T3 with 12 kg of the blue grease."
POLL_S: Final = 0.05
LONGEST_S: Final = 120.0


async def learn(settings: Settings, clock: Clock, house: House) -> None:
    """Add the conversation, and wait until nothing is to be done any more; a job that takes too long goes on in the next
    process of the home."""
    async with open_service(settings, clock=clock, serving=False) as service:
        raw = Draft(SAID, "document", title="Call with the divers", tags=("call",), session_id="call-divers")
        (added,) = await service.memory.add(house.owner, [raw], vault="research", wait="extracted")
        if added.memory is not None:
            house.memories["call"] = added.memory.id
        with anyio.move_on_after(LONGEST_S) as waiting:
            # Jobs tell nobody when they end.
            while await service.memory.core.read(house.owner, partial(jobs.page, states=jobs.OPEN)):  # noqa: ASYNC110
                await anyio.sleep(POLL_S)
        if waiting.cancelled_caught:
            house.notes.append(f"claims of {SAID[:30]!r}…: the jobs were not done after {LONGEST_S:.0f} s")
        where = Where("research", states=("activated", "quarantined"))
        claims = (await service.memory.list(house.owner, where, limit=len(CLAIMS))).items
        house.memories |= {CLAIMS[cube.title]: cube.id for cube in claims if cube.title in CLAIMS}
        hub = await service.memory.get(house.owner, house.memories["hub"], verb="write")
        change = Change({"content": HUB}, reason="the divers told how much it was")
        await service.memory.edit(house.owner, hub.id, change, expect=hub.version)
