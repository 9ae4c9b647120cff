"""A store with a real index and a scripted model, and short ways to let a pipeline work on it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import JsonValue
from sqlalchemy import insert

from memory import access, audit, explain, jobs, profiles, reviews, store
from memory.admitting.gate import Gate
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.hashing import Hashing
from memory.indices.exact import ExactIndex
from memory.jobs import Job
from memory.listing import Where, page
from memory.pipelines.asking import Asker
from memory.pipelines.base import Parts
from memory.pipelines.handlers import handlers
from memory.reviews import Review
from memory.spaces import Space, Spaces
from memory.store import NewMemory
from memory.tables import VaultRow
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube, State
from memory.upkeep.outbox import Relay
from memory.workers import Workers
from runtime.ids import new_id
from runtime.llm.pool import LLMs
from tests.memory.conftest import ANN, vault_id
from tests.memory.queues import Durable

DIM = 256


def rule(purpose: str, reply: Any = None, contains: str = "", **more: Any) -> str:
    """A rule of a script that answers with JSON, or with the text as it is."""
    told: dict[str, Any] = {"purpose": purpose, "contains": contains, **more}
    if reply is not None:
        told["reply"] = reply if isinstance(reply, str) else json.dumps(reply)
    # What JSON says about texts and numbers is TOML as well.
    return "\n".join(["[[rule]]", *(f"{name} = {json.dumps(value)}" for name, value in told.items()), ""])


@dataclass
class Lab:
    """The store, and what a pipeline needs to work on it."""

    core: Core
    spaces: Spaces
    relay: Relay
    folder: Path

    @property
    def gate(self) -> Gate:
        return Gate(self.core, self.spaces)

    def asker(self, *rules: str) -> Asker:
        """The scripted model, through the same way as any other."""
        script = self.folder / f"{new_id('scr')}.toml"
        script.write_text("\n".join(rules))
        llm = self.core.settings.llm.model_copy(
            update={"model": f"scripted/{script}", "retries": 1, "retry_base_s": 0.0}
        )
        settings = self.core.settings.model_copy(update={"llm": llm})
        return Asker(LLMs(settings, self.core.clock), llm)

    def parts(self, *rules: str) -> Parts:
        return Parts(self.core, self.asker(*rules), self.gate, self.spaces)

    async def put(self, content: str, actor: Actor = ANN, vault: str | None = None, **fields: Any) -> MemCube:
        """Store one memory as it is, and wait until the index has it."""
        home = vault or await vault_id(self.core, actor)
        (vectors,) = await self.spaces.documents([content])
        item = NewMemory(new_id("mem"), home, Draft(content, **fields), new_id("prv"), vectors)
        cube = await self.core.write(actor, lambda tx: store.insert_all(tx, [item])[0].cube)
        await self.indexed()
        return await self.now(cube)

    async def indexed(self) -> None:
        while await self.relay.step():
            pass

    async def vault(self, name: str, actor: Actor = ANN) -> str:
        """Another vault of the actor."""
        row = {
            "id": new_id("vlt"),
            "owner_id": actor.user_id,
            "name": name,
            "kind": "private",
            "default_sensitivity": [],
            "version": 1,
            "created_at": self.core.clock.now(),
        }
        await self.core.db.write(lambda connection: connection.execute(insert(VaultRow).values(**row)))
        return str(row["id"])

    async def enqueue(self, kind: str, args: Mapping[str, JsonValue], actor: Actor = ANN) -> Job:
        job_id = new_id("job")
        return await self.core.write(actor, lambda tx: jobs.enqueue(tx, job_id, kind, args))

    async def work(self, job: Job, *rules: str, parts: Parts | None = None) -> Job:
        """Execute the job once and give it as it is then."""

        async def alive() -> frozenset[str]:
            return frozenset({"me"})

        workers = Workers(self.core, Durable(), alive, handlers(parts or self.parts(*rules)))
        await workers.execute(job.id)
        await self.indexed()
        return await self.job(job.id)

    async def do(self, kind: str, args: Mapping[str, JsonValue], *rules: str, actor: Actor = ANN) -> Job:
        return await self.work(await self.enqueue(kind, args, actor), *rules)

    async def job(self, job_id: str) -> Job:
        return await self.core.read(Actor("x", admin=True), lambda tx: jobs.get(tx, job_id))

    async def jobs(self, kind: str) -> list[Job]:
        return await self.core.read(Actor("x", admin=True), lambda tx: jobs.page(tx, kind=kind))

    async def now(self, cube: MemCube | str) -> MemCube:
        """The memory as it is, without what the index says of it."""
        memory_id = cube if isinstance(cube, str) else cube.id
        found = await self.core.read(ANN, lambda tx: store.get(tx, memory_id))
        return replace(found, vector_state="synced", embedded_version=found.version)

    async def all(self, *states: State) -> list[MemCube]:
        """The memories of Ann's vault in these states, or in any, the oldest first."""
        home = await vault_id(self.core)
        where = Where(home, states or get_args(State))

        def work(tx: Tx) -> list[MemCube]:
            return list(page(tx, access.vault(tx, home, "read"), where, after=None, limit=100).items)

        return [await self.now(cube) for cube in reversed(await self.core.read(ANN, work))]

    async def links(self, cube: MemCube) -> set[tuple[str, str, str]]:
        edges = await self.core.read(ANN, lambda tx: explain.edges(tx, cube.id))
        return {(edge.src_id, edge.type, edge.dst_id) for edge in edges}

    async def inbox(self) -> list[Review]:
        return await self.core.read(ANN, reviews.page)

    async def deeds(self) -> list[tuple[str, str]]:
        """What the audit says was done to which memory, in order."""
        home = await vault_id(self.core)
        lines = await self.core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=500))
        return [(line.action, line.object_id) for line in lines if line.object_type == "memory"]


@asynccontextmanager
async def laboratory(core: Core, folder: Path) -> AsyncIterator[Lab]:
    """A lab over the core."""
    encoder, profile_id, now = Hashing(DIM), new_id("emb"), core.clock.now()
    profile = await core.db.write(lambda c: profiles.ensure(c, profile_id, encoder.profile, "f32", now))
    spaces = Spaces(Space(profile.id, profile.slug, encoder, ExactIndex(DIM, codecs.make("f32", DIM))))
    yield Lab(core, spaces, Relay(core, spaces, name="rly_a", alone=core.db.dialect == "sqlite"), folder)
    await spaces.aclose()
