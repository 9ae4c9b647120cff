"""The OpenAI surface where it is easy to get wrong: failures of streams, retries, budgets, cancels, fields that clash."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.api.conftest import Served, serving

SCRIPT = """
[[rule]]
contains = "busy"
fault = "429"
[[rule]]
contains = "refused"
fault = "400"
[[rule]]
contains = "dies"
reply = "half of a sentence that never ends well"
fault = "die"
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten eleven twelve"
delay_ms = 100
[[rule]]
contains = "weather"
tool_calls = [{ name = "get_weather", arguments = { city = "Oslo" } }, { name = "get_time", arguments = { city = "Rome" } }]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("edges"), SCRIPT, llm__retries=1) as running:
        yield running


def say(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [("refused", openai.BadRequestError, 400), ("busy", openai.RateLimitError, 429)],
)
def test_a_run_that_fails_without_a_word_has_the_status_of_its_failure(
    served: Served, text: str, kind: type[openai.APIStatusError], status: int, *, stream: bool
) -> None:
    client = served.openai()
    for call in (
        lambda: client.chat.completions.create(model="direct", messages=say(text), stream=stream),
        lambda: client.responses.create(model="direct", input=text, stream=stream),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.status_code == status
        assert caught.value.response.headers["x-run-id"].startswith("run_")


def test_what_was_tried_again_here_is_not_tried_again_by_the_client(served: Served) -> None:
    before = len(served.http.get("/api/runs?limit=500").json()["items"])
    client = served.openai().with_options(max_retries=3)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="direct", messages=say("busy once"))
    assert len(served.http.get("/api/runs?limit=500").json()["items"]) == before + 1


def test_a_response_that_dies_in_the_middle_ends_as_failed(served: Served) -> None:
    events = list(served.openai().responses.create(model="direct", input="dies", stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "broke off" in last.response.error.message
    assert last.response.output_text == "half of a sentence"
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_its_seconds_cut_is_what_there_was(served: Served, *, stream: bool) -> None:
    extra = {"mneme": {"budget": {"seconds": 0.65}}}
    client = served.openai()
    if stream:
        chunks = list(
            client.chat.completions.create(model="direct", messages=say("slowly"), stream=True, extra_body=extra)
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        finish = chunks[-1].choices[0].finish_reason
    else:
        choice = client.chat.completions.create(model="direct", messages=say("slowly"), extra_body=extra).choices[0]
        text, finish = choice.message.content or "", choice.finish_reason
    assert finish == "length"
    assert text.startswith("one two")
    assert "twelve" not in text
    response = client.responses.create(model="direct", input="slowly", extra_body=extra)
    assert (response.status, response.output_text[:7]) == ("incomplete", "one two")


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_somebody_else_cancels_is_an_error_for_its_listener(served: Served, *, stream: bool) -> None:
    def cancel() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with httpx.Client(base_url=served.url, trust_env=False) as http:
                running = http.get("/api/runs?status=running").json()["items"]
                if running:
                    http.post(f"/api/runs/{running[0]['id']}/cancel")
                    return

    thread = threading.Thread(target=cancel)
    thread.start()

    def listen() -> None:
        answer: Any = served.openai().chat.completions.create(model="direct", messages=say("slowly"), stream=stream)
        list(answer)

    with pytest.raises(openai.APIError, match="cancelled"):
        listen()
    thread.join()


@pytest.mark.parametrize("surface", ["chat", "responses"])
def test_several_tool_calls_are_streamed_in_pieces_and_whole_in_the_end(served: Served, surface: str) -> None:
    client = served.openai()
    flat = [
        {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False}
        for name in ("get_weather", "get_time")
    ]
    if surface == "responses":
        with client.responses.stream(model="direct", input="weather", tools=flat) as stream:  # type: ignore[arg-type]
            events = list(stream)
            final = stream.get_final_response()
        calls = {item.name: json.loads(item.arguments) for item in final.output if item.type == "function_call"}
        done = [event.type for event in events].count("response.function_call_arguments.done")
        assert done == 2
        assert [event.sequence_number for event in events] == list(range(len(events)))
    else:
        nested = [{"type": "function", "function": {"name": tool["name"], "parameters": {}}} for tool in flat]
        with client.chat.completions.stream(model="direct", messages=say("weather"), tools=nested) as live:  # type: ignore[arg-type]
            for _ in live:
                pass
            whole = live.get_final_completion().choices[0].message
        calls = {call.function.name: json.loads(call.function.arguments) for call in whole.tool_calls or []}
    assert calls == {"get_weather": {"city": "Oslo"}, "get_time": {"city": "Rome"}}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"seed": 3, "mneme": {"seed": 4}}, "mneme.seed"),
    ("chat", {"stream_options": {"include_usag": True}}, "stream_options.include_usag"),
    ("chat", {"temperature": "0.5"}, "temperature"),
    ("chat", {"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
    ("chat", {"mneme": {"memory": "maybe"}}, "mneme.memory"),
    ("chat", {"mneme": {"config": {"surprise": 1}}}, "mneme.config.surprise"),
    ("chat", {"functions": []}, "functions"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"background": True}, "background"),
    ("responses", {"input": [{"type": "computer_call"}]}, "input.0.type"),
    ("responses", {"input": []}, "input"),
    ("responses", {"truncation": "auto"}, "truncation"),
    ("responses", {"input": [{"role": "king", "content": "x"}]}, "input.0.role"),
]


@pytest.mark.parametrize(("surface", "change", "param"), BAD, ids=[param for _, _, param in BAD])
def test_a_refusal_names_the_field_that_was_sent(
    served: Served, surface: str, change: dict[str, Any], param: str
) -> None:
    good: dict[str, Any] = {"messages": say("hi")} if surface == "chat" else {"input": "hi"}
    path = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}[surface]
    reply = served.http.post(path, json={"model": "direct", **good, **change})
    assert reply.status_code in (400, 422), reply.text
    error = reply.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_harmless_fields_are_taken(served: Served) -> None:
    extra = {"prediction": {"type": "content", "content": "x"}, "prompt_cache_key": "k", "safety_identifier": "s"}
    answer = served.openai().chat.completions.create(
        model="direct", messages=say("hi"), user="me", store=False, metadata={"a": "b"}, extra_body=extra
    )
    assert answer.choices[0].message.content == "You said: hi"


def test_an_unknown_model_carries_the_code_that_clients_look_for(served: Served) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        served.openai().models.retrieve("direct@none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_run_that_the_shutdown_breaks_off_is_not_cancelled_but_goes_on_later(tmp_path_factory: Any) -> None:
    home = tmp_path_factory.mktemp("shutdown")
    script = '[[rule]]\ncontains = "for ever"\nreply = "one two three"\ndelay_ms = 60000\n'
    with serving(home, script) as first:
        asked = threading.Thread(target=_ask_in_vain, args=(first.url,))
        asked.start()
        while not (runs := first.http.get("/api/runs?status=running").json()["items"]):
            time.sleep(0.05)
    asked.join()
    with serving(home, "") as second:
        run = second.ended(runs[0]["id"])
        types = [event["type"] for event in second.events(run["id"])]
    assert run["status"] == "succeeded"
    assert "run.resumed" in types
    assert "run.cancelled" not in types


def _ask_in_vain(url: str) -> None:
    body = {"model": "direct", "messages": [{"role": "user", "content": "for ever"}], "stream": True}
    with contextlib.suppress(httpx.HTTPError), httpx.Client(trust_env=False, timeout=60) as http:
        http.post(f"{url}/v1/chat/completions", json=body)
