"""The arithmetic of the thread benchmark, over a model server that takes no time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from evals.bench.thread_bench import Workbench, open_workbench
from evals.bench.thread_forced import BLOCK, Instant, Ledger
from evals.bench.thread_script import long_tree, tool_tree
from evals.bench.thread_shapes import fill, levels_of, shaped
from evals.bench.threads import Way, continued, loop, scripted
from runtime.llm.base import CallInfo
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, ScriptedSession
from runtime.llm.sessions import Session
from runtime.llm.shortest import shortest
from runtime.settings import load
from runtime.types import Message, Usage

pytestmark = pytest.mark.anyio
A1 = Way("a1", "stream", 0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    own = {"home": str(tmp_path), "embed.model": "hashing-384", "database.synchronous": "NORMAL", "sandbox.workers": 1}
    async with open_workbench(load(own, env={}).settings) as made:
        yield made


async def test_every_way_serves_the_same_tree_and_its_books_agree(bench: Workbench) -> None:
    tree = tool_tree(10)
    ran, ledger = await scripted(bench, Instant(), A1, tree, "one")
    kept, whole = await scripted(bench, Instant(), Way("k", "stream", 64), tree, "two")
    steps, _ = await scripted(bench, Instant(), Way("s", "steps", 0), tree, "one")
    assert ran.document == kept.document == steps.document
    assert ledger.tools == 10
    end = ledger.rows[-1]
    # The server of the test caches whole blocks and forgets nothing: that is the ideal.
    assert end.computed == end.ideal
    assert end.sent == end.computed + end.cached
    assert end.entered == whole.rows[-1].entered
    # Nothing pruned: all that entered was live, the last piece and the closing bracket stand behind the last call.
    assert 0 < whole.entered - (whole.rows[-1].peak - 1) < 40
    assert end.peak < 0.75 * whole.rows[-1].peak
    assert end.blocks == -(-end.peak // BLOCK)
    assert ledger.at(3).tools == 3
    assert ledger.at(3).computed < ledger.at(10).computed == end.computed


async def test_a_loop_sends_its_history_again_and_is_counted_on_beyond_the_window(bench: Workbench) -> None:
    tree = tool_tree(10)
    ran, ledger = await scripted(bench, Instant(), A1, tree, "one")
    plain = await loop(Instant(), ledger.first, tree, ran, "loop")
    assert len(plain.rows) == 10
    assert continued(plain, 9) == plain.rows[-1].sent
    assert plain.rows[-1].computed < plain.rows[-1].sent / 3


def test_what_was_not_sent_goes_on_with_the_mean_growth() -> None:
    ledger = Ledger()
    for prompt in (100, 110, 120):
        ledger.note(Usage(prompt, 1), peak=prompt)
    assert [continued(ledger, tools) for tools in (0, 2, 4)] == [100, 330, 330 + 130 + 140]


async def test_a_tree_of_many_windows_completes_inside_one(bench: Workbench) -> None:
    ran, ledger = await scripted(bench, Instant(), A1, long_tree(20_000), "long")
    assert ran.record.status == "succeeded"
    assert ledger.entered > 2 * 8192
    assert ledger.rows[-1].peak < 8192 / 2


class Least:
    """A model that writes the shortest text that fits."""

    ref = "scripted/least"

    @asynccontextmanager
    async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
        def say(asked: Asked) -> str:
            return shortest(asked.bound.regex or "") if asked.bound is not None else ""

        yield ScriptedSession(ScriptedEngine(say), messages, self.ref)

    async def models(self) -> Sequence[str]:
        return [self.ref]


async def test_the_shape_has_three_levels_twenty_tasks_and_ten_calls_whatever_is_written(bench: Workbench) -> None:
    model: Any = Least()
    for one in await fill(bench, model, "stream", range(2), 2):
        assert (one.wrong, one.failed) == ([], "")
        assert (one.tasks, one.levels, one.calls) == (20, 3, 12)
    assert levels_of([{"subtasks": [{}, {"subtasks": [{}]}]}, {}]) == [2, 2, 1]


async def test_a_document_of_another_shape_is_told(bench: Workbench) -> None:
    ran, _ = await scripted(bench, Instant(), A1, tool_tree(2), "other")
    assert shaped(ran).wrong
