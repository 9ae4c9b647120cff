"""The unmodified OpenAI client against the service: models, chat, responses, streamed and not, and its errors."""

from __future__ import annotations

import json
import time

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.api.conftest import Serve, Served

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi there"}]


def say(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


class Point(BaseModel):
    x: int
    name: str


def test_models_are_the_agents(served: Served) -> None:
    client = served.openai()
    names = ["arcmemo", "best-of-n", "direct", "empirical-mcts", "self-consistency", "tim"]
    assert [model.id for model in client.models.list()] == names
    assert client.models.retrieve("direct@scripted").id == "direct@scripted"


def test_a_whole_answer_with_usage_and_run_id(served: Served) -> None:
    raw = served.openai().chat.completions.with_raw_response.create(model="direct", messages=HI)
    answer = raw.parse()
    assert answer.choices[0].message.content == "You said: hi there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    run = served.http.get(f"/api/runs/{raw.headers['x-run-id']}").json()
    assert run["status"] == "succeeded"
    assert run["usage"]["total"]["total_tokens"] == answer.usage.total_tokens


def test_the_model_behind_is_asked_with_purpose_run_and_the_fields_of_the_request(served: Served) -> None:
    raw = served.openai().chat.completions.with_raw_response.create(
        model="direct@scripted",
        messages=say("the fields"),
        temperature=0.25,
        max_tokens=5,
        seed=77,
        stop=["X"],
        extra_body={"top_k": 3},
    )
    assert served.model is not None
    request = next(r for r in served.model.requests() if r["run"] == raw.headers["x-run-id"])
    assert request["purpose"] == "direct.answer"
    body = request["body"]
    assert (body["temperature"], body["max_tokens"], body["seed"], body["stop"], body["top_k"]) == (
        0.25,
        5,
        77,
        ["X"],
        3,
    )
    assert body["messages"] == [{"role": "user", "content": "the fields"}]


def test_streamed_chunks_join_to_the_answer_and_usage_comes_when_asked_for(served: Served) -> None:
    stream = served.openai().chat.completions.create(
        model="direct", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "You said: hi there"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_tokens_arrive_while_the_model_speaks(served: Served) -> None:
    begin = time.monotonic()
    stream = served.openai().chat.completions.create(model="direct", messages=say("slowly"), stream=True)
    times = [time.monotonic() - begin for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(times) == 12
    assert times[0] < 0.6 < times[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_comes_under_both_names(served: Served, *, stream: bool) -> None:
    client = served.openai()
    if stream:
        deltas = [
            chunk.choices[0].delta.model_dump()
            for chunk in client.chat.completions.create(model="direct", messages=say("think"), stream=True)
            if chunk.choices
        ]
    else:
        answer = client.chat.completions.create(model="direct", messages=say("think"))
        deltas = [answer.choices[0].message.model_dump()]
    for name in ("reasoning", "reasoning_content"):
        assert "".join(delta.get(name) or "" for delta in deltas) == "Let me see. It is four."


def test_an_agents_steps_are_its_reasoning_one_after_the_other(served: Served) -> None:
    answer = served.openai().chat.completions.create(
        model="self-consistency", messages=HI, extra_body={"mneme": {"config": {"n": 3}, "seed": 1}}
    )
    assert answer.choices[0].message.content == "You said: hi there"
    steps = (answer.choices[0].message.model_extra or {})["reasoning"]
    assert steps == "\n\n".join(["You said: hi there"] * 3)


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_through_direct(served: Served, *, stream: bool) -> None:
    tools: list[ChatCompletionToolParam] = [
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    ]
    client = served.openai()
    if stream:
        chunks = list(client.chat.completions.create(model="direct", messages=say("weather"), tools=tools, stream=True))
        calls = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
        finish = [c.choices[0].finish_reason for c in chunks if c.choices][-1]
        seen = [(c.function.name, c.function.arguments) for c in calls if c.function]
    else:
        choice = client.chat.completions.create(model="direct", messages=say("weather"), tools=tools).choices[0]
        finish = choice.finish_reason
        seen = [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or []]  # type: ignore[union-attr]
    assert finish == "tool_calls"
    assert [name for name, _ in seen if name] == ["get_weather"]
    assert json.loads("".join(arguments or "" for _, arguments in seen)) == {"city": "Oslo"}


def test_a_tool_conversation_reaches_the_model_as_it_was(served: Served) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "tool talk"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    raw = served.openai().chat.completions.with_raw_response.create(model="direct", messages=messages)  # type: ignore[arg-type]
    assert served.model is not None
    request = next(r for r in served.model.requests() if r["run"] == raw.headers["x-run-id"])
    assert request["body"]["messages"] == messages


def test_json_schema_output_parses(served: Served) -> None:
    answer = served.openai().chat.completions.parse(model="direct", messages=HI, response_format=Point)
    assert answer.choices[0].message.parsed == Point(x=0, name="x")


@pytest.mark.parametrize("model", ["direct", "best-of-n"])
def test_responses_whole_and_streamed_agree(served: Served, model: str) -> None:
    client = served.openai()
    whole = client.responses.create(model=model, input="hello", instructions="Be kind.")
    assert whole.output_text == "You said: hello"
    assert whole.status == "completed"
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    with client.responses.stream(model=model, input=[{"role": "user", "content": "hello"}]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "You said: hello"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == "You said: hello"
    assert any(item.type == "reasoning" for item in final.output) == (model == "best-of-n")


def test_responses_carry_function_calls(served: Served) -> None:
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}]
    with served.openai().responses.stream(model="direct", input="weather", tools=tools) as stream:  # type: ignore[arg-type]
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert [item.type for item in final.output] == ["function_call"]


ERRORS = [
    ({"model": "nope"}, openai.NotFoundError, "nope"),
    ({"model": "direct@nope"}, openai.NotFoundError, "'nope'"),
    ({"model": "direct@scripted//etc/x.toml"}, openai.NotFoundError, "scripted"),
    ({"model": "direct@"}, openai.BadRequestError, "@"),
    ({"n": 2}, openai.BadRequestError, "n: got 2"),
    ({"temperature": 9}, openai.BadRequestError, "temperature"),
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"extra_body": {"temprature": 1}}, openai.BadRequestError, "temprature"),
    ({"extra_body": {"mneme": {"valts": []}}}, openai.BadRequestError, "mneme.valts"),
    ({"extra_body": {"mneme": {"config": {"n": 3}}}}, openai.UnprocessableEntityError, "config 'n'"),
    ({"extra_body": {"mneme": {"budget": {"tokens": 0}}}}, openai.BadRequestError, "mneme.budget.tokens"),
    ({"extra_body": {"mneme": {"budget": {"tokens": 2, "calls": 3}}}}, openai.BadRequestError, "3 calls"),
    ({"model": "best-of-n", "tools": [{"type": "function"}]}, openai.BadRequestError, "tools"),
    ({"model": "direct", "tools": [{"type": "retrieval"}]}, openai.BadRequestError, "tools.0"),
    ({"messages": say("refused")}, openai.BadRequestError, "400"),
    ({"messages": say("broken"), "timeout": 30}, openai.InternalServerError, "500"),
]


@pytest.mark.parametrize(("change", "kind", "names"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_errors_become_the_clients_own_exceptions(
    served: Served, change: dict[str, object], kind: type[openai.APIStatusError], names: str
) -> None:
    request: dict[str, object] = {"model": "direct", "messages": HI, **change}
    with pytest.raises(kind) as caught:
        served.openai().chat.completions.create(**request)  # type: ignore[call-overload]
    assert names in caught.value.message
    assert caught.value.body is not None


def test_an_answer_that_dies_in_the_middle_raises_in_the_stream_and_fails_the_run(served: Served) -> None:
    raw = served.openai().chat.completions.with_raw_response.create(model="direct", messages=say("dies"), stream=True)
    said: list[str] = []
    with pytest.raises(openai.APIError, match="broke off"):
        said.extend(chunk.choices[0].delta.content or "" for chunk in raw.parse())
    assert "".join(said) == "half of a sentence"
    run = served.ended(raw.headers["x-run-id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "model_unavailable")


def test_closing_the_stream_cancels_the_run_and_the_model_call(served: Served) -> None:
    raw = served.openai().chat.completions.with_raw_response.create(model="direct", messages=say("slowly"), stream=True)
    stream = raw.parse()
    next(iter(stream))
    stream.close()
    run_id = raw.headers["x-run-id"]
    assert served.ended(run_id)["status"] == "cancelled"
    assert served.model is not None
    for _ in range(100):
        request = next(r for r in served.model.requests() if r["run"] == run_id)
        if request["disconnected"]:
            break
        time.sleep(0.05)
    assert request["disconnected"]
    assert not request["finished"]


def test_giving_up_on_a_whole_answer_cancels_the_run(served: Served) -> None:
    before = {run["id"] for run in served.http.get("/api/runs").json()["items"]}
    with pytest.raises(openai.APITimeoutError):
        served.openai().chat.completions.create(model="direct", messages=say("slowly"), timeout=0.3)
    new = {run["id"] for run in served.http.get("/api/runs").json()["items"]} - before
    assert len(new) == 1
    assert served.ended(new.pop())["status"] == "cancelled"


def test_a_used_up_budget_ends_with_what_there_is(served: Served) -> None:
    budget = {"mneme": {"budget": {"calls": 2}, "config": {"n": 4}}}
    answer = served.openai().chat.completions.create(model="self-consistency", messages=HI, extra_body=budget)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "You said: hi there"


def test_a_model_server_that_is_down_is_a_503_that_says_so(serve: Serve) -> None:
    with serve() as served:
        assert served.model is not None
        served.model.kill()
        with pytest.raises(openai.InternalServerError) as caught:
            served.openai().with_options(max_retries=0).chat.completions.create(model="direct", messages=HI)
        assert caught.value.status_code == 503
        assert "is it running" in caught.value.message
        ready = served.http.get("/ready")
        assert ready.status_code == 503
        assert not next(check for check in ready.json()["checks"] if check["name"] == "model")["ok"]
