"""Programs in replies, and how verifiers have them run.

The fenced Python blocks of a reply count; blocks without a language count where none has one. What a model said to itself
does not. Programs go to the sandbox and nowhere else. On a machine without one nothing is known about a program, which is
logged once and fails no run. Source: evaluation sheet §5; ours.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from typing import Final

from agents.thinking import visible
from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Case, Limits, Program, Sandbox
from runtime.telemetry import get_logger

log = get_logger(__name__)
PYTHON: Final = ("python", "python3", "py")
FENCE: Final = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
WORDS: Final = {"timeout": "took too long", "memory": "used too much memory", "output": "returned too much"}
MAX_SOURCE_CHARS: Final = 40_000
MAX_WHY_CHARS: Final = 300


def blocks_of(text: str) -> list[str]:
    """The programs of a reply, in order."""
    found: list[tuple[str, str]] = [
        (name.lower(), textwrap.dedent(body)) for name, body in FENCE.findall(visible(text))
    ]
    return [body for name, body in found if name in PYTHON] or [body for name, body in found if not name]


def why_failed(case: Case) -> str:
    """In a few words why a call gave nothing."""
    return shortened(case.error or WORDS.get(case.failure or "", "was stopped"))


def shortened(text: str) -> str:
    """On one line, its beginning where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_WHY_CHARS else f"{line[:MAX_WHY_CHARS]}…"


class Programs:
    """Runs programs for verifiers; without a sandbox it runs none."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self._sandbox = sandbox
        self._numbers = itertools.count()
        self._told = False

    async def run(self, program: Program, limits: Limits) -> tuple[Case, ...] | None:
        """What each call gave; None where nothing can be run."""
        if self._sandbox is None:
            return None
        # A verifier does not know whose task it is, so each check is a tenant of its own: nobody learns from the time of a
        # verdict what another has run.
        tenant = f"verifier.{next(self._numbers)}"
        try:
            return (await self._sandbox.run(program, tenant=tenant, limits=limits)).cases
        except SandboxUnavailable as error:
            if not self._told:
                self._told = True
                log.warning("verifiers.no_sandbox", effect="programs in answers are not checked", reason=error.message)
            return None
