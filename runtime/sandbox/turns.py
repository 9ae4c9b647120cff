"""Who gets a free worker next: the tenants in turn, and never all workers for one of them.

A tenant that asks a thousand times waits behind one that asks once, and where there is more than one place, one of them is
always left for somebody else: its programs may run for as long as they are allowed. Source: ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Place = TypeVar("Place")


class Turns(Generic[Place]):
    """Hands out places. The last one that came back goes first: another worker is started only when two are needed."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._free = list(places)[::-1]
        self._most = max(1, len(self._free) - 1)
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[Place]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[Place]:
        """Wait for a place, and give it back behind."""
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._hand_out()
        try:
            place = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._take_back(tenant, turn.result())
            else:
                self._leave(tenant, turn)
            raise
        try:
            yield place
        finally:
            self._take_back(tenant, place)

    def _take_back(self, tenant: str, place: Place) -> None:
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._free.append(place)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free:
            tenant = next((tenant for tenant in self._waiting if self._held[tenant] < self._most), None)
            if tenant is None:
                return
            turn = self._waiting[tenant][0]
            self._leave(tenant, turn)
            if not turn.done():
                self._held[tenant] += 1
                turn.set_result(self._free.pop())

    def _leave(self, tenant: str, turn: asyncio.Future[Place]) -> None:
        """Take a turn out of the queue; what its tenant waits for besides goes behind the others."""
        turns = self._waiting.get(tenant)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        if turns:
            self._waiting.move_to_end(tenant)
        else:
            del self._waiting[tenant]
