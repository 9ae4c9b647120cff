"""Verifiers by task kind; see `base`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.verifiers.arc import ArcVerifier
from agents.verifiers.base import Verifiers
from agents.verifiers.code import CodeVerifier
from agents.verifiers.math import MathVerifier, MathWorker
from agents.verifiers.programs import Programs
from agents.verifiers.text import QAVerifier, TextVerifier
from runtime.sandbox.base import Sandbox


@asynccontextmanager
async def open_verifiers(sandbox: Sandbox | None = None) -> AsyncIterator[Verifiers]:
    """Every verifier there is; their worker processes end with the block.

    Programs in answers are run in `sandbox`; without one `arc` and `code` have no verdicts.
    """
    worker, programs = MathWorker(), Programs(sandbox)
    try:
        yield Verifiers(
            {
                "math": MathVerifier(worker),
                "qa": QAVerifier(),
                "arc": ArcVerifier(programs),
                "code": CodeVerifier(programs),
            },
            TextVerifier(),
        )
    finally:
        await worker.aclose()
