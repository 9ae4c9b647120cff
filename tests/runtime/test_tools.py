"""Tools: the schema from the signature, and results whatever happens."""

from __future__ import annotations

import json
import threading
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from runtime.errors import BudgetExhausted, StorageError
from runtime.tools import Tool, Toolbox
from runtime.types import ToolCall

pytestmark = pytest.mark.anyio


class Place(BaseModel):
    name: str
    floors: int = 1


async def find(
    query: Annotated[str, Field(description="what to look for", min_length=1)],
    *,
    limit: int = 3,
    order: Literal["new", "old"] = "new",
    near: Place | None = None,
) -> dict[str, object]:
    """Look something up.

    Newest first.
    """
    return {"query": query, "limit": limit, "order": order, "near": near}


def test_the_model_is_told_name_purpose_and_arguments() -> None:
    spec = Tool(find).spec
    assert spec.name == "find"
    assert spec.description == "Look something up.\n\nNewest first."
    properties = spec.parameters["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["query", "limit", "order", "near"]
    assert properties["query"]["description"] == "what to look for"  # type: ignore[index,call-overload]
    assert spec.parameters["required"] == ["query"]
    assert spec.parameters["additionalProperties"] is False


async def test_arguments_arrive_as_their_types_and_the_result_goes_back_as_json() -> None:
    outcome = await Tool(find).call('{"query": "ü", "near": {"name": "Rome"}}')
    assert outcome.ok
    assert json.loads(outcome.text) == {"query": "ü", "limit": 3, "order": "new", "near": {"name": "Rome", "floors": 1}}
    assert "ü" in outcome.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "query: Field required"),
        ("{", "Invalid JSON"),
        ("[]", "arguments: "),
        ('{"query": 3}', "query: Input should be a valid string"),
        ('{"query": "x", "lmit": 3}', "lmit: Extra inputs are not permitted"),
        ('{"query": "x", "near": {"floors": 2}}', "near.name: Field required"),
    ],
)
async def test_a_wrong_argument_is_a_result_the_model_can_act_on(arguments: str, words: str) -> None:
    outcome = await Tool(find).call(arguments)
    assert not outcome.ok
    assert outcome.text.startswith("error: ")
    assert words in outcome.text
    assert '"required": ["query"]' in outcome.text


async def test_a_sync_function_runs_in_a_thread_and_its_failure_is_a_result() -> None:
    def divide(a: float, b: float) -> float:
        """Divides."""
        assert threading.current_thread() is not threading.main_thread()
        return a / b

    assert (await Tool(divide).call('{"a": 1, "b": 4}')).text == "0.25"
    outcome = await Tool(divide).call('{"a": 1, "b": 0}')
    assert (outcome.ok, outcome.text) == (False, "error: tool 'divide': ZeroDivisionError: float division by zero")


async def test_our_own_errors_are_results_but_the_end_of_the_run_passes() -> None:
    async def save() -> str:
        raise StorageError("disk full")

    async def spend() -> str:
        raise BudgetExhausted("used up", limit="calls")

    assert (await Tool(save).call("{}")).text == "error: disk full"
    with pytest.raises(BudgetExhausted):
        await Tool(spend).call("{}")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_long_result_is_cut_and_says_so(*, fails: bool) -> None:
    async def read() -> str:
        if fails:
            raise ValueError("x" * 500)
        return "x" * 500

    outcome = await Tool(read, limit_chars=100).call("{}")
    assert outcome.truncated
    assert outcome.ok is not fails
    assert "characters left out]" in outcome.text
    assert len(outcome.text) < 200


def test_a_function_the_schema_cannot_tell_is_refused_when_the_tool_is_made() -> None:
    def bare(a) -> str:  # type: ignore[no-untyped-def]
        return str(a)

    def rest(*args: int) -> int:
        return sum(args)

    for function in (bare, rest):
        with pytest.raises(TypeError, match="must be named and annotated"):
            Tool(function)


async def test_a_toolbox_finds_the_tool_and_says_what_happened() -> None:
    box = Toolbox(Tool(find))
    assert [spec.name for spec in box.specs] == ["find"]
    asked, result = await box.call(ToolCall("c1", "find", '{"query": "x"}'))
    assert (asked.call_id, asked.name, asked.arguments) == ("c1", "find", '{"query": "x"}')
    assert (result.call_id, result.ok, result.truncated) == ("c1", True, False)
    _, unknown = await box.call(ToolCall("c2", "fnd", "{}"))
    assert (unknown.ok, unknown.result) == (False, "error: no tool 'fnd'; expected one of find")
    with pytest.raises(ValueError, match="each name once"):
        Toolbox(Tool(find), Tool(find))
