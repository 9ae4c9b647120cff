"""What the pipelines share: their parts, the memories they may touch, and how they write.

A pipeline acts as the owner of its job: the same access decision as for a person, taken again in the transaction that
writes. What a model gave is checked and completed like any other draft (memory/changes.py). Source: memos §3.1, §3.10;
ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pydantic import JsonValue

from memory import access, audit, reviews, store
from memory.access import Access
from memory.admitting.admission import Other, Verdict
from memory.conflict import supersedes
from memory.core import Core
from memory.jobs import Job
from memory.pipelines.asking import Asker
from memory.store import NewMemory, Vectors
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube, State, Vault, Verb
from runtime.errors import InvalidInput, ModelError, SettingsError
from runtime.ids import new_id
from runtime.telemetry import get_logger

# A job that belongs to another one must not be refused because its owner has many.
UNLIMITED: Final = 10**9
TRIES: Final = 3
GONE: Final[frozenset[State]] = frozenset({"deleted", "expired"})

log = get_logger(__name__)


class Nearby(Protocol):
    """Finds what is near (memory/admitting/gate.py: `Gate`)."""

    async def neighbours(self, actor: Actor, vault_id: str, made: Vectors, limit: int) -> tuple[Other, ...]:
        """The live memories of the vault that are nearest to the vector, raw ones left out, at most `limit`."""
        ...


class Embedding(Protocol):
    """Makes vectors (memory/spaces.py: `Spaces`)."""

    async def documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One mapping (profile id → unit vector) for each text. Raises `ModelError`."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What every pipeline works with."""

    core: Core
    asker: Asker
    nearby: Nearby
    embedding: Embedding

    async def vectors(self, texts: Sequence[str]) -> list[Vectors]:
        """Vectors of the texts; none where the encoder cannot be asked, because the relay makes them later."""
        if not texts:
            return []
        try:
            return await self.embedding.documents(texts)
        except (ModelError, SettingsError) as error:
            log.warning("memory.not_embedded", count=len(texts), code=error.code, error=error.message)
            return [{} for _ in texts]


@dataclass(frozen=True, slots=True)
class Child:
    """A memory that a pipeline wants stored, with the verdict on it and what it was made from."""

    new: NewMemory
    verdict: Verdict
    review_id: str
    parents: tuple[str, ...]


def child(
    vault_id: str, draft: Draft, verdict: Verdict, vectors: Vectors, parents: Sequence[str], reason: str
) -> Child:
    """A child in the state that its verdict gives it; ids are made here, outside of the transaction."""
    state: State = "quarantined" if verdict.outcome == "quarantine" else "activated"
    new = NewMemory(new_id("mem"), vault_id, replace(draft, state=state), new_id("prv"), vectors=vectors, reason=reason)
    return Child(new, verdict, new_id("rev"), tuple(parents))


def write_children(tx: Tx, allowed: Access, action: str, children: Sequence[Child]) -> list[MemCube]:
    """Store the children with their links; those that were not there before. What they supersede by their slot is closed."""
    made: list[MemCube] = []
    for item, stored in zip(children, store.insert_all(tx, [item.new for item in children]), strict=True):
        for parent in item.parents:
            if parent != stored.cube.id:
                store.link(tx, stored.cube.id, parent, "DERIVED_FROM")
        if stored.duplicate:
            continue
        made.append(stored.cube)
        if stored.cube.state == "quarantined":
            reviews.ask(tx, item.review_id, "quarantine", stored.cube, "; ".join(item.verdict.reasons))
    if made:
        written(tx, allowed, action, made[0], {"count": len(made), "ids": [cube.id for cube in made]})
    for cube in made:
        close_superseded(tx, allowed, cube)
    return made


def close_superseded(tx: Tx, allowed: Access, new: MemCube) -> None:
    """Close what stood in the slot that the new memory fills, or the new memory, when what is there came later
    (memory/conflict.py)."""
    # Another one of the same batch may have closed it already.
    new = store.get(tx, new.id)
    there = store.same_slot(tx, new) if new.state == "activated" else []
    newer = next((cube for cube in there if supersedes(new, cube)), None)
    if newer is not None:
        written(tx, allowed, "supersede", store.supersede(tx, new, newer), {"by": newer.id})
        return
    for old in there:
        if supersedes(old, new):
            written(tx, allowed, "supersede", store.supersede(tx, old, new), {"by": new.id})


def written(tx: Tx, allowed: Access, action: str, cube: MemCube, detail: dict[str, JsonValue]) -> None:
    """An audit line about a memory that a pipeline wrote."""
    told: dict[str, JsonValue] = {"version": cube.version, **detail}
    audit.record(tx, action, "memory", cube.id, chain=cube.vault_id, rule=allowed.rule, detail=told)


async def home_of(core: Core, actor: Actor, vault_id: str) -> Vault:
    """The vault that a job works in. Raises `Hidden`, `Refused` when the actor may not write there any more."""
    return (await core.read(actor, lambda tx: access.vault(tx, vault_id, "write"))).vault


async def present(core: Core, actor: Actor, ids: Sequence[str], verb: Verb = "write") -> dict[str, MemCube]:
    """Those of the memories that are not gone. One that the actor may not see or use so raises, as for a person."""

    def work(tx: Tx) -> dict[str, MemCube]:
        found = (access.memory(tx, memory_id, verb)[0] for memory_id in dict.fromkeys(ids))
        return {cube.id: cube for cube in found if cube.state not in GONE}

    return await core.read(actor, work)


def counted(job: Job, names: Sequence[str] = ()) -> dict[str, int]:
    """The counts that earlier executions of the job have left in its result; 0 for names without one."""
    before: Mapping[str, JsonValue] = job.result or {}
    return dict.fromkeys(names, 0) | {name: count for name, count in before.items() if isinstance(count, int)}


def protected(cube: MemCube) -> bool:
    """Whether no pipeline may alter it."""
    return cube.pinned or cube.state == "frozen"


def ids_of(job: Job, name: str) -> list[str]:
    """A list of ids out of the arguments of a job. Raises `InvalidInput`."""
    found = job.args.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidInput(f"job {job.id!r}: argument {name!r} is {found!r}; expected a list of ids", param=name)
    return [item for item in found if isinstance(item, str)]


def id_of(job: Job, name: str) -> str:
    """An id out of the arguments of a job. Raises `InvalidInput`."""
    found = job.args.get(name)
    if not isinstance(found, str):
        raise InvalidInput(f"job {job.id!r}: argument {name!r} is {found!r}; expected an id", param=name)
    return found
