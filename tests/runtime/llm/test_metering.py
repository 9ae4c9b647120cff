"""Budget, retries, events and usage around one call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.budget import Budget, Spent
from runtime.errors import BudgetExhausted, ModelOverloaded, ModelUnavailable
from runtime.events import AnyPayload, BudgetWarning, LlmCall, ReasoningDelta, TextDelta
from runtime.llm.base import Reply
from runtime.llm.metering import Caller, Meter, Show
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.retry import RetryPolicy
from runtime.types import Message, Sampling

pytestmark = pytest.mark.anyio
Ask = Callable[..., object]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Desk:
    """A caller over a script, and what it emitted."""

    def __init__(self, rule: dict[str, object], budget: Budget = Budget(), spent: Spent = Spent()) -> None:  # noqa: B008
        self.events: list[AnyPayload] = []
        self.meter = Meter(budget, spent)
        llm = Scripted("s", Script((Rule.model_validate(rule),)))
        self._caller = Caller(llm, self.meter, RetryPolicy(2, 0.0), self._emit)

    async def _emit(self, payload: AnyPayload) -> None:
        self.events.append(payload)

    async def ask(self, show: Show = "none", max_tokens: int | None = None) -> Reply:
        return await self._caller.ask(
            purpose="t.answer",
            run_id="r",
            messages=[Message("user", "Hi")],
            sampling=Sampling(max_tokens=max_tokens),
            show=show,
        )

    @property
    def calls(self) -> list[LlmCall]:
        return [event for event in self.events if isinstance(event, LlmCall)]


@pytest.mark.parametrize(("show", "texts"), [("text", 2), ("reasoning", 0), ("none", 0)])
async def test_deltas_are_shown_as_asked(show: Show, texts: int) -> None:
    desk = Desk({"reply": "four five", "reasoning": "hm"})
    await desk.ask(show)
    assert sum(isinstance(event, TextDelta) for event in desk.events) == texts
    reasoning = sum(isinstance(event, ReasoningDelta) for event in desk.events)
    assert reasoning == {"text": 1, "reasoning": 3, "none": 0}[show]
    assert desk.calls[0].usage.completion_tokens == 3


async def test_a_failure_before_anything_was_shown_is_tried_again() -> None:
    desk = Desk({"reply": "four", "fault": "429", "times": 2})
    assert (await desk.ask("text")).text == "You said: Hi"
    assert desk.calls[0].attempts == 3


async def test_a_break_in_the_middle_of_shown_text_is_not_tried_again() -> None:
    desk = Desk({"reply": "one two three four", "fault": "die"})
    with pytest.raises(ModelUnavailable):
        await desk.ask("text")
    assert (desk.calls[0].attempts, desk.calls[0].error) == (1, "model_unavailable")


async def test_a_break_in_the_middle_of_unshown_text_is_tried_again() -> None:
    desk = Desk({"reply": "one two three four", "fault": "die", "times": 1})
    assert (await desk.ask()).text == "You said: Hi"
    assert desk.calls[0].attempts == 2


async def test_the_last_error_passes_and_is_recorded_once() -> None:
    desk = Desk({"fault": "500"})
    with pytest.raises(ModelOverloaded):
        await desk.ask()
    assert [(call.attempts, call.error) for call in desk.calls] == [(3, "model_overloaded")]


async def test_calls_end_at_the_limit() -> None:
    desk = Desk({"reply": "x"}, Budget(calls=2))
    await desk.ask()
    await desk.ask()
    with pytest.raises(BudgetExhausted) as caught:
        await desk.ask()
    assert caught.value.limit == "calls"
    assert len(desk.calls) == 2


async def test_tokens_cap_the_reply_and_then_end_the_run() -> None:
    desk = Desk({"reply": "word " * 50}, Budget(tokens=10))
    reply = await desk.ask(max_tokens=40)
    assert (reply.usage.completion_tokens, reply.finish_reason) == (10, "length")
    with pytest.raises(BudgetExhausted) as caught:
        await desk.ask()
    assert caught.value.limit == "tokens"


async def test_seconds_cancel_the_call_itself() -> None:
    desk = Desk({"fault": "hang"}, Budget(seconds=0.1))
    with pytest.raises(BudgetExhausted) as caught:
        await desk.ask()
    assert caught.value.limit == "seconds"
    assert desk.calls[0].error == "budget_exhausted"


async def test_what_earlier_executions_spent_counts() -> None:
    with pytest.raises(BudgetExhausted):
        await Desk({"reply": "x"}, Budget(calls=3), Spent(calls=3)).ask()


async def test_a_limit_is_warned_of_once() -> None:
    desk = Desk({"reply": "x"}, Budget(calls=5))
    for _ in range(5):
        await desk.ask()
    warnings = [event for event in desk.events if isinstance(event, BudgetWarning)]
    assert [(w.limit, w.used, w.of) for w in warnings] == [("calls", 4.0, 5.0)]
