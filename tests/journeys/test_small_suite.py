"""A part of the `small` suite on real vLLM: what the packaged model does not know, it answers when its memory does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.engine]
GREEDY = ("--sampling", "temperature=0", "--sampling", "max_tokens=16")
PROBLEMS = 12


def test_facts_are_recalled_with_a_warm_memory_and_not_without_or_with_an_empty_one(
    installation: Installation, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {**installation.on_its_engine, "MNEME_EVALS__DATA": str(shared_data)}
    right: dict[str, float] = {}
    for memory in ("off", "cold", "warm"):
        done = installation.mneme(
            *("eval", "run", "small", "-S", "tasks=fact_recall", "--limit", str(PROBLEMS), "--jobs", "6"),
            *("--memory", memory, "--json", *GREEDY),
            env=env,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["done"] == PROBLEMS
        right[memory] = report["scores"]["all"]["accuracy"]
    with capsys.disabled():
        print(f"\nfact recall of {PROBLEMS}: {right}")
    assert right["off"] == right["cold"] == 0.0
    assert right["warm"] > 0.0
