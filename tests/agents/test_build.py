"""What is wired: who may run code where it is badly shut in."""

from __future__ import annotations

import pytest

from agents.build import open_service
from agents.service import Service
from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Program, Sandbox
from runtime.sandbox.probe import Offer
from runtime.settings import Settings
from tests.conftest import make_settings

pytestmark = pytest.mark.anyio


async def test_only_a_run_at_the_terminal_may_use_a_weak_sandbox(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = make_settings(settings.home, sandbox__allow_weak=True)
    monkeypatch.setattr("runtime.sandbox.pool.offered", lambda: Offer("reduced", (("standard", "Landlock: no"),)))
    program = Program("def f(x): return x", "f", (1,))
    # As `mneme mcp` does: it takes nothing out of the queue, and is a server still.
    async with open_service(weak, take_queued=False) as service:
        with pytest.raises(SandboxUnavailable, match="a server runs no code at level 'reduced'"):
            await sandbox_of(service).run(program, tenant="ann")
    async with open_service(weak, take_queued=False, serving=False) as service:
        assert (await sandbox_of(service).run(program, tenant="ann")).level == "reduced"


def sandbox_of(service: Service) -> Sandbox:
    sandbox = service._parts.sandbox
    assert sandbox is not None
    return sandbox
