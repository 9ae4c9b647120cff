"""The memories of the demo data and what becomes of them: written, edited by two people, linked, merged, held back, gone.

Texts stand in memories.toml; here is what is done with them, in the words of `memory.service.Memory`. Source: ours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from api.demo.puzzles import COLLECTION
from api.demo_data.house import Chapter, House
from memory import reviews
from memory.tx import Tx
from memory.types import Change, Draft, EdgeType, Source
from memory.vault.grants import Terms
from runtime.errors import Conflict, MnemeError
from runtime.keys import LOCAL_USER

STORY: Final = Path(__file__).with_name("memories.toml")
OURS: Final = ("research", "arc", "maths", "folklore", "scratch")
FIRST_DAY: Final = 175.0
THIRTY_DAYS_S: Final = 30 * 86_400
BRANCH: Final = "what-if"
SNAPSHOT: Final = "before the March survey"
# Made up, and of the form of a key: the store must hold it back.
SECRET: Final = "The tide service answers to the key " + "AKIA" + "EXAMPLE0DEMO0KEY"
REMARKS: Final = ("nothing to report", "one stop for weed", "the grid was off for two hours", "divers were down once")
DATES: Final = {"valid_from": "valid_from", "valid_to": "valid_to", "occurred": "occurred_at"}
PLAIN: Final = (
    "title",
    "subject",
    "attribute",
    "speaker",
    "origin",
    "confidence",
    "priority",
    "pinned",
    "state",
    "data",
)
LISTS: Final = ("entities", "tags", "sensitivity")


def chapters(*, seed: int, small: bool) -> list[Chapter]:
    """Everything that is done with memories, in no order."""
    story = tomllib.loads(STORY.read_text(encoding="utf-8"))
    written = [Chapter(each["ago"], partial(_write, told=each)) for each in story["memory"]]
    refused = [Chapter(each["ago"], partial(_refuse, told=each)) for each in story["refused"]]
    return [Chapter(FIRST_DAY, _vaults), *written, *refused, *_weeks(seed, small=small), *_changes()]


def draft_of(house: House, told: Mapping[str, Any]) -> Draft:
    """The draft of an entry of memories.toml."""
    fields: dict[str, Any] = {name: told[name] for name in PLAIN if name in told}
    fields |= {name: tuple(told[name]) for name in LISTS if name in told}
    fields |= {name: house.before(told[key]) for key, name in DATES.items() if key in told}
    text = str(told["text"]).strip()
    source = Source("message", message_id=f"story-{told.get('key', 'refused')}", role="user", quote=text[:300])
    return Draft(text, told["type"], session_id=told.get("session"), sources=(source,), **fields)


async def _vaults(house: House) -> None:
    memory, owner, guest = house.memory, house.owner, house.guest
    taken = {shown.vault.name for shown in await memory.vaults.list(owner)} & {*OURS}
    if taken:
        raise Conflict(
            f"vault {min(taken)!r}: is there already, and the demo data makes vaults named {', '.join(OURS)}; give a new "
            "home by MNEME_HOME (and a new database by DATABASE_URL)"
        )
    made = {"default": (await memory.vaults.get(owner, "default")).vault.id}
    for name, kind in (("research", "shared"), ("arc", "expert"), ("maths", "private"), ("folklore", "private")):
        made[name] = (await memory.vaults.create(owner, name, kind=kind)).vault.id  # type: ignore[arg-type]
    made["scratch"] = (await memory.vaults.create(owner, "scratch", default_ttl_s=THIRTY_DAYS_S)).vault.id
    made["logbook"] = (await memory.vaults.create(guest, "logbook", kind="shared")).vault.id
    house.vaults |= made
    give = memory.vaults.grants.give
    told = house.guest_name
    await give(owner, "research", Terms(frozenset({"read", "write"}), told, masked_tags=("personal",)))
    await give(owner, "arc", Terms(frozenset({"read"}), told, expires_at=house.before(-60)))
    await give(owner, "maths", Terms(frozenset({"read"}), told, context="notebook", max_reads=200))
    await give(guest, made["logbook"], Terms(frozenset({"read"}), LOCAL_USER))


async def _write(house: House, told: Mapping[str, Any]) -> None:
    (added,) = await house.memory.add(
        house.actor(told.get("by")), [draft_of(house, told)], vault=house.vaults[told["vault"]]
    )
    if added.memory is None or not added.created:
        raise MnemeError(f"demo memory {told['key']!r} was not stored: {added.outcome} {added.reasons} {added.error}")
    house.memories[told["key"]] = added.memory.id


async def _refuse(house: House, told: Mapping[str, Any]) -> None:
    (added,) = await house.memory.add(house.owner, [draft_of(house, told)], vault=house.vaults[told["vault"]])
    # How near a near duplicate is, is for the encoder of the home to say.
    house.refused[told["why"]] = added.outcome


def _weeks(seed: int, *, small: bool) -> list[Chapter]:
    """The log of the weeks: what makes lists long and the graph dense."""
    random = Random(seed)
    made = []
    for ago in range(24, 0, -6 if small else -1):
        week, turbine = 25 - ago, random.choice(("T1", "T2", "T3"))
        figures = f"{random.uniform(11, 31):.1f} MWh at a mean flow of {random.uniform(1.6, 2.9):.2f} m/s"
        told = {
            "key": f"week-{week}",
            "vault": "research",
            "type": "event",
            "title": f"Log of week {week}",
            "text": f"Week {week}: turbine {turbine} made {figures}; {random.choice(REMARKS)}.",
            "entities": [f"turbine {turbine}", "flow", random.choice(("grid", "divers", "sensor mast", "energy"))],
            "tags": ["log", "figures"],
            "occurred": ago * 7 - 1.0,
        }
        made.append(Chapter(ago * 7 - 1.5, partial(_write, told=told)))
    return made


# -- what becomes of them ----------------------------------------------------------------------------------------------


def _changes() -> list[Chapter]:
    edits: Sequence[tuple[float, str, str | None, dict[str, Any], str]] = (
        (133.2, "protocol", "ada", {"content": _PROTOCOL[0]}, "the drifter needs a fix first"),
        (
            92.7,
            "protocol",
            None,
            {"content": _PROTOCOL[1], "tags": ["method", "calibration", "two people"]},
            "after the storm",
        ),
        (52.8, "protocol", "ada", {"content": _PROTOCOL[2]}, "shorter"),
        (88.9, "wake-near", None, {"confidence": 0.5}, "the drifter lost its fix"),
        (57.6, "spacing", "ada", {"content": _SPACING}, "figure of the survey added"),
        (30.1, "gearbox-oil", None, {"content": _OIL}, "the interval was halved"),
        (20.3, "prompt", None, {"tags": ["prompts", "tables"]}, "found again by its tag"),
        (4.9, "markup", None, {"entities": ["markup"]}, "without markup in names"),
        (4.2, "log-week", "ada", {"confidence": 0.8}, "one day is missing"),
    )
    links: Sequence[tuple[float, str, str, EdgeType]] = (
        (61.0, "wake-far", "wake-near", "CONTRADICTS"),
        (60.9, "wake-far", "survey", "DERIVED_FROM"),
        (58.0, "spacing", "wake-far", "PARENT"),
        (57.9, "spacing", "site", "PARENT"),
        (36.0, "gear-noise", "gearbox-oil", "RELATES"),
        (9.0, "script-file", "wake-far", "RELATES"),
    )
    moves: Sequence[tuple[float, str, str, str]] = (
        (155.0, "units", "freeze", "agreed with the partners"),
        (35.9, "retired", "archive", "nobody reads the list any more"),
    )
    return [
        *(Chapter(ago, partial(_edit, key=key, by=by, fields=new, why=why)) for ago, key, by, new, why in edits),
        *(Chapter(ago, partial(_link, src=src, dst=dst, edge=edge)) for ago, src, dst, edge in links),
        *(Chapter(ago, partial(_move, key=key, event=event, why=why)) for ago, key, event, why in moves),
        Chapter(8.4, partial(_decide, key="rejected", decision="reject", why="the blades are of glass fibre")),
        Chapter(7.9, partial(_decide, key="approved", decision="accept", why="the divers say so too")),
        Chapter(64.0, _snapshot),
        Chapter(41.6, _restore),
        Chapter(40.2, _merge),
        Chapter(26.0, _branch),
        Chapter(3.4, _concepts),
        Chapter(6.6, _secret),
        Chapter(3.1, _delete),
    ]


_PROTOCOL: Final = (
    "Calibrate the sensor mast at slack water: zero the pressure cell, wait until the drifter has a fix, then compare ten "
    "minutes of flow.",
    "Calibrate the sensor mast at slack water, two people on deck: zero the pressure cell, wait until the drifter has a "
    "fix, then compare fifteen minutes of flow and write both figures down.",
    "Calibrate the mast at slack water and compare with the drifter.",
)
_SPACING: Final = (
    "Rows of turbines should stand sixteen rotor diameters apart: the wake of T1 needs fourteen to recover to 95 %, and two "
    "are kept in reserve."
)
_OIL: Final = "The gearbox of turbine T1 takes 42 litres of ISO VG 320 oil; it is changed every 2,000 hours."


async def _edit(house: House, key: str, by: str | None, fields: dict[str, Any], why: str) -> None:
    actor, id_ = house.actor(by), house.memories[key]
    seen = await house.memory.get(actor, id_, verb="write")
    new = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    await house.memory.edit(actor, id_, Change(new, reason=why), expect=seen.version)


async def _link(house: House, src: str, dst: str, edge: EdgeType) -> None:
    await house.memory.link(house.owner, house.memories[src], house.memories[dst], edge)


async def _move(house: House, key: str, event: str, why: str) -> None:
    await house.memory.move(house.owner, house.memories[key], event, reason=why)


async def _decide(house: House, key: str, decision: reviews.Decision, why: str) -> None:
    """A person decides what stands in the inbox."""

    def work(tx: Tx) -> None:
        (found,) = [item for item in reviews.page(tx, vault="research") if item.memory_id == house.memories[key]]
        reviews.decide(tx, found.id, decision, reason=why)

    await house.memory.core.write(house.owner, work)


async def _restore(house: House) -> None:
    """The version before the one that said too little."""
    seen = await house.memory.get(house.owner, house.memories["protocol"])
    await house.memory.restore(house.owner, seen.id, seen.version - 1, expect=seen.version)


async def _merge(house: House) -> None:
    ids = [house.memories["coating-a"], house.memories["coating-b"]]
    await house.memory.merge(house.owner, ids, reason="both say the same of the coating")


async def _delete(house: House) -> None:
    seen = await house.memory.get(house.owner, house.memories["mistake"])
    await house.memory.delete(house.owner, seen.id, expect=seen.version, reason="there are three")


async def _snapshot(house: House) -> None:
    await house.memory.vaults.snapshots.take(house.owner, "research", SNAPSHOT)


async def _branch(house: House) -> None:
    branches, owner = house.memory.vaults.branches, house.owner
    await branches.create(owner, "research", BRANCH)
    spacing = await branches.get(owner, "research", BRANCH, house.memories["spacing"])
    change = Change(
        {"content": "Rows of turbines could stand twelve rotor diameters apart, at a loss of 4 % of the energy."}
    )
    await branches.edit(owner, "research", BRANCH, spacing.id, change, expect=spacing.version)
    more = Draft("Twelve diameters would make room for one more row.", "fact", entities=("spacing", "tidal array"))
    await branches.add(owner, "research", BRANCH, more)


async def _concepts(house: House) -> None:
    await house.memory.transfer.import_(house.owner, "arc", COLLECTION)


async def _secret(house: House) -> None:
    """A key in a text is held back; a person rejects it, and nothing of it stays."""
    (added,) = await house.memory.add(house.owner, [Draft(SECRET, tags=("secret",))], vault="research")
    if added.memory is None or added.memory.state != "quarantined":
        raise MnemeError(f"the store took a key into use: {added.outcome} {added.reasons}")
    house.refused["a key in the text"] = added.memory.state
    await house.memory.move(house.owner, added.memory.id, "reject", reason="never keep keys here")
    await house.memory.purge(house.owner, added.memory.id)
    house.memories["purged"] = added.memory.id
