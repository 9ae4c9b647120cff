"""A queue in this process that behaves as the durable one does, and can be made to lose and to die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memory.jobs import Execute


class Carried:
    """See `memory.workers.Queue`: names stand in it until `execute` is called for them, or forever."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.names: list[str] = []
        self.open: set[str] = set()
        self.held: dict[str, frozenset[str]] = {}

    async def enqueue(self, work_id: str, attempt: int, mark: str = "") -> None:
        name = f"{work_id}.{attempt}.{mark}" if mark else f"{work_id}.{attempt}"
        if name not in self.names:
            self.names.append(name)
            self.open.add(name)

    async def waiting(self, work_id: str) -> bool:
        return any(name.startswith(f"{work_id}.") for name in self.open)

    async def holders(self) -> Mapping[str, frozenset[str]]:
        return self.held

    async def work(self) -> list[str]:
        """Execute what is in it, in order; the ids that were executed."""
        taken = [name for name in self.names if name in self.open]
        ids = []
        for name in taken:
            ids.append(name.partition(".")[0])
            await self._execute(ids[-1])
            self.open.discard(name)
        return ids

    def lose(self) -> None:
        """Forget what is in it, as a queue does whose workflow ended without doing anything."""
        self.open.clear()


class Durable:
    """See `memory.workers.Durable`."""

    def __init__(self) -> None:
        self.lanes: dict[str, Carried] = {}
        self.recovered: list[str] = []

    def lane(self, name: str, execute: Execute, *, concurrency: int) -> Carried:
        self.lanes[name] = Carried(execute)
        return self.lanes[name]

    async def recover(self, executor_ids: Sequence[str]) -> None:
        self.recovered += executor_ids

    @property
    def jobs(self) -> Carried:
        """The lane of the jobs."""
        return self.lanes["jobs"]
