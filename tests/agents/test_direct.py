"""`direct`: what goes in goes to the model, what comes out comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.base import Answer
from runtime.events import ReasoningDelta
from runtime.llm.scripted import Rule
from runtime.runs import RunSpec
from runtime.types import JsonObject, Message, ToolSpec
from tests.trial import open_trial, text_of

pytestmark = pytest.mark.anyio

ADD: JsonObject = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}, "strict": True},
}


async def test_messages_sampling_and_tools_go_through(tmp_path: Path) -> None:
    sampling: JsonObject = {
        "temperature": 0.2,
        "stop": "END",
        "top_k": 5,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
    }
    spec = RunSpec(
        agent="direct",
        input=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        seed=3,
        sampling=sampling,
        tools=(ADD,),
    )
    async with open_trial(tmp_path) as trial:
        await trial.run(spec)
    (call,) = trial.llm.calls
    assert call.purpose == "direct.answer"
    assert call.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert call.tools == (ToolSpec("add", "Adds.", {"type": "object"}, True),)
    assert (call.sampling.temperature, call.sampling.stop, call.sampling.seed) == (0.2, ("END",), 3)
    assert call.sampling.tool_choice == "auto"
    assert call.sampling.response_format == {"type": "json_object"}
    assert call.sampling.extra == (("top_k", 5),)
    assert call.sampling.max_tokens is None


async def test_text_and_reasoning_are_shown_as_they_come(tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(reply="It is four.", reasoning="Two and two.")) as trial:
        record = await trial.run(RunSpec(agent="direct", input="2 + 2?", seed=0))
        events = await trial.events(record.id)
    assert text_of(events) == "It is four."
    assert "".join(e.payload.text for e in events if isinstance(e.payload, ReasoningDelta)) == "Two and two."
    assert record.output == {"text": "It is four.", "finish_reason": "stop"}


async def test_tool_calls_come_back(tmp_path: Path) -> None:
    rule = Rule.model_validate({"tool_calls": [{"name": "add", "arguments": {"a": 1}}]})
    async with open_trial(tmp_path, rule) as trial:
        record = await trial.run(RunSpec(agent="direct", input="Add", seed=0, tools=(ADD,)))
    assert isinstance(record.output, dict)
    assert record.output["finish_reason"] == "tool_calls"
    (call,) = Answer.from_json(record.output).tool_calls
    assert (call.name, call.arguments) == ("add", '{"a": 1}')


@pytest.mark.parametrize("tool", [{"type": "retrieval"}, {"type": "function"}, {"type": "function", "function": {}}])
async def test_a_tool_that_is_no_function_is_refused(tool: JsonObject, tmp_path: Path) -> None:
    async with open_trial(tmp_path) as trial:
        record = await trial.run(RunSpec(agent="direct", input="Add", seed=0, tools=(tool,)))
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] == "invalid_input"
    assert "tools.0" in str(record.error["message"])
