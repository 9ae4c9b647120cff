"""Verifiers: code that judges an answer without knowing the gold one, and says when two answers are the same.

Source: evaluation sheet §3.2; the contract between task kinds and verifiers is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.tasks import Task


@dataclass(frozen=True, slots=True)
class Verdict:
    """`score` in [0, 1]; `detail` says why, in words a person reads in the log."""

    score: float
    detail: str


class Verifier(Protocol):
    """For tasks of one kind."""

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """Judge an answer; None when the task carries nothing to judge by."""
        ...

    async def canonical(self, task: Task, text: str) -> str | None:
        """The answer in a form that is equal for equal answers; None when there is no answer in `text`."""
        ...


class Verifiers:
    """Finds the verifier of a task."""

    def __init__(self, by_kind: Mapping[str, Verifier], otherwise: Verifier) -> None:
        self._by_kind = by_kind
        self._otherwise = otherwise

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """See `Verifier`."""
        return await self._by_kind.get(task.kind, self._otherwise).verify(task, text)

    async def canonical(self, task: Task, text: str) -> str | None:
        """See `Verifier`."""
        return await self._by_kind.get(task.kind, self._otherwise).canonical(task, text)
