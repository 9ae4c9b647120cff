"""What the machine is found to offer, and what is said when a worker cannot say it itself."""

from __future__ import annotations

import subprocess

import pytest

from runtime.errors import SandboxUnavailable
from runtime.sandbox import probe, zygote
from runtime.sandbox.base import Level
from runtime.sandbox.probe import Offer, hello, offered
from runtime.sandbox.worker import Worker


def test_the_best_level_is_offered_with_the_reasons_for_the_better_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: dict[Level, str | None] = {"strong": "unshare: no", "standard": None, "reduced": None}
    monkeypatch.setattr(probe, "refused", reasons.__getitem__)
    assert offered() == Offer("standard", (("strong", "unshare: no"),))
    reasons |= {"standard": "Landlock: no", "reduced": "no fork"}
    assert str(offered()) == (
        "no level; strong is missing: unshare: no; standard is missing: Landlock: no; reduced is missing: no fork"
    )


def test_a_worker_that_says_nothing_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MAIN", "raise SystemExit('broken {}')")
    probe._tried.cache_clear()
    assert probe.refused("standard") == "the worker ended without a word: broken False"
    probe._tried.cache_clear()


def test_a_trial_that_was_not_done_in_time_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    greeting = bytes(zygote.FRAME.size) + b'{"level": "standard", "refused": null}'
    late = [subprocess.TimeoutExpired("python", 60)]

    def run(*command: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        if late:
            raise late.pop()
        return subprocess.CompletedProcess("python", 0, greeting, b"")

    monkeypatch.setattr(subprocess, "run", run)
    probe._tried.cache_clear()
    assert probe.refused("standard") == "Command 'python' timed out after 60 seconds"
    assert probe.refused("standard") is None
    monkeypatch.setattr(subprocess, "run", None)
    assert probe.refused("standard") is None
    probe._tried.cache_clear()


@pytest.mark.parametrize("data", [b"", b"{}", b'{"level": "best", "refused": null}', b"\xff"])
def test_another_greeting_is_refused(data: bytes) -> None:
    with pytest.raises(SandboxUnavailable, match="its greeting is not one"):
        hello(data)


@pytest.mark.anyio
async def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MAIN", "raise SystemExit('broken {}')")
    with pytest.raises(SandboxUnavailable, match="it ended before it was ready: broken True"):
        await Worker.start("standard")
