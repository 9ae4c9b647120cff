"""Outcomes that are known already: searches write the same program again and again.

The key covers everything that an outcome depends on, and the tenant: nobody learns from the time of an answer what another
has run. Only what a second run would give again is kept: no time limits, no kills. Source: evals sheet §5.3.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Final

from runtime.sandbox.base import Limits, Outcome

REPEATABLE: Final = (None, "error", "output")


class Outcomes:
    """The last outcomes, at most `entries`; longer ones than `longest` bytes are not kept."""

    def __init__(self, *, entries: int = 4096, longest: int = 16 << 10) -> None:
        self._entries = entries
        self._longest = longest
        self._known: OrderedDict[str, Outcome] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Outcome | None:
        """A known outcome, marked as such."""
        if key not in self._known:
            return None
        self._known.move_to_end(key)
        return replace(self._known[key], cached=True, cpu_seconds=0.0)

    def put(self, key: str, outcome: Outcome, *, size: int) -> None:
        """Keep an outcome of `size` bytes, if it is one to keep."""
        if size > self._longest or any(case.failure not in REPEATABLE for case in outcome.cases):
            return
        self._known[key] = outcome
        if len(self._known) > self._entries:
            self._known.popitem(last=False)


def key_of(text: str, *, tenant: str, versions: Mapping[str, str], limits: Limits, level: str) -> str:
    """The key of a program, given as the JSON text that the worker gets."""
    rest = json.dumps([tenant, sorted(versions.items()), astuple(limits), level])
    return hashlib.blake2b(f"{rest}\n{text}".encode(), digest_size=32).hexdigest()
