"""Trees of tasks on real vLLM: the packaged model is weak, so what counts is that structure holds and nothing is lost."""

from __future__ import annotations

import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import anyio
import psutil
import pytest

from evals.bench.thread_bench import open_workbench
from evals.bench.thread_forced import Forced, Ledger
from evals.bench.thread_script import Script, tool_tree
from evals.bench.thread_shapes import Mode, Shaped, fill
from runtime.llm.registry import resolve
from runtime.settings import Settings, load
from runtime.types import JsonObject
from tests.journeys.conftest import Installation
from tests.journeys.test_real_model import MODEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.engine]
CONFIG: JsonObject = {"mode": "stream", "k": 0, "verify_forgetting": False, "max_plan": 12}


def asking(installation: Installation, home: Path) -> Settings:
    """Settings of a process that asks the engine of the installation, and waits for it when it is away."""
    url = installation.on_its_engine["MNEME_LLM__BASE_URL"]
    patient = {"llm.retries": 20, "llm.retry_base_s": 2.0, "embed.model": "hashing-384"}
    return load({"home": str(home), "llm.base_url": url, **patient}, env={}).settings


def test_a_given_shape_holds_whatever_the_model_writes_in_both_modes(
    installation: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = asking(installation, tmp_path)
    modes: dict[Mode, range] = {"stream": range(3), "steps": range(3, 5)}
    found: dict[Mode, list[Shaped]] = {}

    async def run() -> None:
        async with aclosing(resolve(f"vllm/{MODEL}", settings)) as model, open_workbench(settings) as bench:

            async def filled(mode: Mode, seeds: range) -> None:
                found[mode] = await fill(bench, model, mode, seeds, len(seeds))

            # Side by side, because a step of the engine takes hardly longer for five sequences than for two.
            async with anyio.create_task_group() as group:
                for mode, seeds in modes.items():
                    group.start_soon(filled, mode, seeds)

    began = time.monotonic()
    anyio.run(run)
    for mode, seeds in modes.items():
        assert len(found[mode]) == len(seeds)
        for one in found[mode]:
            assert (one.wrong, one.failed) == ([], "")
            assert one.levels == 3
            assert one.tasks == 20
            assert one.calls == 12
            assert one.written > 300
    with capsys.disabled():
        print(f"\nfive seeds in {time.monotonic() - began:.0f} s")


def test_the_engine_is_killed_in_the_middle_and_every_later_prompt_has_the_same_bytes(
    installation: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, server = asking(installation, tmp_path), engine(installation)
    killed: list[float] = []

    async def grown(kill_at: int | None) -> Ledger:
        ledger = Ledger()

        def called() -> None:
            ledger.tools += 1
            if ledger.tools == kill_at:
                server.kill()
                killed.append(time.monotonic())

        async with aclosing(resolve(f"vllm/{MODEL}", settings)) as model, open_workbench(settings) as bench:
            bench.tool(40, called)
            ran = await bench.run(Forced(model, Script(tool_tree(10), "look"), ledger, "killed"), CONFIG)
            assert ran.record.status == "succeeded", ran.record.error
            assert ran.count("tool.call") == ran.count("tool.result") == 10
        return ledger

    whole = anyio.run(grown, None)
    broken = anyio.run(grown, 4)
    assert killed
    assert broken.tools == whole.tools == 10
    assert broken.prompts == whole.prompts
    # The engine that came back had nothing in its cache; until then it had the whole first tree there.
    cold = [row.tools for before, row in pairwise(broken.rows) if row.cached == before.cached]
    assert cold == [4]
    with capsys.disabled():
        print(f"\nkilled at the fourth of ten tool calls; the tree ended {time.monotonic() - killed[0]:.0f} s later")


def engine(installation: Installation) -> psutil.Process:
    """The server process of the installation's engine."""
    port = str(installation.engine_port)
    (found,) = [
        process
        for process in psutil.process_iter()
        if (command := _command(process))[1:3] == ["-m", "vllm.entrypoints.openai.api_server"] and port in command
    ]
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
