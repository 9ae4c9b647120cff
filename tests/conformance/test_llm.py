"""One suite over every backend: the scripted model in this process, and the OpenAI client against a server process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import LLM, CallInfo, Reply
from runtime.llm.fold import closing, complete
from runtime.llm.openai import from_settings
from runtime.llm.scripted import Script, Scripted
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from runtime.settings import load
from runtime.types import JsonSchema, Message, Sampling

pytestmark = pytest.mark.anyio

FAULTS: dict[str, type[ModelError]] = {
    "429": ModelOverloaded,
    "500": ModelOverloaded,
    "400": ModelRejected,
    "malformed": MalformedReply,
    "empty": MalformedReply,
    "garbage": MalformedReply,
    "half": ModelUnavailable,
    "die": ModelUnavailable,
    "error": ModelOverloaded,
}
SCRIPT = """
[[rule]]
purpose = "t.think"
reply = "The answer is four."
reasoning = "Two and two."
[[rule]]
purpose = "t.tool"
tool_calls = [{name = "add", arguments = {a = 1, b = 2}}, {name = "neg", arguments = {}}]
[[rule]]
purpose = "t.seeds"
replies = ["zero", "one", "two"]
[[rule]]
purpose = "t.slow"
reply = "one two three four five six seven eight nine ten"
delay_ms = 200
[[rule]]
purpose = "t.twice"
fault = "429"
times = 2
""" + "".join(
    f'[[rule]]\npurpose = "t.fault.{name}"\nreply = "one two three four"\nfault = "{name}"\n' for name in FAULTS
)
ASK = (Message("system", "Be brief."), Message("user", "Hello there"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedProcess]:
    with scripted_process(SCRIPT) as process:
        yield process


@pytest.fixture(params=["in process", "over http"])
async def llm(request: pytest.FixtureRequest, server: ScriptedProcess, tmp_path: Path) -> AsyncIterator[LLM]:
    if request.param == "in process":
        path = tmp_path / "s.toml"
        path.write_text(SCRIPT)
        client: LLM = Scripted("s", Script.load(path))
    else:
        client = from_settings(None, load({"llm.base_url": server.url}, env={}).settings)
    yield client
    await client.aclose()


async def ask(llm: LLM, purpose: str, text: str = "Hello there", **sampling: object) -> Reply:
    return await complete(
        llm,
        [Message("user", text)],
        info=CallInfo(purpose, "run_1"),
        sampling=Sampling(**sampling),  # type: ignore[arg-type]
    )


async def test_chunks_fold_to_text_reasoning_finish_and_usage(llm: LLM) -> None:
    reply = await ask(llm, "t.think")
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("The answer is four.", "Two and two.", "stop")
    assert reply.usage.completion_tokens == 7
    assert reply.usage.reasoning_tokens == 3
    assert reply.usage.prompt_tokens > 0
    assert not reply.estimated


async def test_text_comes_in_pieces(llm: LLM) -> None:
    stream = llm.stream(ASK, info=CallInfo("t.think", "r"), sampling=Sampling())
    assert len([chunk.text async for chunk in stream if chunk.text]) == 4


async def test_tool_calls_arrive_whole_and_in_order(llm: LLM) -> None:
    reply = await ask(llm, "t.tool")
    assert [call.name for call in reply.tool_calls] == ["add", "neg"]
    assert reply.tool_calls[0].arguments.replace(" ", "") == '{"a":1,"b":2}'
    assert reply.finish_reason == "tool_calls"


async def test_max_tokens_cuts_with_finish_length(llm: LLM) -> None:
    reply = await ask(llm, "t.think", max_tokens=2)
    assert (reply.text, reply.finish_reason) == ("The answer", "length")


async def test_a_schema_binds_the_reply(llm: LLM) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    reply = await complete(llm, ASK, info=CallInfo("t.any", "r"), schema=JsonSchema("t_any", schema))  # type: ignore[arg-type]
    assert reply.text.replace(" ", "") == '{"n":3}'


async def test_it_knows_that_schemas_bind(llm: LLM) -> None:
    assert await llm.binds_schema()  # type: ignore[attr-defined]


async def test_it_lists_models(llm: LLM) -> None:
    assert len(await llm.models()) == 1


async def test_the_same_request_gets_the_same_reply_in_any_order_at_once(llm: LLM) -> None:
    got: dict[int, str] = {}

    async def one(at: int) -> None:
        got[at] = (await ask(llm, "t.seeds", seed=at % 3)).text

    async with anyio.create_task_group() as group:
        for at in reversed(range(30)):
            group.start_soon(one, at)
    assert [got[at] for at in range(30)] == ["zero", "one", "two"] * 10


async def test_a_limited_fault_counts_equal_requests_only(llm: LLM, request: pytest.FixtureRequest) -> None:
    async def tries(text: str, got: list[str]) -> None:
        for _ in range(3):
            try:
                got.append((await ask(llm, "t.twice", f"{text} {request.node.name}")).text[:3])
            except ModelOverloaded:
                got.append("429")

    results: list[list[str]] = [[], []]
    async with anyio.create_task_group() as group:
        group.start_soon(tries, "a", results[0])
        group.start_soon(tries, "b", results[1])
    assert results == [["429", "429", "You"]] * 2


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_the_error_it_stands_for(llm: LLM, fault: str) -> None:
    with pytest.raises(FAULTS[fault]) as caught:
        await ask(llm, f"t.fault.{fault}")
    assert type(caught.value) is FAULTS[fault]


async def test_cancelling_the_reader_ends_the_stream_at_once(llm: LLM) -> None:
    with anyio.move_on_after(0.1) as scope:
        await ask(llm, "t.slow")
    assert scope.cancelled_caught
    assert (await ask(llm, "t.think")).text  # The client is still good.


async def test_closing_the_iterator_ends_the_stream(llm: LLM) -> None:
    stream = llm.stream(ASK, info=CallInfo("t.slow", "r"), sampling=Sampling())
    with anyio.fail_after(1.0):
        async with closing(stream):
            await anext(stream)
