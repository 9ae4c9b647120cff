"""The suite for small models on real vLLM with the packaged model: what such a model can show of memory and of search.

A subset; `python -m evals.bench.small` asks all of it. Source: evaluation sheet §4.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FEW = ("--limit", "12", "--jobs", "4", "--sampling", "max_tokens=24", "--sampling", "temperature=0", "--json")


def evaluated(installation: Installation, data: Path, *arguments: str) -> dict[str, Any]:
    """The report of `mneme eval run small`."""
    command = ("eval", "run", "small", *FEW, *arguments)
    done = installation.mneme(*command, env={**installation.on_its_engine, "MNEME_EVALS__DATA": str(data)})
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_fact_that_is_in_memory_is_recalled_and_one_that_is_not_is_not(
    installation: Installation, shared_data: Path
) -> None:
    told = {
        memory: evaluated(installation, shared_data, "-S", "tasks=fact_recall", "--memory", memory)
        for memory in ("off", "cold", "warm")
    }
    right = {memory: report["scores"]["all"]["accuracy"] for memory, report in told.items()}
    print(f"\nfact_recall, 12 questions: {right}")
    assert right["off"] == right["cold"] == 0
    assert right["warm"] > 0
