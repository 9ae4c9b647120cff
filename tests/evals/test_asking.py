"""What is read from the events of a run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evals.asking import by_depth
from runtime.events import Event, LlmCall, UsageData


def call(step: str | None, purpose: str = "arcmemo.solve", tokens: int = 10) -> Event:
    usage = UsageData(prompt_tokens=tokens - 1, completion_tokens=1)
    payload = LlmCall(purpose=purpose, model="scripted/x", usage=usage, cached_tokens=0, ms=1.0)
    return Event(1, "run_1", datetime(2030, 1, 1, tzinfo=UTC), payload, step)


def test_what_a_second_try_selects_belongs_to_its_depth() -> None:
    events = [
        call("select", "arcmemo.select_concepts", 100),
        call("solve.0.0"),
        call("reselect.0.1", "arcmemo.select_concepts", 50),
        call("solve.0.1", "arcmemo.retry", 20),
        call("reselect.0.2", "arcmemo.select_concepts", 50),
        call("solve.0.2", "arcmemo.retry", 20),
    ]
    assert by_depth(events) == ((2, 110), (4, 180), (6, 250))


@pytest.mark.parametrize("step", [None, "answer.3", "learn.consolidate.2", "judge.1.2", "solve.1.0"])
def test_other_steps_belong_to_no_later_depth(step: str | None) -> None:
    assert by_depth([call(step)]) == ()
    assert by_depth([call(step), call("solve.0.1", "arcmemo.retry")]) == ((1, 10), (2, 20))
