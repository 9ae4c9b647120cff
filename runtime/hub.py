"""Wakes listeners of this process when a run's log has grown.

It carries no events: a listener reads the log from where it stands, so a slow or late one misses nothing, and a run that
another process executes is followed the same way, by looking again after a while. Source: ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class EventHub:
    """One per process and event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Event]] = {}

    def notify(self, run_id: str) -> None:
        """Say that something was committed to the log of `run_id`."""
        for listener in self._listeners.get(run_id, ()):
            listener.set()

    @contextmanager
    def listen(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set after each `notify`; the listener clears it before it reads."""
        event = asyncio.Event()
        listeners = self._listeners.setdefault(run_id, set())
        listeners.add(event)
        try:
            yield event
        finally:
            listeners.discard(event)
            if not listeners:
                self._listeners.pop(run_id, None)
