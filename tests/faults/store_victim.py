"""A store that is there to be killed.

Run as a script with a JSON object of settings flags. Forks a child for each line `{"seed": n}` on standard input; the child
opens the store and works on it from several tasks at once until it is killed. It writes `child PID`, `open`, and one
line `did {...}` for each operation that was acknowledged or refused, after it was.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

import anyio

from memory.opening import open_memory
from memory.service import Memory
from memory.types import Actor, Change, Draft, MemCube, Query
from runtime.db import open_database
from runtime.errors import Stale
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import load

TASKS = 4
WORDS = [
    "river",
    "stone",
    "lamp",
    "paper",
    "cloud",
    "train",
    "garden",
    "copper",
    "violin",
    "winter",
    "harbour",
    "ladder",
]


def say(**line: Any) -> None:
    # One write call: lines of several tasks do not mix.
    os.write(1, f"did {json.dumps(line)}\n".encode())


class Worker:
    """Works on memories of its own, so that it knows what each must be."""

    def __init__(self, memory: Memory, actor: Actor, rng: random.Random, name: str) -> None:
        self._memory = memory
        self._actor = actor
        self._rng = rng
        self._name = name
        self._mine: list[MemCube] = []
        self._count = 0

    async def run(self) -> None:
        while True:
            work = self._rng.choices(
                [self.add, self.edit, self.stale_edit, self.archive, self.delete, self.purge, self.search],
                [6, 4, 2, 1, 1, 0.5, 2],
            )[0]
            if self._mine or work in (self.add, self.search):
                await work()

    def _text(self) -> str:
        self._count += 1
        return f"{self._name} {self._count} " + " ".join(self._rng.choices(WORDS, k=5))

    async def add(self) -> None:
        drafts = [
            Draft(self._text(), entities=tuple(self._rng.sample(WORDS, 2))) for _ in range(self._rng.choice((1, 1, 3)))
        ]
        for added in await self._memory.add(self._actor, drafts):
            assert added.memory is not None
            self._mine.append(added.memory)
            say(op="add", id=added.memory.id, version=1, content=added.memory.content, state="activated")

    async def edit(self) -> None:
        at = self._rng.randrange(len(self._mine))
        seen = self._mine[at]
        text = self._text()
        self._mine[at] = await self._memory.edit(
            self._actor, seen.id, Change({"content": text, "entities": (self._rng.choice(WORDS),)}), expect=seen.version
        )
        say(op="edit", id=seen.id, version=seen.version + 1, content=text, state="activated")

    async def stale_edit(self) -> None:
        seen = self._rng.choice(self._mine)
        text = f"refused {self._text()}"
        try:
            await self._memory.edit(self._actor, seen.id, Change({"content": text}), expect=seen.version + 7)
        except Stale:
            say(op="refused", id=seen.id, content=text)

    async def archive(self) -> None:
        seen = self._take()
        after = await self._memory.move(self._actor, seen.id, "archive", expect=seen.version)
        say(op="archive", id=seen.id, version=after.version, content=seen.content, state="archived")

    async def delete(self) -> None:
        seen = self._take()
        after = await self._memory.delete(self._actor, seen.id, expect=seen.version)
        say(op="delete", id=seen.id, version=after.version, content=seen.content, state="deleted")

    async def purge(self) -> None:
        seen = self._take()
        await self._memory.purge(self._actor, seen.id)
        say(op="purge", id=seen.id, content=seen.content)

    async def search(self) -> None:
        await self._memory.search(self._actor, Query(" ".join(self._rng.choices(WORDS, k=3))))

    def _take(self) -> MemCube:
        return self._mine.pop(self._rng.randrange(len(self._mine)))


async def serve(flags: dict[str, Any], seed: int) -> None:
    settings = load(flags, env={}).settings
    db = open_database(settings)
    actor = Actor((await KeyStore(db, SYSTEM).local()).user_id)
    async with open_memory(settings, db, SYSTEM) as memory, anyio.create_task_group() as group:
        os.write(1, b"open\n")
        for number in range(TASKS):
            name = f"s{seed}t{number}"
            group.start_soon(Worker(memory, actor, random.Random(f"{seed} {number}"), name).run)


def main() -> None:
    flags = json.loads(sys.argv[1])
    for line in sys.stdin:
        seed = json.loads(line)["seed"]
        pid = os.fork()
        if pid == 0:
            os.close(0)
            try:
                anyio.run(serve, flags, seed)
            finally:
                os._exit(1)
        os.write(1, f"child {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"dead {status}\n".encode())


if __name__ == "__main__":
    main()
