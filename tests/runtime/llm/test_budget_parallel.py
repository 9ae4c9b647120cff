"""Promise 4 with calls side by side: a token budget is kept to within one call, however many begin at once."""

from __future__ import annotations

import anyio
import pytest

from runtime.budget import Budget, Spent
from runtime.errors import BudgetExhausted
from runtime.events import AnyPayload
from runtime.llm.metering import Caller, Meter
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.retry import RetryPolicy
from runtime.types import Message, Sampling

pytestmark = pytest.mark.anyio


async def test_calls_side_by_side_do_not_each_take_what_is_left() -> None:
    llm = Scripted(script=Script((Rule(reply="one two three four five six", delay_ms=1),)))
    meter = Meter(Budget(tokens=20), Spent())

    async def emit(payload: AnyPayload) -> None: ...

    cut = 0

    async def ask() -> None:
        nonlocal cut
        try:
            await Caller(llm, meter, RetryPolicy(0, 0.0), emit).ask(
                purpose="t", run_id="r", messages=[Message("user", "go")], sampling=Sampling()
            )
        except BudgetExhausted:
            cut += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)
    one_call = 4 + 6
    assert 20 <= meter.spent.tokens < 20 + one_call
    assert cut == 6
    assert meter.spent.calls == 2
