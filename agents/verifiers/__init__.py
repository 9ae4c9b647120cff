"""Verifiers by task kind; see `base`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.verifiers.base import Verifiers
from agents.verifiers.math import MathVerifier, MathWorker
from agents.verifiers.text import QAVerifier, TextVerifier


@asynccontextmanager
async def open_verifiers() -> AsyncIterator[Verifiers]:
    """Every verifier there is; their worker processes end with the block."""
    worker = MathWorker()
    try:
        yield Verifiers({"math": MathVerifier(worker), "qa": QAVerifier()}, TextVerifier())
    finally:
        await worker.aclose()
